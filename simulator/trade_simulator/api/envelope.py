"""Answers: the V5 envelope, and the refusals that are an HTTP status instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

# Every answer of the simulator carries it, so that no service can take it for the exchange.
ENVIRONMENT_HEADER = (b"x-trade-environment", b"SIMULATED")
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request is answered with, before it is bytes."""

    result: object = field(default_factory=dict)
    ret_code: int = 0
    ret_msg: str = "OK"
    ext_info: object = field(default_factory=dict)
    status: int = 200


class HttpRefusal(Exception):
    """A request that the exchange answers with an HTTP status; `ret_code` and text go into the body."""

    def __init__(self, status: int, ret_code: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.answer = Answer(status=status, ret_code=ret_code, ret_msg=message)


def encode(value: object) -> bytes:
    """Encode to compact JSON."""
    return _ENCODER.encode(value)


def envelope(answer: Answer, *, now_ms: int) -> dict[str, object]:
    """Wrap a result as every V5 REST answer is wrapped."""
    return {
        "retCode": answer.ret_code,
        "retMsg": answer.ret_msg,
        "result": answer.result,
        "retExtInfo": answer.ext_info,
        "time": now_ms,
    }


def headers(answer: Answer, *, length: int, limits: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Give the header lines of an answer; `limits` are the rate-limit headers."""
    lines = [
        (b"content-type", b"application/json"),
        (b"content-length", str(length).encode()),
        (b"ret_code", str(answer.ret_code).encode()),
        ENVIRONMENT_HEADER,
    ]
    lines.extend((name.lower().encode(), value.encode()) for name, value in limits.items())
    return lines

"""The envelope of every Bybit V5 answer: retCode, retMsg, result, retExtInfo, time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from trade_core.errors import ExchangeAnswerInvalid

RET_OK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One parsed answer. `result` is the exchange's own JSON object; its contents are data, not trusted."""

    ret_code: int
    ret_msg: str
    result: dict[str, Any]
    time_ms: int

    @property
    def is_ok(self) -> bool:
        """Tell whether the exchange accepted the request (which is not yet its outcome)."""
        return self.ret_code == RET_OK


def parse_answer(raw: bytes) -> Answer:
    """Parse an answer's bytes. Raises ExchangeAnswerInvalid when they are not the V5 envelope."""
    try:
        content = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ExchangeAnswerInvalid(f"answer of {len(raw)} bytes is not JSON") from error
    if not isinstance(content, dict):
        raise ExchangeAnswerInvalid("answer is not a JSON object")
    ret_code = content.get("retCode")
    if type(ret_code) is not int:
        raise ExchangeAnswerInvalid("answer has no integer retCode")
    result = content.get("result")
    time_ms = content.get("time")
    return Answer(
        ret_code=ret_code,
        ret_msg=str(content.get("retMsg", "")),
        result=result if isinstance(result, dict) else {},
        time_ms=time_ms if type(time_ms) is int else 0,
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")

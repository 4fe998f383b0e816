"""The envelope of every Bybit V5 answer: retCode, retMsg, result, retExtInfo, time."""

from __future__ import annotations

from typing import Any

import msgspec

from trade_core.errors import ExchangeAnswerInvalid
from trade_core.records import record

RET_OK = 0


@record(frozen=True, slots=True, kw_only=True)
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
        content = msgspec.json.decode(raw)
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

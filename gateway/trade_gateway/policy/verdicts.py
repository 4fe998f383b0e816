"""What a decision says."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.wire.refusal import Detail, detail_of


class Allow(NamedTuple):
    """The order may be journaled and sent.

    `reference_price` is the reference at acceptance, against which its fills are judged later; None only for an order
    that reduces risk on a coin that never had one. `notional` is quantity x max(price, reference): what the order
    uses of turnover budget and limits, and what its share counts in the turnover once filled.
    """

    adds_risk: bool
    reference_price: Decimal | None
    notional: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The order must not leave."""

    code: DenyCode
    detail: Detail = ()


def deny(code: DenyCode, **values: object) -> Deny:
    """Make a denial whose details are neutralised."""
    return Deny(code=code, detail=detail_of(**values))

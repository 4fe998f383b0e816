"""Holds an order's price near the reference. Pure.

Rules, at the bound inclusive
- Adverse side: buy <= reference x (1 + collar), sell >= reference x (1 - collar). This is what bounds the loss.
- Other side, wide: buy >= reference x (1 - fat_finger), sell <= reference x (1 + fat_finger). It loses nothing by
  itself; a price there is a slip of the decimal point.
- An order that adds risk needs a usable reference and is held to `collar`.
- An order that reduces risk is held to `exit_collar`, against the last good reference when there is no usable one,
  and then on the adverse side only: it is never refused because a reference is stale, missing or diverging.
- Between a restart and the first prices the last good reference is known to lie within a range: an exit must be inside
  the exit collar of every price of it.
- Where there never was a reference, a reducing order is denied: nothing would bound what it gives away, and in a thin
  book PostOnly bounds nothing. That is so only for coins that the gateway has never followed, between start and the
  first prices; of the others the journal has the last good reference.

Computed in the caller's decimal context, which must be EXACT.
"""

from __future__ import annotations

from decimal import Decimal

from trade_gateway.policy.deny_codes import DenyCode
from trade_gateway.policy.exact import ONE
from trade_gateway.policy.facts import CoinMarket
from trade_gateway.policy.model import Policy
from trade_gateway.policy.references import Flaw, Unusable, Usable
from trade_gateway.policy.verdicts import Deny, deny
from trade_gateway.wire.intents import OrderIntent, Side

_BUY = Side.BUY
_CODES = {
    Flaw.MISSING: DenyCode.REFERENCE_MISSING,
    Flaw.INVALID: DenyCode.REFERENCE_MISSING,
    Flaw.STALE: DenyCode.REFERENCE_STALE,
    Flaw.DIVERGES: DenyCode.REFERENCE_DIVERGES,
}


def check_adding_price(intent: OrderIntent, seen: CoinMarket | None, policy: Policy) -> Deny | None:
    """Deny an order that adds risk outside the collar, or without a usable reference."""
    if seen is None:
        return deny(DenyCode.REFERENCE_MISSING, symbol=intent.symbol)
    if isinstance(seen.reference, Unusable):
        flaw = seen.reference
        return deny(_CODES[flaw.flaw], symbol=intent.symbol, source=flaw.source.value, flaw=flaw.flaw.value)
    return _deny_outside(intent, seen.reference.price, collar=policy.collar, fat_finger=policy.fat_finger)


def check_reducing_price(intent: OrderIntent, seen: CoinMarket | None, policy: Policy) -> Deny | None:
    """Deny an order that reduces risk outside the exit collar around the best reference there is."""
    if seen is not None and isinstance(seen.reference, Usable):
        reference = seen.reference.price
        return _deny_outside(intent, reference, collar=policy.exit_collar, fat_finger=policy.fat_finger)
    if seen is None or seen.exit_reference is None:
        return deny(DenyCode.REFERENCE_MISSING, symbol=intent.symbol)
    last_good = seen.exit_reference
    if seen.kept is not None:
        last_good = seen.kept.lowest if intent.side is _BUY else seen.kept.highest
    return _deny_outside(intent, last_good, collar=policy.exit_collar, fat_finger=None)


def exit_reference(seen: CoinMarket | None) -> Decimal | None:
    """Return what an exit is measured against: the usable reference, else the last good one, else None."""
    return None if seen is None else seen.exit_reference


def _deny_outside(
    intent: OrderIntent, reference: Decimal, *, collar: Decimal, fat_finger: Decimal | None
) -> Deny | None:
    """Deny a price that gives away more than the collar or, where that is asked for, is absurdly good for us."""
    price = intent.price
    if intent.side is _BUY:
        adverse = reference * (ONE + collar)
        if price > adverse:
            return deny(DenyCode.PRICE_OUTSIDE_COLLAR, price=price, reference=reference, bound=adverse)
        if fat_finger is not None and price < (bound := reference * (ONE - fat_finger)):
            return deny(DenyCode.PRICE_FAT_FINGER, price=price, reference=reference, bound=bound)
        return None
    adverse = reference * (ONE - collar)
    if price < adverse:
        return deny(DenyCode.PRICE_OUTSIDE_COLLAR, price=price, reference=reference, bound=adverse)
    if fat_finger is not None and price > (bound := reference * (ONE + fat_finger)):
        return deny(DenyCode.PRICE_FAT_FINGER, price=price, reference=reference, bound=bound)
    return None

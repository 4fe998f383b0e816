"""One decimal context for every product and sum of the policy: wide enough to be exact, and rounding up if it is not.

Quantities and prices of the bot have 24 digits each, figures of the exchange 36; a product of two fits. Should a sum
of many outgrow it, the result is the greater one, which denies.
"""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal

EXACT = Context(prec=72, rounding=ROUND_UP)
ZERO = Decimal(0)
ONE = Decimal(1)

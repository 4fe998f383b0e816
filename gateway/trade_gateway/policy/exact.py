"""One decimal context for every product and sum of the policy: wide enough to be exact, and rounding up if it is not.

Quantities and prices of the bot have 24 digits each, figures of the exchange 36; a product of two fits. Should a sum
of many outgrow it, the result is the greater one, which denies.

The functions are the context's own methods, looked up once: its looking up costs more than most products.
"""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal

EXACT = Context(prec=72, rounding=ROUND_UP)
add, subtract, multiply, divide, remainder = EXACT.add, EXACT.subtract, EXACT.multiply, EXACT.divide, EXACT.remainder
ZERO = Decimal(0)
ONE = Decimal(1)

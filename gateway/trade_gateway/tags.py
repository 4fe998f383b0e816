"""Makes the provenance tags of what the gateway sends: the order link id, which only a holder of the tag key can make.

A tag binds symbol, side, quantity, price and the reduce-only flag as the exchange shows them: of a limit stop the
limit price, of a market stop the price 0. So whoever has the key can verify an order from the exchange's own list.
"""

from __future__ import annotations

import secrets

from trade_core.trust.tag import NONCE_BYTES, TaggedOrder, make_tag
from trade_gateway.wire.intents import OrderIntent, StopIntent


class TagMaker:
    """Tags for one deployment and account."""

    def __init__(self, *, key: bytes, deployment: str, account: str) -> None:
        self._key = key
        self._deployment = deployment
        self._account = account

    def new_tag(self, intent: OrderIntent | StopIntent) -> str:
        """Return a tag that is used for this one send."""
        tagged = TaggedOrder(
            category=intent.category._value_,
            symbol=intent.symbol,
            side=intent.side._value_,
            quantity=intent.quantity,
            price=intent.price,
            is_reducing=intent.reduce_only,
        )
        nonce = secrets.token_bytes(NONCE_BYTES)
        return make_tag(tagged, key=self._key, deployment=self._deployment, account=self._account, nonce=nonce)

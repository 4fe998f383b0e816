"""The private stream of the order key's account: orders, executions, wallet and positions.

Source: Bybit V5, "Connect" (auth over GET/realtime + expires) and the private topics.
"""

from __future__ import annotations

from trade_core.bybit.signing import sign_websocket
from trade_core.clock import NS_PER_MS, Clock
from trade_core.secrets import Secret
from trade_gateway.account.keeper import AccountKeeper
from trade_gateway.account.messages import Topic
from trade_gateway.account.stream import Operation, Stream

PRIVATE_PATH = "/v5/private"
_LOGIN_VALID_MS = 5_000


def private_stream(
    *, exchange_ws_url: str, is_simulated: bool, clock: Clock, key: Secret, secret: Secret, keeper: AccountKeeper
) -> Stream:
    """Make the stream that feeds a keeper; it starts with `run`."""

    def operations() -> tuple[Operation, ...]:
        expires_ms = clock.wall_ns() // NS_PER_MS + _LOGIN_VALID_MS
        signature = sign_websocket(secret=secret.reveal().encode(), expires_ms=expires_ms)
        return (
            Operation(op="auth", args=(key.reveal(), expires_ms, signature)),
            Operation(op="subscribe", args=tuple(topic.value for topic in Topic)),
        )

    return Stream(
        name="private",
        url=exchange_ws_url.rstrip("/") + PRIVATE_PATH,
        is_simulated=is_simulated,
        clock=clock,
        operations=operations,
        on_frame=keeper.hear_frame,
        on_up=keeper.stream_up,
        on_down=keeper.stream_down,
    )

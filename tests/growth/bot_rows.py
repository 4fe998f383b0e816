"""The rows of a futures bot as its gateway writes them, and the checkpoints that come with them, for long journals.

Ten rows stand for one order's life and the reads around it; every twentieth order fills, the others are cancelled. A
bot writes about 165,000 rows a day, which is 1.9 a second: with a checkpoint and a cosignature every five seconds there
is one of each for about ten rows.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_journal.log.checkpoint import LogSigner, cosign, signer_name
from trade_journal.log.note import COSIGNATURE_V1, Verifier, parse_note
from trade_journal.log.rows import Draft, Entry, Fields, RowKind, draft
from trade_journal.store.store import JournalStore

ORIGIN: Final = signer_name(environment="simulated", account="1002", service="gateway")
WITNESS: Final = signer_name(environment="simulated", account="1002", service="watchdog")
_WITNESS_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SIGNER: Final = LogSigner(
    origin=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))), ring_hash="ab" * 32
)
WITNESS_VERIFIER: Final = Verifier(name=WITNESS, kind=COSIGNATURE_V1, public=_WITNESS_KEY.public_key())
ROWS_AN_ORDER: Final = 10
ORDERS_A_FILL: Final = 20
BETWEEN_ROWS_NS: Final = 86_400 * 10**9 // 165_000
_BEGAN_NS: Final = 1_790_000_000_000_000_000
_POLICY_HASH: Final = "1dbffe0d1ebc18a89671dff29b30c139be4c64096f325e27f307b3365ed6ebd4"


def order_rows(number: int) -> list[Draft]:
    """Make the ten rows of the n-th order."""
    tag = f"T1WRiuEH{number:028d}"
    order_id = f"{number:08x}-0c9b-4a0e-9d5f-3b1f5f3f0001"
    symbol = {"category": "linear", "symbol": "ETHUSDT"}
    read: Fields = {"path": "/v5/order/realtime", **symbol, "ret_code": 0}
    intent: Fields = {
        "tag": tag,
        **symbol,
        "side": "Buy" if number % 2 else "Sell",
        "quantity": "0.45",
        "price": "3103.97",
        "reduce_only": False,
        "adds_risk": True,
        "notional_usdt": "1396.7865",
        "reference_price": "3199.97",
        "client_link_id": None,
    }
    fill: Fields = {
        "tag": tag,
        **symbol,
        "side": intent["side"],
        "quantity": "0.45",
        "price": "3103.97",
        "filled": "0.45",
        "notional_usdt": "1396.7865",
        "reference_price": "3199.97",
        "adds_risk": True,
    }
    acknowledged: Fields = {"tag": tag, "result": "acknowledged", "order_id": order_id, "is_disowned": False}
    cancel: Fields = {"tag": tag, "order_id": order_id, "symbol": "ETHUSDT"}
    is_filled = number % ORDERS_A_FILL == 0
    middle: list[tuple[RowKind, Fields]] = (
        [(RowKind.ORDER_FILLED, fill), (RowKind.READ_FORWARDED, read)]
        if is_filled
        else [
            (RowKind.CANCEL_INTENT, cancel),
            (RowKind.CANCEL_OUTCOME, {**cancel, "is_intent_durable": True, "result": "acknowledged"}),
        ]
    )
    ended: Fields = {
        "tag": tag,
        "result": "ended",
        "status": "Filled" if is_filled else "Cancelled",
        "filled": "0.45" if is_filled else "0",
    }
    rows: list[tuple[RowKind, Fields]] = [
        *[(RowKind.READ_FORWARDED, read)] * 3,
        (RowKind.ORDER_INTENT, intent),
        (RowKind.ORDER_OUTCOME, acknowledged),
        (RowKind.READ_FORWARDED, read),
        *middle,
        (RowKind.ORDER_RESOLVED, ended),
        (RowKind.READ_FORWARDED, read),
    ]
    first_ns = _BEGAN_NS + number * ROWS_AN_ORDER * BETWEEN_ROWS_NS
    return [
        draft(
            Entry(
                at_ns=first_ns + index * BETWEEN_ROWS_NS,
                kind=kind,
                actor="gateway",
                fields=fields,
                policy_hash=_POLICY_HASH,
            )
        )
        for index, (kind, fields) in enumerate(rows)
    ]


def keep_checkpoint(store: JournalStore) -> None:
    """Sign, cosign and keep a checkpoint over all rows so far, as writer and witness do."""
    note = SIGNER.sign(store.tree()).rendered().encode()
    store.append_checkpoint(note)
    at_s = (_BEGAN_NS + store.size() * BETWEEN_ROWS_NS) // 10**9
    store.append_cosigned(
        cosign(parse_note(note), name=WITNESS, private_key=_WITNESS_KEY, at_s=at_s).rendered().encode()
    )

"""The write paths that no working bot ever calls: one authenticated hit means a compromised host, and halts.

Three groups: paths that move money out of the account, paths that change who has authority over it, and algorithms
that run on the exchange's side and outlive gateway and key, both what begins one and what ends one. The interfaces
before V5 count too, as far as clients still know them. Questions about any of it only deny.

The list decides only how loud a denial is. A path that is missing here is denied all the same, because it is not on the
allow-list of `routes`.
Source: Bybit V5 API documentation, state of 2026-07; of the interfaces before it, what ccxt still names.
"""

from __future__ import annotations

_MONEY_OUT = (
    ("/v5/asset/", ("deposit/deposit-to-account", "travel-rule/deposit/submit", "withdraw/cancel", "withdraw/create")),
    ("/v5/asset/transfer/", ("inter-transfer", "save-transfer-sub-member", "universal-transfer")),
    ("/v5/broker/award/", ("distribute-award",)),
    ("/v5/earn/pwm/", ("fund-transfer",)),
    (
        "/v5/earn/pwm/asset-manager/",
        (
            "create-fund",
            "create-investment-plan",
            "create-sub-account",
            "manage-investment-plan",
            "manage-order",
            "settle-profit",
        ),
    ),
    ("/v5/ins-loan/", ("association-uid", "repay-loan")),
    ("/v5/p2p/", ("chat/message/send", "item/cancel", "item/create", "item/update")),
    ("/v5/p2p/order/", ("finish", "message/send", "pay")),
    (
        "/asset/v3/private/transfer/",
        ("inter-transfer", "sub-member-transfer", "transfer-sub-member-save", "universal-transfer"),
    ),
    ("/asset/v3/private/withdraw/", ("cancel", "create")),
    ("/contract/v3/private/copytrading/wallet/", ("transfer",)),
)
_AUTHORITY = (
    (
        "/v5/user/",
        (
            "agreement",
            "create-demo-member",
            "create-sub-api",
            "create-sub-member",
            "del-submember",
            "delete-api",
            "delete-sub-api",
            "frozen-sub-member",
            "update-api",
            "update-sub-api",
        ),
    ),
    (
        "/user/v3/private/",
        ("create-sub-api", "create-sub-member", "delete-api", "delete-sub-api", "update-api", "update-sub-api"),
    ),
)
_ALGORITHMS = (
    ("/v5/grid/", ("close-grid", "create-grid")),
    ("/v5/fgridbot/", ("close", "create")),
    ("/v5/dca/", ("close-bot", "create-bot")),
    ("/v5/fcombobot/", ("close", "create")),
    ("/v5/fmartingalebot/", ("close", "create")),
)
_ALGORITHMS_PREFIX = b"/v5/strategy/"  # whatever begins so: its questions are GET

TRIGGER_PATHS = frozenset(
    (prefix + name).encode() for prefix, names in _MONEY_OUT + _AUTHORITY + _ALGORITHMS for name in names
)


def is_trigger(method: bytes, raw_path: bytes) -> bool:
    """Tell whether an authenticated request to this path halts. The path is compared as it came, byte by byte."""
    return method == b"POST" and (raw_path in TRIGGER_PATHS or raw_path.startswith(_ALGORITHMS_PREFIX))

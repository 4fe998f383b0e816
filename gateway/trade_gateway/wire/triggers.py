"""The write paths that no working bot ever calls: one authenticated hit means a compromised host, and halts.

Three groups: paths that move money out of the account, paths that change who has authority over it, and algorithms
that run on the exchange's side and outlive gateway and key. The list decides only how loud a denial is. A path that
is missing here is denied all the same, because it is not on the allow-list of `routes`.
Source: Bybit V5 API documentation, state of 2026-07.
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
)
_ALGORITHMS_PREFIX = b"/v5/strategy/"

TRIGGER_PATHS = frozenset((prefix + name).encode() for prefix, names in _MONEY_OUT + _AUTHORITY for name in names)


def is_trigger(method: bytes, raw_path: bytes) -> bool:
    """Tell whether an authenticated request to this path halts. The path is compared as it came, byte by byte."""
    return method == b"POST" and (raw_path in TRIGGER_PATHS or raw_path.startswith(_ALGORITHMS_PREFIX))

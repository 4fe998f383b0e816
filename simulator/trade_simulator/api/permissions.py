"""Who may call: read-only keys change nothing, every write asks for the permission that the exchange documents."""

from __future__ import annotations

from trade_simulator.api.call import Call
from trade_simulator.instruments import Category
from trade_simulator.keys import ApiKey
from trade_simulator.rejections import PERMISSION_DENIED


def require(key: ApiKey, group: str, *names: str) -> None:
    """Refuse with 10005 a key that carries none of the permissions."""
    if not any(key.allows(group, name) for name in names):
        raise PERMISSION_DENIED.error()


def require_writable(key: ApiKey) -> None:
    """Refuse with 10005 a read-only key."""
    if key.read_only:
        raise PERMISSION_DENIED.error()


def require_trade(key: ApiKey, category: Category) -> None:
    """Refuse with 10005 a key that may not trade a category, or not trade at all."""
    require_writable(key)
    if category is Category.SPOT:
        require(key, "Spot", "SpotTrade")
    else:
        require(key, "ContractTrade", "Order")


def require_order_permission(call: Call) -> Category:
    """Read the category of an order request and refuse with 10005 a key that may not trade it."""
    category = call.fields.category()
    require_trade(call.caller, category)
    return category


def require_position_permission(key: ApiKey) -> None:
    """Refuse with 10005 a key that may not change positions and their settings."""
    require_writable(key)
    require(key, "ContractTrade", "Position")


def require_master(key: ApiKey) -> None:
    """Refuse with 10005 a key that is not of a master account."""
    if not key.is_master:
        raise PERMISSION_DENIED.error()

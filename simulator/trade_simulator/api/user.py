"""Members and keys: who may make, change and delete them is decided by the exchange, from the calling key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trade_simulator.accounts import Account
from trade_simulator.api.asset import member
from trade_simulator.api.call import Call
from trade_simulator.api.permissions import require_master
from trade_simulator.api.shapes import Shape
from trade_simulator.keys import PERMISSION_NAMES, ApiKey
from trade_simulator.rejections import parameter_error

MAX_KEYS = 20
# How the list of a sub-account's keys shows where a key stands.
_PERMANENT, _EXPIRED, _LIMITED = 1, 2, 3
_NORMAL, _FROZEN = 1, 4
# Groups that the answer names although this exchange grants nothing in them.
_ALWAYS_EMPTY = ("FiatP2P", "FiatConvertBroker", "FiatGlobalPay", "FiatBitPay", "BitCard", "ByXPost")


def _permissions(key: ApiKey) -> dict[str, list[str]]:
    return {group: list(key.permissions.get(group, ())) for group in PERMISSION_NAMES}


def _addresses(key: ApiKey) -> list[str]:
    return list(key.ips) or ["*"]


def query_api(call: Call) -> object:
    """Describe the calling key."""
    key = call.caller
    account = call.exchange.accounts[key.uid]
    return {
        "id": key.key_id,
        "note": key.note,
        "apiKey": key.api_key,
        "readOnly": int(key.read_only),
        "secret": "",
        "permissions": _permissions(key) | {group: [] for group in _ALWAYS_EMPTY},
        "ips": _addresses(key),
        "type": 1,
        "deadlineDay": key.deadline_day(call.now_ms),
        "expiredAt": key.expired_at(),
        "createdAt": key.created_at(),
        "unified": 0,
        "uta": 1,
        "userID": int(key.uid),
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": key.rsa_public_key,
        "isMaster": key.is_master,
        "parentUid": account.parent_uid or "0",
        "kycLevel": "LEVEL_DEFAULT",
        "kycRegion": "",
        "userIDInt64": key.uid,
        "inviterIDInt64": "0",
        "affiliateIDInt64": "0",
    }


def query_sub_members(call: Call) -> object:
    """List the sub-accounts of the master that asks."""
    require_master(call.caller)
    return {"subMembers": [_member_shape(account) for account in call.exchange.sub_accounts(call.uid)]}


def _member_shape(account: Account) -> Shape:
    return {
        "uid": account.uid,
        "username": account.name,
        "memberType": 1,
        "status": _FROZEN if account.is_frozen else _NORMAL,
        "remark": "",
        "accountMode": 5,
    }


def sub_api_keys(call: Call) -> object:
    """List the keys of a sub-account; only its master sees them."""
    require_master(call.caller)
    page = call.exchange.sub_keys(
        call.caller,
        member(call, "subMemberId"),
        limit=call.fields.limit(default=MAX_KEYS, most=MAX_KEYS),
        cursor=call.fields.text("cursor"),
    )
    return {
        "result": [_listed_key(key, call.now_ms) for key in page.items],
        "nextPageCursor": page.next_cursor,
    }


def _listed_key(key: ApiKey, now_ms: int) -> Shape:
    left = key.deadline_day(now_ms)
    return {
        "id": key.key_id,
        "ips": _addresses(key),
        "apiKey": key.api_key,
        "note": key.note,
        "status": _PERMANENT if left == -2 else _EXPIRED if left == -1 else _LIMITED,
        "expiredAt": key.expired_at(),
        "createdAt": key.created_at(),
        "type": 1,
        "permissions": _permissions(key),
        "secret": "******",
        "readOnly": key.read_only,
        "deadlineDay": left,
        "flag": "rsa" if key.rsa_public_key else "hmac",
    }


def parse_permissions(value: Any) -> Mapping[str, tuple[str, ...]]:
    """Read permissions: an object of lists of names. Raises Rejected 10001."""
    if not isinstance(value, dict):
        raise parameter_error("permissions invalid")
    parsed: dict[str, tuple[str, ...]] = {}
    for group, names in value.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise parameter_error(f"permissions.{group} invalid")
        if names or group in PERMISSION_NAMES:
            parsed[group] = tuple(names)
    return parsed


def parse_addresses(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of addresses; "*" is no binding."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _optional_permissions(call: Call) -> Mapping[str, tuple[str, ...]] | None:
    value = call.fields.raw("permissions")
    return None if value is None else parse_permissions(value)


def _optional_read_only(call: Call) -> bool | None:
    value = call.fields.optional_integer("readOnly")
    if value not in (None, 0, 1):
        raise parameter_error("readOnly invalid")
    return None if value is None else bool(value)


def _optional_addresses(call: Call) -> tuple[str, ...] | None:
    return parse_addresses(call.fields.text("ips")) if call.fields.text("ips") else None


def _key_shape(key: ApiKey, *, secret: str = "") -> Shape:
    return {
        "id": key.key_id,
        "note": key.note,
        "apiKey": key.api_key,
        "readOnly": int(key.read_only),
        "secret": secret,
        "permissions": _permissions(key),
        "ips": _addresses(key),
    }


def create_sub_api(call: Call) -> object:
    """Make a key of a sub-account; the secret is shown this once."""
    read_only = _optional_read_only(call)
    if read_only is None:
        raise parameter_error("readOnly is required")
    key = call.exchange.create_sub_key(
        call.caller,
        member(call, "subuid"),
        permissions=parse_permissions(call.fields.raw("permissions")),
        read_only=read_only,
        ips=_optional_addresses(call) or (),
        note=call.fields.text("note"),
    )
    return _key_shape(key, secret=key.secret)


def update_sub_api(call: Call) -> object:
    """Change a key of a sub-account."""
    key = call.exchange.update_sub_key(
        call.caller,
        call.fields.text("apikey", default=call.caller.api_key),
        read_only=_optional_read_only(call),
        ips=_optional_addresses(call),
        permissions=_optional_permissions(call),
    )
    return _key_shape(key)


def delete_sub_api(call: Call) -> object:
    """Delete a key of a sub-account."""
    call.exchange.delete_sub_key(call.caller, call.fields.text("apikey", default=call.caller.api_key))
    return {}


def update_api(call: Call) -> object:
    """Change the calling key."""
    key = call.exchange.update_key(
        call.caller,
        read_only=_optional_read_only(call),
        ips=_optional_addresses(call),
        permissions=_optional_permissions(call),
    )
    return _key_shape(key)


def delete_api(call: Call) -> object:
    """Delete the calling key."""
    call.exchange.delete_key(call.caller)
    return {}


def frozen_sub_member(call: Call) -> object:
    """Freeze or unfreeze a sub-account."""
    frozen = call.fields.optional_integer("frozen")
    if frozen not in (0, 1):
        raise parameter_error("frozen invalid")
    call.exchange.freeze(call.caller, member(call, "subuid"), frozen=frozen == 1)
    return {}

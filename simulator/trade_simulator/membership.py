"""Members: sub-accounts, freezing, and who may manage whose API keys.

As on Bybit, a master manages the keys of its sub-accounts and deletes only the key that calls; a sub-account
deletes or changes only the key that calls.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from trade_simulator.accounts import Account
from trade_simulator.floor import Floor
from trade_simulator.keys import ApiKey, KeyRegistry, require_key_management
from trade_simulator.paging import Page
from trade_simulator.rejections import PERMISSION_DENIED, SUB_ACCOUNT_UNKNOWN, parameter_error
from trade_simulator.treasury import Treasury

Permissions = Mapping[str, tuple[str, ...]]

_FIRST_UID: Final = 100_000_000


class Membership:
    """Accounts and their keys."""

    def __init__(self, floor: Floor, keys: KeyRegistry, treasury: Treasury) -> None:
        self._floor = floor
        self._keys = keys
        self._treasury = treasury

    def create(self, *, uid: str | None, parent_uid: str | None, name: str, balances: Mapping[str, Decimal]) -> Account:
        """Open an account with what it owns. Raises Rejected 10001."""
        if parent_uid is not None and not self._floor.account(parent_uid).is_master:
            raise parameter_error("a sub-account has no sub-accounts")
        if uid is None:
            uid = str(_FIRST_UID + self._floor.new_number())
        if uid in self._floor.accounts:
            raise parameter_error("uid exists")
        if any(amount < 0 for amount in balances.values()):
            raise parameter_error("balance negative")
        account = Account(uid=uid, parent_uid=parent_uid or "", name=name, created_at_ms=self._floor.now_ms())
        account.balances["USDT"] = Decimal(0)
        self._floor.accounts[uid] = account
        for coin, amount in balances.items():
            if amount:
                self._treasury.fund(account, coin, amount)
        return account

    def sub_accounts(self, master_uid: str) -> list[Account]:
        """Return the sub-accounts of a master, newest first."""
        found = [one for one in self._floor.accounts.values() if one.parent_uid == master_uid]
        return found[::-1]

    def freeze(self, caller: ApiKey, sub_uid: str, *, frozen: bool) -> None:
        """Freeze or unfreeze a sub-account. Raises Rejected."""
        self._master(caller)
        self._sub_account(caller, sub_uid).is_frozen = frozen

    def create_sub_key(
        self,
        caller: ApiKey,
        sub_uid: str,
        *,
        permissions: Permissions,
        read_only: bool,
        ips: tuple[str, ...],
        note: str,
    ) -> ApiKey:
        """Make a key for a sub-account. Raises Rejected."""
        self._master(caller)
        sub = self._sub_account(caller, sub_uid)
        if "Withdraw" in permissions.get("Wallet", ()):
            raise parameter_error("a sub-account key can not withdraw")
        return self._keys.create(
            uid=sub.uid, is_master=False, permissions=permissions, read_only=read_only, ips=ips, note=note
        )

    def sub_keys(self, caller: ApiKey, sub_uid: str, *, limit: int, cursor: str) -> Page[ApiKey]:
        """List the keys of a sub-account; any master key may, also a read-only one. Raises Rejected."""
        self._acting(caller)
        if not caller.is_master:
            raise PERMISSION_DENIED.error()
        return self._keys.page(self._sub_account(caller, sub_uid).uid, limit=limit, cursor=cursor)

    def update_sub_key(
        self,
        caller: ApiKey,
        api_key: str,
        *,
        read_only: bool | None,
        ips: tuple[str, ...] | None,
        permissions: Permissions | None,
    ) -> ApiKey:
        """Change a sub-account key: a master any of its family, a sub-account the calling one."""
        target = self._sub_key_target(caller, api_key)
        if permissions is not None and "Withdraw" in permissions.get("Wallet", ()):
            raise parameter_error("a sub-account key can not withdraw")
        return self._keys.update(target.api_key, read_only=read_only, ips=ips, permissions=permissions)

    def delete_sub_key(self, caller: ApiKey, api_key: str) -> None:
        """Delete a sub-account key: a master any of its family, a sub-account the calling one."""
        self._keys.delete(self._sub_key_target(caller, api_key).api_key)

    def update_key(
        self,
        caller: ApiKey,
        *,
        read_only: bool | None,
        ips: tuple[str, ...] | None,
        permissions: Permissions | None,
    ) -> ApiKey:
        """Change the calling master key. Raises Rejected."""
        self._master(caller)
        return self._keys.update(caller.api_key, read_only=read_only, ips=ips, permissions=permissions)

    def delete_key(self, caller: ApiKey) -> None:
        """Delete the calling master key. Raises Rejected."""
        self._master(caller)
        self._keys.delete(caller.api_key)

    def _acting(self, caller: ApiKey) -> None:
        # The caller may have been deleted or frozen since it was read.
        self._keys.find(caller.api_key)
        self._floor.acting_account(caller.uid)

    def _master(self, caller: ApiKey) -> None:
        self._acting(caller)
        require_key_management(caller)
        if not caller.is_master:
            raise PERMISSION_DENIED.error()

    def _sub_account(self, caller: ApiKey, sub_uid: str) -> Account:
        account = self._floor.accounts.get(sub_uid)
        if account is None or account.parent_uid != caller.uid:
            raise SUB_ACCOUNT_UNKNOWN.error()
        return account

    def _sub_key_target(self, caller: ApiKey, api_key: str) -> ApiKey:
        self._acting(caller)
        require_key_management(caller)
        if not caller.is_master:
            if api_key not in {"", caller.api_key}:
                raise PERMISSION_DENIED.error()
            return self._keys.find(caller.api_key)
        target = self._keys.find(api_key)
        self._sub_account(caller, target.uid)
        return target

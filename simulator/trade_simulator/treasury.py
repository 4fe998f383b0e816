"""Moves of money: transfers within a family of accounts, withdrawals, deposits, outside flows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from trade_simulator.accounts import Account
from trade_simulator.admission import spot_free
from trade_simulator.floor import Floor
from trade_simulator.orders import ZERO
from trade_simulator.records import AccountType, Deposit, TransactionType, Transfer, Withdrawal, WithdrawRequest
from trade_simulator.rejections import (
    TRANSFER_AMOUNT,
    TRANSFER_AMOUNT_ACCURACY,
    TRANSFER_BALANCE,
    TRANSFER_DUPLICATE,
    TRANSFER_FORBIDDEN,
    TRANSFER_MEMBER_INVALID,
    TRANSFER_PARAMETER,
    TRANSFER_SAME_ACCOUNT,
    WITHDRAW_BALANCE,
    WITHDRAW_FORBIDDEN,
    WITHDRAW_LIMIT,
    WITHDRAW_PARAMETER,
)
from trade_simulator.settlement import Settlement

# The documentation asks for a UUID made by the client.
_TRANSFER_ID: Final = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
AMOUNT_QUANTUM: Final = Decimal("0.00000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """How a coin leaves the exchange."""

    coin: str
    chain: str
    withdraw_fee: Decimal
    withdraw_min: Decimal
    withdraw_max: Decimal


CHAINS: Final[Mapping[str, Chain]] = {
    one.coin: one
    for one in (
        Chain(coin="USDT", chain="ETH", withdraw_fee=Decimal(3), withdraw_min=Decimal(10),
              withdraw_max=Decimal(5_000_000)),
        Chain(coin="BTC", chain="BTC", withdraw_fee=Decimal("0.0001"), withdraw_min=Decimal("0.0005"),
              withdraw_max=Decimal(100)),
        Chain(coin="ETH", chain="ETH", withdraw_fee=Decimal("0.0012"), withdraw_min=Decimal("0.005"),
              withdraw_max=Decimal(2000)),
        Chain(coin="XRP", chain="XRP", withdraw_fee=Decimal("0.2"), withdraw_min=Decimal(10),
              withdraw_max=Decimal(5_000_000)),
    )
}  # fmt: skip


class Treasury:
    """Books moves of money."""

    def __init__(self, floor: Floor, settlement: Settlement) -> None:
        self._floor = floor
        self._settlement = settlement
        # What came from outside less what left: the constant of the conservation law.
        self.net_inflow: dict[str, Decimal] = {}

    def fund(self, account: Account, coin: str, amount: Decimal) -> None:
        """Book an outside flow into (or, negative, out of) the unified wallet. Raises Rejected."""
        if amount < 0 and -amount > spot_free(self._floor, account, coin):
            raise TRANSFER_BALANCE.error()
        kind = TransactionType.DEPOSIT if amount > 0 else TransactionType.WITHDRAW
        self._move(account, AccountType.UNIFIED, coin, amount, kind)
        self._count_inflow(coin, amount)

    def deposit(self, account: Account, coin: str, amount: Decimal) -> Deposit:
        """Book a deposit with its record."""
        self.fund(account, coin, amount)
        number = self._floor.new_number()
        record = Deposit(
            uid=account.uid,
            deposit_id=str(number),
            transaction_id=self._floor.new_id().replace("-", "") * 2,
            coin=coin,
            chain=CHAINS[coin].chain if coin in CHAINS else coin,
            amount=amount,
            address=f"simulated-{account.uid}-{coin}",
            at_ms=self._floor.now_ms(),
            seq=self._floor.next_sequence(),
        )
        account.deposits.append(record)
        return record

    def external_withdrawal(self, account: Account, coin: str, amount: Decimal) -> Withdrawal:
        """Book money that leaves without a request over the API."""
        self.fund(account, coin, -amount)
        chain = CHAINS[coin].chain if coin in CHAINS else coin
        return self._record_withdrawal(
            account, coin=coin, chain=chain, address="simulated-outside", tag="", amount=amount, fee=ZERO
        )

    def transfer(
        self,
        caller: Account,
        *,
        transfer_id: str,
        coin: str,
        amount: Decimal,
        source: Account,
        target: Account,
        from_type: AccountType,
        to_type: AccountType,
        is_universal: bool,
    ) -> Transfer:
        """Move a coin between two wallets of one family. Raises Rejected.

        A master moves money between any of its family; a sub-account only out of itself.
        """
        self._check_parties(caller, source, target)
        if source is target and from_type is to_type:
            raise TRANSFER_SAME_ACCOUNT.error()
        if not _TRANSFER_ID.match(transfer_id):
            raise TRANSFER_PARAMETER.error()
        if any(one.transfer_id == transfer_id for one in (*source.transfers, *target.transfers)):
            raise TRANSFER_DUPLICATE.error()
        self._check_amount(coin, amount)
        if amount > self.transferable(source, from_type, coin):
            raise TRANSFER_BALANCE.error()
        self._move(source, from_type, coin, -amount, TransactionType.TRANSFER_OUT)
        self._move(target, to_type, coin, amount, TransactionType.TRANSFER_IN)
        record = Transfer(
            transfer_id=transfer_id,
            is_universal=is_universal,
            coin=coin,
            amount=amount,
            from_uid=source.uid,
            to_uid=target.uid,
            from_account_type=from_type,
            to_account_type=to_type,
            at_ms=self._floor.now_ms(),
            seq=self._floor.next_sequence(),
        )
        for party in {source.uid: source, target.uid: target, caller.uid: caller}.values():
            party.transfers.append(record)
        return record

    def withdraw(self, account: Account, request: WithdrawRequest) -> Withdrawal:
        """Send money out of a master account. Raises Rejected."""
        if not account.is_master:
            raise WITHDRAW_FORBIDDEN.error()
        chain = CHAINS.get(request.coin)
        if chain is None or request.chain not in {"", chain.chain} or not request.address:
            raise WITHDRAW_PARAMETER.error()
        if not chain.withdraw_min <= request.amount <= chain.withdraw_max or request.amount % AMOUNT_QUANTUM:
            raise WITHDRAW_LIMIT.error()
        fee = chain.withdraw_fee
        total = request.amount if request.fee_type else request.amount + fee
        if total > self.transferable(account, request.account_type, request.coin):
            raise WITHDRAW_BALANCE.error()
        self._move(account, request.account_type, request.coin, -total, TransactionType.WITHDRAW)
        self._count_inflow(request.coin, fee - total)
        self._floor.house.collect_fee(request.coin, fee)
        return self._record_withdrawal(
            account, coin=request.coin, chain=chain.chain, address=request.address, tag=request.tag,
            amount=total - fee, fee=fee,
        )  # fmt: skip

    def transferable(self, account: Account, account_type: AccountType, coin: str) -> Decimal:
        """Return how much of a coin may leave a wallet."""
        if account_type is AccountType.FUND:
            return account.funding_balances.get(coin, ZERO)
        return spot_free(self._floor, account, coin)

    def _check_parties(self, caller: Account, source: Account, target: Account) -> None:
        if not (caller.family == source.family == target.family):
            raise TRANSFER_MEMBER_INVALID.error()
        if not caller.is_master and source is not caller:
            raise TRANSFER_FORBIDDEN.error()
        if source.is_frozen or target.is_frozen:
            raise TRANSFER_FORBIDDEN.error()

    def _check_amount(self, coin: str, amount: Decimal) -> None:
        if coin not in CHAINS:
            raise TRANSFER_PARAMETER.error()
        if amount <= 0:
            raise TRANSFER_AMOUNT.error()
        if amount % AMOUNT_QUANTUM:
            raise TRANSFER_AMOUNT_ACCURACY.error()

    def _move(
        self, account: Account, account_type: AccountType, coin: str, amount: Decimal, kind: TransactionType
    ) -> None:
        if account_type is AccountType.FUND:
            account.funding_balances[coin] = account.funding_balances.get(coin, ZERO) + amount
            return
        account.add(coin, amount)
        self._settlement.log(account, kind=kind, currency=coin, cash_flow=amount, change=amount)
        self._floor.touch_wallet(account.uid)

    def _count_inflow(self, coin: str, amount: Decimal) -> None:
        self.net_inflow[coin] = self.net_inflow.get(coin, ZERO) + amount

    def _record_withdrawal(
        self, account: Account, *, coin: str, chain: str, address: str, tag: str, amount: Decimal, fee: Decimal
    ) -> Withdrawal:
        now_ms = self._floor.now_ms()
        record = Withdrawal(
            uid=account.uid,
            withdraw_id=str(self._floor.new_number()),
            transaction_id=self._floor.new_id().replace("-", "") * 2,
            coin=coin,
            chain=chain,
            address=address,
            tag=tag,
            amount=amount,
            fee=fee,
            status="success",
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            seq=self._floor.next_sequence(),
        )
        account.withdrawals.append(record)
        return record

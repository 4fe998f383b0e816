"""The simulated exchange as one object: accounts, keys, books and the market, without any I/O."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from trade_simulator.accounts import Account
from trade_simulator.algos import Algo, AlgoQuery, AlgoRequest
from trade_simulator.events import Event
from trade_simulator.instruments import Category, Instrument
from trade_simulator.keys import ApiKey, KeyRegistry
from trade_simulator.market.data import MarketData
from trade_simulator.market.series import Candle
from trade_simulator.orders import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Execution,
    ExecutionQuery,
    Order,
    OrderQuery,
    PlaceOrder,
)
from trade_simulator.paging import Page
from trade_simulator.positions import ClosedPnl, Position, TradingStop
from trade_simulator.records import (
    AccountType,
    Deposit,
    FeeRate,
    MarginMode,
    RecordQuery,
    TransactionLog,
    Transfer,
    WalletView,
    Withdrawal,
    WithdrawRequest,
)


class Exchange:
    """Everything that happens on the exchange. Every method that refuses raises Rejected and changes nothing.

    uid is always the member on whose behalf the call is made; unknown and frozen members are refused.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        seed: int,
        instruments: Sequence[Instrument],
        speed: Decimal = Decimal(1),
        replay: Mapping[str, Sequence[Candle]] | None = None,
    ) -> None:
        self.instruments: Mapping[tuple[Category, str], Instrument] = {one.key: one for one in instruments}
        self.accounts: dict[str, Account] = {}
        self.keys = KeyRegistry(now_ms=now_ms, is_frozen=lambda uid: self.accounts[uid].is_frozen)
        self.market = MarketData(now_ms=now_ms)

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call a listener with every event from now on; it must not call the exchange's commands."""
        raise NotImplementedError

    # Accounts and keys
    def create_account(
        self, *, uid: str | None = None, parent_uid: str | None = None, name: str = "", balances: Mapping[str, Decimal]
    ) -> Account:
        raise NotImplementedError

    def sub_accounts(self, master_uid: str) -> list[Account]:
        raise NotImplementedError

    def freeze(self, caller: ApiKey, sub_uid: str, *, frozen: bool) -> None:
        raise NotImplementedError

    def create_sub_key(
        self,
        caller: ApiKey,
        sub_uid: str,
        *,
        permissions: Mapping[str, tuple[str, ...]],
        read_only: bool,
        ips: tuple[str, ...],
        note: str,
    ) -> ApiKey:
        raise NotImplementedError

    def update_sub_key(
        self,
        caller: ApiKey,
        api_key: str,
        *,
        read_only: bool | None,
        ips: tuple[str, ...] | None,
        permissions: Mapping[str, tuple[str, ...]] | None,
    ) -> ApiKey:
        raise NotImplementedError

    def delete_sub_key(self, caller: ApiKey, api_key: str) -> None:
        raise NotImplementedError

    def update_key(
        self,
        caller: ApiKey,
        *,
        read_only: bool | None,
        ips: tuple[str, ...] | None,
        permissions: Mapping[str, tuple[str, ...]] | None,
    ) -> ApiKey:
        raise NotImplementedError

    def delete_key(self, caller: ApiKey) -> None:
        raise NotImplementedError

    def sub_keys(self, caller: ApiKey, sub_uid: str, *, limit: int, cursor: str) -> Page[ApiKey]:
        raise NotImplementedError

    # Orders
    def place(self, uid: str, command: PlaceOrder) -> Order:
        raise NotImplementedError

    def amend(self, uid: str, command: AmendOrder) -> Order:
        raise NotImplementedError

    def cancel(self, uid: str, command: CancelOrder) -> Order:
        raise NotImplementedError

    def cancel_all(self, uid: str, command: CancelAll) -> list[Order]:
        raise NotImplementedError

    def working_orders(self, uid: str, query: OrderQuery) -> Page[Order]:
        raise NotImplementedError

    def order_history(self, uid: str, query: OrderQuery) -> Page[Order]:
        raise NotImplementedError

    def executions(self, uid: str, query: ExecutionQuery) -> Page[Execution]:
        raise NotImplementedError

    # Positions
    def positions(
        self, uid: str, *, category: Category, symbol: str = "", settle_coin: str = "", base_coin: str = ""
    ) -> list[Position]:
        raise NotImplementedError

    def set_leverage(
        self, uid: str, *, category: Category, symbol: str, buy_leverage: Decimal, sell_leverage: Decimal
    ) -> None:
        raise NotImplementedError

    def switch_mode(self, uid: str, *, category: Category, symbol: str, coin: str, mode: int) -> None:
        raise NotImplementedError

    def set_margin_mode(self, uid: str, mode: MarginMode) -> None:
        raise NotImplementedError

    def trading_stop(self, uid: str, command: TradingStop) -> None:
        raise NotImplementedError

    def closed_pnl(self, uid: str, query: RecordQuery) -> Page[ClosedPnl]:
        raise NotImplementedError

    # Money
    def wallet(self, uid: str) -> WalletView:
        raise NotImplementedError

    def fee_rates(self, uid: str, category: Category, *, symbol: str = "", base_coin: str = "") -> list[FeeRate]:
        raise NotImplementedError

    def transaction_log(self, uid: str, query: RecordQuery) -> Page[TransactionLog]:
        raise NotImplementedError

    def inter_transfer(
        self, uid: str, *, transfer_id: str, coin: str, amount: Decimal, from_type: AccountType, to_type: AccountType
    ) -> Transfer:
        raise NotImplementedError

    def universal_transfer(
        self,
        uid: str,
        *,
        transfer_id: str,
        coin: str,
        amount: Decimal,
        from_uid: str,
        to_uid: str,
        from_type: AccountType,
        to_type: AccountType,
    ) -> Transfer:
        raise NotImplementedError

    def inter_transfers(self, uid: str, query: RecordQuery) -> Page[Transfer]:
        raise NotImplementedError

    def universal_transfers(self, uid: str, query: RecordQuery) -> Page[Transfer]:
        raise NotImplementedError

    def withdraw(self, uid: str, request: WithdrawRequest) -> Withdrawal:
        raise NotImplementedError

    def withdrawals(self, uid: str, query: RecordQuery) -> Page[Withdrawal]:
        raise NotImplementedError

    def deposits(self, uid: str, query: RecordQuery) -> Page[Deposit]:
        raise NotImplementedError

    def flow(self, uid: str, *, coin: str, amount: Decimal) -> None:
        """Book an external deposit (positive) or withdrawal (negative) of the unified wallet."""
        raise NotImplementedError

    # Strategies
    def create_algo(self, uid: str, request: AlgoRequest) -> Algo:
        raise NotImplementedError

    def algos(self, uid: str, query: AlgoQuery) -> Page[Algo]:
        raise NotImplementedError

    def stop_algo(self, uid: str, strategy_id: str) -> Algo:
        raise NotImplementedError

    # Time
    def tick(self) -> None:
        """Do one market step of 100 ms."""
        raise NotImplementedError

    def set_price(self, symbol: str, price: Decimal) -> None:
        """Make the price path of a symbol jump; index, mark and books follow at once."""
        raise NotImplementedError

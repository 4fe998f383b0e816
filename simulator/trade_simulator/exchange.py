"""The simulated exchange as one object: accounts, keys, books and the market, without any I/O.

Everything is synchronous and repeatable: the clock is given, all randomness but that of API keys and secrets
comes from the seed. A call that is refused raises Rejected and changes nothing. Events leave in the order in
which things happened; wallets, positions and books are told once, at the end of the call.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from trade_simulator import position_settings, queries
from trade_simulator.accounts import Account
from trade_simulator.algos import Algo, AlgoDesk, AlgoQuery, AlgoRequest
from trade_simulator.conditionals import Conditionals
from trade_simulator.desk import Desk
from trade_simulator.events import BookChanged, Event, PositionChanged, WalletChanged
from trade_simulator.floor import Floor, snapshot
from trade_simulator.instruments import Category, Instrument
from trade_simulator.keys import ApiKey, KeyRegistry
from trade_simulator.margin import position_view, wallet_view
from trade_simulator.market.data import MarketData
from trade_simulator.market.price_file import RecordedBar
from trade_simulator.market.reference import funding_rate, next_funding_ms
from trade_simulator.market.simulation import Market
from trade_simulator.matching import Matcher
from trade_simulator.membership import Membership, Permissions
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
from trade_simulator.rejections import MISSING_FILTER, parameter_error
from trade_simulator.risk import Risk
from trade_simulator.settlement import Settlement
from trade_simulator.treasury import CHAINS, Treasury


class Exchange:
    """Everything that happens on the exchange.

    uid is always the member on whose behalf the call is made. Unknown members are refused, and frozen ones for
    whatever changes something; that a frozen member cannot read either is up to its keys, which are refused as
    a whole, so that the control interface can still show it.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        seed: int,
        instruments: Sequence[Instrument],
        speed: Decimal = Decimal(1),
        replay: Mapping[str, Sequence[RecordedBar]] | None = None,
    ) -> None:
        floor = Floor(now_ms=now_ms, seed=seed, instruments=instruments)
        self._floor = floor
        self._seed = seed
        self.instruments: Mapping[tuple[Category, str], Instrument] = floor.instruments
        self.accounts: dict[str, Account] = floor.accounts
        self.keys = KeyRegistry(now_ms=now_ms, is_frozen=self._is_frozen)
        self._market = Market(floor=floor, seed=seed, speed=speed, replay=replay or {})
        self.market = MarketData(floor=floor, tapes=self._market.tapes, seed=seed)
        self._settlement = Settlement(floor)
        self._matcher = Matcher(floor, self._settlement, self._market.tapes)
        self._conditionals = Conditionals(floor, self._matcher)
        self._matcher.on_fill = self._conditionals.on_fill
        self._risk = Risk(floor, self._matcher, self._settlement, self._conditionals)
        self._desk = Desk(floor, self._matcher, self._conditionals)
        self.treasury = Treasury(floor, self._settlement)
        self._membership = Membership(floor, self.keys, self.treasury)
        self._funding_due_ms = {
            one.symbol: next_funding_ms(one, now_ms()) for one in instruments if one.category is Category.LINEAR
        }
        self._market.open(self._matcher, seed)
        self._flush()

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call a listener with every event from now on; it must not call the exchange's commands."""
        self._floor.subscribe(listener)

    # Accounts and keys

    def create_account(
        self,
        *,
        uid: str | None = None,
        parent_uid: str | None = None,
        name: str = "",
        balances: Mapping[str, Decimal],
    ) -> Account:
        """Open an account that owns something from the start."""
        account = self._membership.create(uid=uid, parent_uid=parent_uid, name=name, balances=balances)
        self._flush()
        return account

    def sub_accounts(self, master_uid: str) -> list[Account]:
        """Return the sub-accounts of a master, newest first."""
        return self._membership.sub_accounts(master_uid)

    def freeze(self, caller: ApiKey, sub_uid: str, *, frozen: bool) -> None:
        """Freeze or unfreeze a sub-account: from then on it can do nothing. Its orders stay."""
        self._membership.freeze(caller, sub_uid, frozen=frozen)

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
        """Make a key for a sub-account."""
        return self._membership.create_sub_key(
            caller, sub_uid, permissions=permissions, read_only=read_only, ips=ips, note=note
        )

    def update_sub_key(
        self,
        caller: ApiKey,
        api_key: str,
        *,
        read_only: bool | None,
        ips: tuple[str, ...] | None,
        permissions: Permissions | None,
    ) -> ApiKey:
        """Change a sub-account key; "" names the calling key of a sub-account."""
        return self._membership.update_sub_key(caller, api_key, read_only=read_only, ips=ips, permissions=permissions)

    def delete_sub_key(self, caller: ApiKey, api_key: str) -> None:
        """Delete a sub-account key; "" names the calling key of a sub-account."""
        self._membership.delete_sub_key(caller, api_key)

    def update_key(
        self,
        caller: ApiKey,
        *,
        read_only: bool | None,
        ips: tuple[str, ...] | None,
        permissions: Permissions | None,
    ) -> ApiKey:
        """Change the calling master key."""
        return self._membership.update_key(caller, read_only=read_only, ips=ips, permissions=permissions)

    def delete_key(self, caller: ApiKey) -> None:
        """Delete the calling master key."""
        self._membership.delete_key(caller)

    def sub_keys(self, caller: ApiKey, sub_uid: str, *, limit: int, cursor: str) -> Page[ApiKey]:
        """List the keys of a sub-account."""
        return self._membership.sub_keys(caller, sub_uid, limit=limit, cursor=cursor)

    # Orders

    def place(self, uid: str, command: PlaceOrder) -> Order:
        """Place an order; what comes back has already traded, rested or ended."""
        return self._after(self._desk.place(self._floor.acting_account(uid), command))

    def amend(self, uid: str, command: AmendOrder) -> Order:
        """Amend a working order."""
        return self._after(self._desk.amend(self._floor.acting_account(uid), command))

    def cancel(self, uid: str, command: CancelOrder) -> Order:
        """Cancel a working order."""
        return self._after(self._desk.cancel(self._floor.acting_account(uid), command))

    def cancel_all(self, uid: str, command: CancelAll) -> list[Order]:
        """Cancel all working orders that a filter names."""
        cancelled = self._desk.cancel_all(self._floor.acting_account(uid), command)
        self._flush()
        return [snapshot(order) for order in cancelled]

    def working_orders(self, uid: str, query: OrderQuery) -> Page[Order]:
        """List working orders, or with open_only=1 the last 500 closed ones."""
        return _copies(queries.working_orders(self._floor.account(uid), query))

    def order_history(self, uid: str, query: OrderQuery) -> Page[Order]:
        """List orders that have ended."""
        return _copies(queries.order_history(self._floor.account(uid), query))

    def executions(self, uid: str, query: ExecutionQuery) -> Page[Execution]:
        """List executions."""
        return queries.executions(self._floor.account(uid), query)

    # Positions

    def positions(
        self, uid: str, *, category: Category, symbol: str = "", settle_coin: str = "", base_coin: str = ""
    ) -> list[Position]:
        """List positions; one that is asked for by its symbol is shown even when it is flat."""
        account = self._floor.account(uid)
        if category is not Category.LINEAR:
            raise parameter_error("category invalid")
        if not (symbol or settle_coin):
            raise MISSING_FILTER.error()
        if symbol:
            self._floor.instrument(category, symbol)
            for position_idx in (1, 2) if account.is_hedge_mode else (0,):
                self._settlement.position_of(account, symbol, position_idx)
        views = [position_view(self._floor, account, state) for state in account.positions.values()]
        return [
            view
            for view in views
            if (view.symbol == symbol and account.is_hedge_mode == (view.position_idx > 0))
            or (not symbol and view.size and view.settle_coin == settle_coin and base_coin in {"", view.base_coin})
        ]

    def set_leverage(
        self, uid: str, *, category: Category, symbol: str, buy_leverage: Decimal, sell_leverage: Decimal
    ) -> None:
        """Set the leverage of a linear symbol."""
        account = self._linear_account(uid, category)
        position_settings.set_leverage(self._floor, account, symbol, buy=buy_leverage, sell=sell_leverage)
        self._flush()

    def switch_mode(self, uid: str, *, category: Category, symbol: str, coin: str, mode: int) -> None:
        """Set one-way (0) or hedge (3) mode."""
        account = self._linear_account(uid, category)
        position_settings.switch_mode(self._floor, account, symbol=symbol, coin=coin, mode=mode)

    def set_margin_mode(self, uid: str, mode: MarginMode) -> None:
        """Set the margin mode of the account."""
        position_settings.set_margin_mode(self._floor, self._floor.acting_account(uid), mode)
        self._flush()

    def trading_stop(self, uid: str, command: TradingStop) -> None:
        """Set the stops of a position."""
        self._conditionals.set_trading_stop(self._floor.acting_account(uid), command)
        self._flush()

    def closed_pnl(self, uid: str, query: RecordQuery) -> Page[ClosedPnl]:
        """List the results of closing orders."""
        return queries.closed_results(self._floor.account(uid), query)

    # Money

    def wallet(self, uid: str) -> WalletView:
        """Describe the unified wallet."""
        return wallet_view(self._floor, self._floor.account(uid))

    def fee_rates(self, uid: str, category: Category, *, symbol: str = "", base_coin: str = "") -> list[FeeRate]:
        """List the fee rates of an account."""
        self._floor.account(uid)
        if symbol:
            self._floor.instrument(category, symbol)
        return [
            FeeRate(
                category=category,
                symbol=one.symbol,
                maker_fee_rate=one.maker_fee_rate,
                taker_fee_rate=one.taker_fee_rate,
            )
            for one in self.instruments.values()
            if one.category is category and symbol in {"", one.symbol} and base_coin in {"", one.base_coin}
        ]

    def transaction_log(self, uid: str, query: RecordQuery) -> Page[TransactionLog]:
        """List ledger entries of the unified wallet."""
        return queries.transaction_log(self._floor.account(uid), query)

    def inter_transfer(
        self,
        uid: str,
        *,
        transfer_id: str,
        coin: str,
        amount: Decimal,
        from_type: AccountType,
        to_type: AccountType,
    ) -> Transfer:
        """Move a coin between the wallets of one member."""
        account = self._floor.acting_account(uid)
        record = self.treasury.transfer(
            account, transfer_id=transfer_id, coin=coin, amount=amount, source=account, target=account,
            from_type=from_type, to_type=to_type, is_universal=False,
        )  # fmt: skip
        self._flush()
        return record

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
        """Move a coin between members of one family."""
        caller = self._floor.acting_account(uid)
        record = self.treasury.transfer(
            caller, transfer_id=transfer_id, coin=coin, amount=amount, source=self._floor.account(from_uid),
            target=self._floor.account(to_uid), from_type=from_type, to_type=to_type, is_universal=True,
        )  # fmt: skip
        self._flush()
        return record

    def inter_transfers(self, uid: str, query: RecordQuery) -> Page[Transfer]:
        """List transfers between the wallets of the member."""
        return queries.transfers(self._floor.account(uid), query, is_universal=False)

    def universal_transfers(self, uid: str, query: RecordQuery) -> Page[Transfer]:
        """List transfers between members that this one made, gave or received."""
        return queries.transfers(self._floor.account(uid), query, is_universal=True)

    def withdraw(self, uid: str, request: WithdrawRequest) -> Withdrawal:
        """Send money out; only a master may."""
        record = self.treasury.withdraw(self._floor.acting_account(uid), request)
        self._flush()
        return record

    def withdrawals(self, uid: str, query: RecordQuery) -> Page[Withdrawal]:
        """List withdrawals."""
        return queries.withdrawals(self._floor.account(uid), query)

    def deposits(self, uid: str, query: RecordQuery) -> Page[Deposit]:
        """List deposits."""
        return queries.deposits(self._floor.account(uid), query)

    def flow(self, uid: str, *, coin: str, amount: Decimal) -> None:
        """Book an external deposit (positive) or withdrawal (negative) of the unified wallet, with its record.

        This is the world outside acting, not the member: it also reaches a frozen account.
        """
        account = self._floor.account(uid)
        if coin not in CHAINS or not amount.is_finite() or not amount:
            raise parameter_error("coin or amount invalid")
        if amount > 0:
            self.treasury.deposit(account, coin, amount)
        else:
            self.treasury.external_withdrawal(account, coin, -amount)
        self._flush()

    # Strategies

    def create_algo(self, uid: str, request: AlgoRequest) -> Algo:
        """Start a server-side strategy."""
        account = self._floor.acting_account(uid)
        if not any(symbol == request.symbol for _, symbol in self.instruments):
            raise parameter_error("symbol invalid")
        desk = AlgoDesk(account.algos, now_ms=self._floor.now_ms)
        return desk.create(uid, request, strategy_id=self._floor.new_id(), seq=self._floor.next_sequence())

    def algos(self, uid: str, query: AlgoQuery) -> Page[Algo]:
        """List strategies."""
        return AlgoDesk(self._floor.account(uid).algos, now_ms=self._floor.now_ms).page(query)

    def stop_algo(self, uid: str, strategy_id: str) -> Algo:
        """Stop a strategy."""
        return AlgoDesk(self._floor.acting_account(uid).algos, now_ms=self._floor.now_ms).stop(strategy_id)

    # Time

    def tick(self) -> None:
        """Do one market step of 100 ms."""
        self._market.step(self._check_orders)
        self._settle_funding()
        self._check_orders()
        self._market.fold()
        self._flush()

    def set_price(self, symbol: str, price: Decimal) -> None:
        """Make the price path of a symbol jump; index, mark, books, stops and margins follow at once."""
        self._market.jump(symbol, price)
        self._check_orders()
        self._flush()

    def _check_orders(self) -> None:
        for key in self.instruments:
            self._conditionals.check(key)
        self._risk.check()

    def _settle_funding(self) -> None:
        now_ms = self._floor.now_ms()
        for symbol, due_ms in self._funding_due_ms.items():
            if now_ms >= due_ms:
                instrument = self.instruments[Category.LINEAR, symbol]
                self._risk.settle_funding(symbol, funding_rate(self._seed, instrument, due_ms))
                # A clock that leapt over several settlements makes up for one only.
                self._funding_due_ms[symbol] = next_funding_ms(instrument, now_ms)

    def _after(self, order: Order) -> Order:
        self._flush()
        return snapshot(order)

    def _flush(self) -> None:
        """Tell of books, positions and wallets that changed."""
        floor = self._floor
        now_ms = floor.now_ms()
        for (category, symbol), book in floor.books.items():
            bids, asks = book.drain_changes()
            if not bids and not asks:
                continue
            tick, step = book.instrument.tick_size, book.instrument.quantity_step
            floor.emit(
                BookChanged(
                    category=category,
                    symbol=symbol,
                    bids=tuple((tick * ticks, step * lots) for ticks, lots in bids),
                    asks=tuple((tick * ticks, step * lots) for ticks, lots in asks),
                    update_id=book.update_id,
                    seq=book.update_id,
                    at_ms=now_ms,
                )
            )
        positions, wallets = floor.drain_touched()
        for uid, symbol, position_idx in positions:
            account = floor.accounts[uid]
            view = position_view(floor, account, account.positions[symbol, position_idx])
            floor.emit(PositionChanged(uid=uid, position=view))
        for uid in wallets:
            floor.emit(WalletChanged(uid=uid))

    def _is_frozen(self, uid: str) -> bool:
        account = self.accounts.get(uid)
        return account is None or account.is_frozen

    def _linear_account(self, uid: str, category: Category) -> Account:
        if category is not Category.LINEAR:
            raise parameter_error("category invalid")
        return self._floor.acting_account(uid)


def _copies(page: Page[Order]) -> Page[Order]:
    return Page(items=tuple(map(snapshot, page.items)), next_cursor=page.next_cursor)

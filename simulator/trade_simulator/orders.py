"""Orders, executions and the commands that make them: the vocabulary of the trading desk.

Prices and values are in quote coin, quantities in base coin, times in UTC milliseconds. `None` means that
the client left the field out; a field that Bybit shows as "" or "0" is rendered so by whoever answers.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from trade_simulator.instruments import Category

ZERO = Decimal(0)


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "Buy"
    SELL = "Sell"

    @property
    def opposite(self) -> "Side":
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """Return +1 for a buy and -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """Limit or market."""

    LIMIT = "Limit"
    MARKET = "Market"


class TimeInForce(StrEnum):
    """How long an order works."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    POST_ONLY = "PostOnly"


class OrderStatus(StrEnum):
    """Where an order stands. Spot ends a partly filled order as PartiallyFilledCanceled."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    UNTRIGGERED = "Untriggered"
    REJECTED = "Rejected"
    PARTIALLY_FILLED_CANCELED = "PartiallyFilledCanceled"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    TRIGGERED = "Triggered"
    DEACTIVATED = "Deactivated"


OPEN_STATUSES = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.UNTRIGGERED})


class CancelType(StrEnum):
    """Why an order was cancelled."""

    UNKNOWN = "UNKNOWN"
    BY_USER = "CancelByUser"
    BY_REDUCE_ONLY = "CancelByReduceOnly"
    BY_PREPARE_LIQUIDATION = "CancelByPrepareLiq"
    ALL_BEFORE_LIQUIDATION = "CancelAllBeforeLiq"
    BY_ADMIN = "CancelByAdmin"
    BY_TPSL_TS_CLEAR = "CancelByTpSlTsClear"


class RejectReason(StrEnum):
    """Why an acknowledged order did not live."""

    NO_ERROR = "EC_NoError"
    POST_ONLY_WILL_TAKE_LIQUIDITY = "EC_PostOnlyWillTakeLiquidity"
    MARKET_ORDER_CANNOT_BE_POST_ONLY = "EC_MarketOrderCannotBePostOnly"
    NO_IMMEDIATE_QTY_TO_FILL = "EC_NoImmediateQtyToFill"
    NO_ENOUGH_QTY_TO_FILL = "EC_NoEnoughQtyToFill"
    CANCEL_FOR_NO_FULL_FILL = "EC_CancelForNoFullFill"
    PER_CANCEL_REQUEST = "EC_PerCancelRequest"
    BY_SELF_MATCH = "EC_BySelfMatch"
    REACH_RISK_PRICE_LIMIT = "EC_ReachRiskPriceLimit"
    INSUFFICIENT_BALANCE = "EC_NotEnoughBalance"


class StopOrderType(StrEnum):
    """What kind of conditional order this is."""

    NONE = ""
    STOP = "Stop"
    TAKE_PROFIT = "TakeProfit"
    STOP_LOSS = "StopLoss"
    PARTIAL_TAKE_PROFIT = "PartialTakeProfit"
    PARTIAL_STOP_LOSS = "PartialStopLoss"
    TRAILING_STOP = "TrailingStop"
    TPSL_ORDER = "tpslOrder"


class TriggerBy(StrEnum):
    """The price that triggers a conditional order."""

    NONE = ""
    LAST = "LastPrice"
    MARK = "MarkPrice"
    INDEX = "IndexPrice"


class OrderFilter(StrEnum):
    """The kinds of order of spot. This exchange takes none of the last two, but lists and cancels them."""

    ORDER = "Order"
    STOP_ORDER = "StopOrder"
    TPSL_ORDER = "tpslOrder"
    OCO_ORDER = "OcoOrder"
    BIDIRECTIONAL_TPSL_ORDER = "BidirectionalTpslOrder"


UNOFFERED_FILTERS = frozenset({OrderFilter.OCO_ORDER, OrderFilter.BIDIRECTIONAL_TPSL_ORDER})


class MarketUnit(StrEnum):
    """The coin in which a spot market order counts its quantity."""

    NONE = ""
    BASE = "baseCoin"
    QUOTE = "quoteCoin"


class CreateType(StrEnum):
    """Who made the order."""

    BY_USER = "CreateByUser"
    BY_CLOSING = "CreateByClosing"
    BY_LIQUIDATION = "CreateByLiq"
    BY_STOP_ORDER = "CreateByStopOrder"
    BY_TAKE_PROFIT = "CreateByTakeProfit"
    BY_STOP_LOSS = "CreateByStopLoss"
    BY_PARTIAL_TAKE_PROFIT = "CreateByPartialTakeProfit"
    BY_PARTIAL_STOP_LOSS = "CreateByPartialStopLoss"
    BY_TRAILING_STOP = "CreateByTrailingStop"


class TpslMode(StrEnum):
    """Whether take profit and stop loss cover the whole position or a part."""

    NONE = ""
    FULL = "Full"
    PARTIAL = "Partial"


class ExecType(StrEnum):
    """What an execution is."""

    TRADE = "Trade"
    FUNDING = "Funding"
    BUST_TRADE = "BustTrade"


@dataclass(slots=True, kw_only=True)
class Order:
    """An acknowledged order. The engine's own instances change; those handed out are copies."""

    uid: str
    category: Category
    symbol: str
    base_coin: str
    settle_coin: str
    order_id: str
    order_link_id: str
    side: Side
    order_type: OrderType
    qty: Decimal
    price: Decimal
    time_in_force: TimeInForce
    status: OrderStatus
    created_at_ms: int
    updated_at_ms: int
    seq: int
    leaves_qty: Decimal
    market_unit: MarketUnit = MarketUnit.NONE
    order_filter: OrderFilter = OrderFilter.ORDER
    is_leverage: bool = False
    position_idx: int = 0
    reduce_only: bool = False
    close_on_trigger: bool = False
    cancel_type: CancelType = CancelType.UNKNOWN
    reject_reason: RejectReason = RejectReason.NO_ERROR
    cum_exec_qty: Decimal = ZERO
    cum_exec_value: Decimal = ZERO
    cum_exec_fee: Decimal = ZERO
    cum_fee_detail: dict[str, Decimal] = field(default_factory=dict)
    fee_currency: str = ""
    closed_pnl: Decimal = ZERO
    stop_order_type: StopOrderType = StopOrderType.NONE
    trigger_price: Decimal | None = None
    trigger_direction: int = 0
    trigger_by: TriggerBy = TriggerBy.NONE
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: TriggerBy = TriggerBy.NONE
    sl_trigger_by: TriggerBy = TriggerBy.NONE
    tpsl_mode: TpslMode = TpslMode.NONE
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
    tp_order_type: OrderType = OrderType.MARKET
    sl_order_type: OrderType = OrderType.MARKET
    last_price_on_created: Decimal = ZERO
    create_type: CreateType = CreateType.BY_USER
    smp_type: str = "None"
    smp_group: int = 0
    smp_order_id: str = ""
    # What the order holds of the wallet: spot coins, or initial margin of linear.
    locked_coin: str = ""
    locked_amount: Decimal = ZERO

    @property
    def is_open(self) -> bool:
        """Tell whether the order can still trade or trigger."""
        return self.status in OPEN_STATUSES

    @property
    def avg_price(self) -> Decimal | None:
        """Return the average execution price; None before the first fill."""
        return self.cum_exec_value / self.cum_exec_qty if self.cum_exec_qty else None

    @property
    def leaves_value(self) -> Decimal:
        """Return the estimated value not yet executed: zero once the order has ended."""
        return self.leaves_qty * self.price if self.is_open else ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill, funding settlement or takeover by the liquidation engine."""

    uid: str
    category: Category
    symbol: str
    base_coin: str
    settle_coin: str
    exec_id: str
    order_id: str
    order_link_id: str
    side: Side
    order_type: OrderType
    stop_order_type: StopOrderType
    order_price: Decimal
    order_qty: Decimal
    leaves_qty: Decimal
    exec_type: ExecType
    exec_price: Decimal
    exec_qty: Decimal
    exec_value: Decimal
    exec_fee: Decimal
    fee_rate: Decimal
    fee_currency: str
    is_maker: bool
    mark_price: Decimal
    index_price: Decimal
    closed_size: Decimal
    exec_pnl: Decimal
    create_type: CreateType
    is_leverage: bool
    market_unit: MarketUnit
    executed_at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """A request to place an order. A quantity of zero with reduce_only and close_on_trigger closes all."""

    category: Category
    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    order_link_id: str = ""
    reduce_only: bool = False
    close_on_trigger: bool = False
    position_idx: int = 0
    is_leverage: bool = False
    market_unit: MarketUnit = MarketUnit.NONE
    order_filter: OrderFilter = OrderFilter.ORDER
    trigger_price: Decimal | None = None
    trigger_direction: int = 0
    trigger_by: TriggerBy = TriggerBy.NONE
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: TriggerBy = TriggerBy.NONE
    sl_trigger_by: TriggerBy = TriggerBy.NONE
    tpsl_mode: TpslMode = TpslMode.NONE
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
    tp_order_type: OrderType = OrderType.MARKET
    sl_order_type: OrderType = OrderType.MARKET
    smp_type: str = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendOrder:
    """A request to change a working order; order_id wins over order_link_id. None leaves a field alone."""

    category: Category
    symbol: str
    order_id: str = ""
    order_link_id: str = ""
    qty: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    trigger_by: TriggerBy | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: TriggerBy | None = None
    sl_trigger_by: TriggerBy | None = None
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """A request to cancel one order; order_id wins over order_link_id."""

    category: Category
    symbol: str
    order_id: str = ""
    order_link_id: str = ""
    order_filter: OrderFilter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAll:
    """A request to cancel by filter; linear needs a symbol, base coin or settle coin.

    With `is_partial` every second order is only said to be cancelled, which is a fault of the exchange.
    """

    category: Category
    symbol: str = ""
    base_coin: str = ""
    settle_coin: str = ""
    order_filter: OrderFilter | None = None
    stop_order_type: StopOrderType | None = None
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """Which orders to list. open_only 0 lists working orders, 1 the last 500 closed ones."""

    category: Category
    symbol: str = ""
    base_coin: str = ""
    settle_coin: str = ""
    order_id: str = ""
    order_link_id: str = ""
    order_filter: OrderFilter | None = None
    order_status: OrderStatus | None = None
    open_only: int = 0
    start_ms: int | None = None
    end_ms: int | None = None
    limit: int = 20
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery:
    """Which executions to list."""

    category: Category
    symbol: str = ""
    base_coin: str = ""
    settle_coin: str = ""
    order_id: str = ""
    order_link_id: str = ""
    exec_type: ExecType | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    limit: int = 50
    cursor: str = ""

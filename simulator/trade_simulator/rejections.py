"""What the exchange refuses, with Bybit's own numbers and words.

The catalogue is closed: every refusal of the engine is one of these functions or constants. Numbers and
messages follow the error page of the Bybit V5 documentation; where the documentation leaves the choice of
a number open (a frozen sub-account, an algorithm's state) the comment says so.
"""

from dataclasses import dataclass

from trade_simulator.instruments import Category


class Rejected(Exception):
    """The exchange refuses a request; nothing has changed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Reason:
    """One refusal: its number and its words."""

    code: int
    message: str

    def error(self) -> Rejected:
        """Return the exception to raise."""
        return Rejected(self.code, self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedReason:
    """A refusal that has one number on derivatives and another on spot."""

    linear: Reason
    spot: Reason

    def error(self, category: Category) -> Rejected:
        """Return the exception of that category."""
        return (self.spot if category is Category.SPOT else self.linear).error()


def parameter_error(detail: str) -> Rejected:
    """Return 10001, the answer to a request that is malformed or contradicts itself."""
    return Rejected(10001, f"params error: {detail}")


MISSING_FILTER = Reason(10001, "Missing some parameters that must be filled in, symbol or settleCoin or baseCoin")
INVALID_KEY = Reason(10003, "API key is invalid.")
PERMISSION_DENIED = Reason(10005, "Permission denied, please check your API key permissions.")
UNMATCHED_ADDRESS = Reason(10010, "Unmatched IP, please check your API key's bound IP addresses.")
KEY_EXPIRED = Reason(33004, "Your api key has expired.")
# The documentation does not say what a frozen sub-account is told; "Transactions are banned" is its nearest entry.
ACCOUNT_FROZEN = Reason(10027, "Transactions are banned.")

ORDER_NOT_FOUND = PairedReason(
    linear=Reason(110001, "order not exists or too late to cancel"),
    spot=Reason(170213, "Order does not exist."),
)
LINK_ID_DUPLICATE = PairedReason(
    linear=Reason(110072, "OrderLinkedID is duplicate"),
    spot=Reason(170141, "Duplicate clientOrderId"),
)
BALANCE_INSUFFICIENT = PairedReason(
    linear=Reason(110007, "ab not enough for new order"),
    spot=Reason(170131, "Insufficient balance."),
)
NOTIONAL_TOO_SMALL = PairedReason(
    linear=Reason(110094, "Order does not meet minimum order value 5USDT"),
    spot=Reason(170140, "Order value exceeded lower limit."),
)
SYMBOL_INVALID = PairedReason(
    linear=Reason(10001, "params error: symbol invalid"),
    spot=Reason(170121, "Invalid symbol."),
)
PRICE_TICK = PairedReason(
    linear=Reason(10001, "params error: price is not a multiple of tickSize"),
    spot=Reason(170134, "Order price has too many decimals."),
)
QUANTITY_STEP = PairedReason(
    linear=Reason(10001, "params error: qty is not a multiple of qtyStep"),
    spot=Reason(170137, "Order quantity has too many decimals."),
)
QUANTITY_TOO_SMALL = PairedReason(
    linear=Reason(10001, "The number of contracts exceeds minimum limit allowed"),
    spot=Reason(170136, "Order quantity exceeded lower limit."),
)
QUANTITY_TOO_LARGE = PairedReason(
    linear=Reason(10001, "The number of contracts exceeds maximum limit allowed: too large"),
    spot=Reason(170135, "Order quantity exceeded upper limit."),
)
PRICE_TOO_HIGH = PairedReason(
    linear=Reason(110003, "Order price exceeds the allowable range."),
    spot=Reason(170193, "Buy order price cannot be higher than the price limit."),
)
PRICE_TOO_LOW = PairedReason(
    linear=Reason(110003, "Order price exceeds the allowable range."),
    spot=Reason(170194, "Sell order price cannot be lower than the price limit."),
)
TOO_MANY_ORDERS = PairedReason(
    linear=Reason(110020, "You can only have less than 500 active orders."),
    spot=Reason(170810, "Cannot exceed maximum of 500 conditional, TP/SL and active orders."),
)
QUANTITY_BELOW_FILLED = PairedReason(
    linear=Reason(110064, "The number of contracts modified cannot be less than or equal to the filled quantity"),
    spot=Reason(170210, "New order rejected."),
)

REDUCE_ONLY_NO_POSITION = Reason(110017, "current position is zero, cannot fix reduce-only order qty")
REDUCE_ONLY_SAME_SIDE = Reason(110017, "Reduce-only rule not satisfied")
TOO_MANY_STOP_ORDERS = Reason(110009, "The number of stop orders exceeds the maximum allowable limit")
TRIGGER_NOT_RISING = Reason(110092, "expect Rising, but trigger_price <= current")
TRIGGER_NOT_FALLING = Reason(110093, "expect Falling, but trigger_price >= current")
LEVERAGE_TOO_HIGH = Reason(110013, "Cannot set leverage due to risk limit level")
LEVERAGE_UNCHANGED = Reason(110043, "leverage not modified")
POSITION_EXISTS = Reason(110024, "You have an existing position, so the position mode cannot be switched")
ORDERS_EXIST = Reason(110028, "You have existing open orders, so the position mode cannot be switched")
POSITION_LIMIT = Reason(110090, "Order placement failed as your position may exceed the max limit.")
MARGIN_INSUFFICIENT = Reason(110044, "Available margin is insufficient")
NO_POSITION_FOR_STOP = Reason(10001, "can not set tp/sl/ts for zero position")
TRADING_STOP_UNCHANGED = Reason(34040, "not modified")
MARGIN_MODE_FAILED = Reason(3400045, "Set margin mode failed")

TRANSFER_MEMBER_INVALID = Reason(131202, "Invalid memberId")
TRANSFER_PARAMETER = Reason(131203, "Request parameter error")
TRANSFER_FORBIDDEN = Reason(131208, "Forbid transfer")
TRANSFER_AMOUNT_ACCURACY = Reason(131210, "Amount accuracy error")
TRANSFER_SAME_ACCOUNT = Reason(131211, "fromAccountType can't be the same as toAccountType")
TRANSFER_BALANCE = Reason(131212, "Insufficient balance")
TRANSFER_DUPLICATE = Reason(131214, "TransferId exist")
TRANSFER_AMOUNT = Reason(131215, "Amount error")

WITHDRAW_PARAMETER = Reason(131002, "Parameter error")
WITHDRAW_BALANCE = Reason(131001, "the available balance is not sufficient to cover the handling fee")
WITHDRAW_LIMIT = Reason(131096, "Withdraw amount does not satisfy the lower limit or upper limit")
WITHDRAW_FORBIDDEN = Reason(131090, "User withdraw has been banned")

SUB_ACCOUNT_UNKNOWN = Reason(10001, "params error: The subAccount does not exist")
SUB_KEY_LIMIT = Reason(10001, "params error: the number of API keys exceeds the limit")

# The strategy pages list no numbers; 10001 is the general one of V5.
STRATEGY_UNKNOWN = Reason(10001, "params error: strategy does not exist")
STRATEGY_ENDED = Reason(10001, "params error: strategy has already ended")
TOO_MANY_STRATEGIES = Reason(10001, "params error: too many running strategies")

PRICE_ABOVE_MAXIMUM = PairedReason(
    linear=Reason(110003, "Order price exceeds the allowable range."),
    spot=Reason(170132, "Order price too high."),
)
PRICE_BELOW_MINIMUM = PairedReason(
    linear=Reason(110003, "Order price exceeds the allowable range."),
    spot=Reason(170133, "Order price lower than the minimum."),
)
MARKET_AMOUNT_PRECISION = Reason(170148, "Market order amount decimal too long.")
SPOT_MARGIN_OFF = Reason(170036, "You haven't enabled Cross Margin Trading yet.")
SPOT_STOPS_UNSUPPORTED = Reason(170227, "This feature is not supported.")
ORDER_NOT_MODIFIED = Reason(
    10001, "params error: The order remains unchanged as the parameters entered match the existing ones."
)

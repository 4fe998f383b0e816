"""The closed list of reasons for which the gateway denies.

Every denial carries exactly one of these codes, in the journal, in the metrics and at the start of `retMsg`. The
exchange's `retCode` beside it is chosen for what a real client does with it, not for what the exchange would answer:
freqtrade fires an emergency exit when a stop order is answered with a code of ccxt's InvalidOrder or BadRequest class
(10001, 10017, 1100xx, 170xxx), and sleeps 30 s when a cancel is answered with a temporary one. So a denied order is
10024, 110090 or 110066, and a cancel that names nothing of ours is "order not found". The one stop that is answered
with the exchange's own code is one whose price the market has passed already: no stop can be placed there, freqtrade
would never exit by itself, and its emergency exit, which the printed configuration makes PostOnly, is the right answer.

docs/deny-codes.md lists the same codes for people; a test compares the two.
"""

from __future__ import annotations

from enum import Enum

RET_TIMESTAMP = 10002
RET_KEY_INVALID = 10003
RET_SIGNATURE_INVALID = 10004
RET_TOO_MANY_VISITS = 10006
RET_SERVER_ERROR = 10016
RET_COMPLIANCE = 10024
RET_ORDER_NOT_FOUND_LINEAR = 110001
RET_LEVERAGE_INVALID = 110013
RET_LEVERAGE_NOT_MODIFIED = 110043
RET_NO_TRADING_NOW = 110066
RET_RISK_LIMIT = 110090
RET_STOP_BEHIND_PRICE = 110093
RET_ORDER_NOT_FOUND_SPOT = 170213


class DenyCode(Enum):
    """CATEGORY_CONDITION = (ret code, what it means, what to do)."""

    ret_code: int
    meaning: str
    remedy: str

    def __new__(cls, ret_code: int, meaning: str, remedy: str) -> DenyCode:
        """Make a member whose value is its own number, so that two codes with one ret code stay apart."""
        member = object.__new__(cls)
        member._value_ = len(cls.__members__) + 1
        member.ret_code = ret_code
        member.meaning = meaning
        member.remedy = remedy
        return member

    PATH_UNKNOWN = (
        RET_COMPLIANCE,
        "The raw path, compared byte by byte, is not on the allow-list.",
        "Use only the endpoints that the gateway serves; write the path exactly as the exchange documents it.",
    )
    PATH_METHOD_NOT_ALLOWED = (
        RET_COMPLIANCE,
        "The path is on the allow-list, but not for this method.",
        "Use the method that the exchange documents for the endpoint.",
    )
    PATH_FORBIDDEN = (
        RET_COMPLIANCE,
        "An authenticated write to a path that moves money out, changes authority or starts an algorithm; it halts.",
        "Treat the bot's host as compromised: stop it, change its virtual key, read the journal, then release.",
    )
    REQUEST_HOST = (
        RET_COMPLIANCE,
        "The Host header names another host than the one that the gateway listens on.",
        "Call the gateway by the address it listens on or as localhost; look for a proxy or a browser in between.",
    )
    REQUEST_HEADER_DUPLICATE = (
        RET_COMPLIANCE,
        "A header that decides framing or authentication was sent more than once.",
        "Send each of these headers once; look for a proxy in between that adds its own.",
    )
    REQUEST_HEADER_FORBIDDEN = (
        RET_COMPLIANCE,
        "A header that overrides the method, upgrades the protocol or frames the body in chunks.",
        "Send a plain request with a Content-Length.",
    )
    REQUEST_CONTENT_TYPE = (
        RET_COMPLIANCE,
        "The body of a POST is not declared as application/json.",
        "Send Content-Type: application/json, with charset=utf-8 or without.",
    )
    REQUEST_CONTENT_ENCODING = (
        RET_COMPLIANCE,
        "The body is compressed or otherwise encoded.",
        "Send the body as it is, without Content-Encoding.",
    )
    REQUEST_BODY_TOO_LARGE = (
        RET_COMPLIANCE,
        "The body is larger than 4096 bytes.",
        "Send one order a request, with the documented fields only.",
    )
    REQUEST_BODY_UNEXPECTED = (
        RET_COMPLIANCE,
        "A GET carries a body.",
        "Put the parameters of a read into the query.",
    )
    REQUEST_QUERY_UNEXPECTED = (
        RET_COMPLIANCE,
        "A POST carries a query.",
        "Put the fields of a write into the JSON body.",
    )
    AUTH_HEADER_MISSING = (
        RET_KEY_INVALID,
        "The key, timestamp or signature header is missing.",
        "Sign the request with the virtual key that `trade-gateway init` issued.",
    )
    AUTH_HEADER_INVALID = (
        RET_SIGNATURE_INVALID,
        "An authentication header is not of its grammar: digits for times, 64 lower-case hex digits for a signature.",
        "Sign as Bybit V5 documents for HMAC keys.",
    )
    AUTH_KEY_UNKNOWN = (
        RET_KEY_INVALID,
        "The key is not a virtual key of this gateway.",
        "Use the virtual key of this deployment; never put an exchange key into the bot.",
    )
    AUTH_SIGNATURE_WRONG = (
        RET_SIGNATURE_INVALID,
        "The signature does not match the raw bytes of the request.",
        "Check the virtual secret, and that nothing rewrites the query or body on the way.",
    )
    AUTH_TIMESTAMP_OUTSIDE_WINDOW = (
        RET_TIMESTAMP,
        "The request was signed too long ago, or more than a second ahead of the gateway's clock.",
        "Synchronise the clocks of both machines.",
    )
    AUTH_SIGNATURE_SPENT = (
        RET_COMPLIANCE,
        "A POST with this signature was accepted before; a signature is good for one write.",
        "Sign again. If the client did not send it twice, somebody replays its traffic.",
    )
    AUTH_SIGNATURE_MEMORY_FULL = (
        RET_TOO_MANY_VISITS,
        "More writes arrived than the gateway can remember until their signatures expire.",
        "Slow the client down; the memory empties by itself within 11 s.",
    )
    BODY_NOT_FLAT_JSON = (
        RET_COMPLIANCE,
        "The body is not one flat JSON object of plain ASCII strings, numbers and booleans.",
        "Send one object without nesting, null, escapes, characters beyond ASCII, NaN or Infinity.",
    )
    BODY_KEY_DUPLICATE = (
        RET_COMPLIANCE,
        "A key stands in the body twice; two readers could see two different orders.",
        "Send every key once.",
    )
    BODY_KEY_UNKNOWN = (
        RET_COMPLIANCE,
        "The body has a key that is not on the endpoint's list.",
        "Remove the field.",
    )
    BODY_KEY_MISSING = (
        RET_COMPLIANCE,
        "The body lacks a required key.",
        "Send the field.",
    )
    BODY_VALUE_INVALID = (
        RET_COMPLIANCE,
        "A value has the wrong type, or is not one of the values permitted for its key.",
        "Send numbers as strings, booleans as true or false, and names exactly as documented.",
    )
    QUERY_MALFORMED = (
        RET_COMPLIANCE,
        "The query is too long, or not a list of key=value pairs.",
        "Send key=value pairs joined by single ampersands.",
    )
    QUERY_KEY_UNKNOWN = (
        RET_COMPLIANCE,
        "The query has a key that is not on the endpoint's list.",
        "Remove the parameter.",
    )
    QUERY_KEY_DUPLICATE = (
        RET_COMPLIANCE,
        "A key stands in the query twice.",
        "Send every parameter once.",
    )
    QUERY_KEY_MISSING = (
        RET_COMPLIANCE,
        "The query lacks a required key.",
        "Send the parameter.",
    )
    QUERY_VALUE_INVALID = (
        RET_COMPLIANCE,
        "A value of the query is not of its key's grammar.",
        "Send the plain value, without percent-encoding (a cursor excepted).",
    )
    ORDER_NOT_MAKER = (
        RET_COMPLIANCE,
        "The order is not Limit with timeInForce PostOnly, so it could take liquidity.",
        "Use limit orders with time in force PO for entries, exits and emergency exits.",
    )
    ORDER_FIELD_FORBIDDEN = (
        RET_COMPLIANCE,
        "The order has a field that is a way out of maker-only, size or price control.",
        "Remove the field; trigger, take-profit, borrow and exchange-priced orders do not pass.",
    )
    ORDER_STOP_NOT_PERMITTED = (
        RET_COMPLIANCE,
        "A protective stop, which takes liquidity once triggered, is not permitted by the policy.",
        "Set stoploss_on_exchange to false in the bot, as the printed configuration does.",
    )
    ORDER_NUMBER_INVALID = (
        RET_COMPLIANCE,
        "Quantity or price is not a plain decimal number above zero.",
        "Send at most 12 digits before and 12 after the point, as a string, without sign, exponent or space.",
    )
    ORDER_PRICE_OFF_TICK = (
        RET_COMPLIANCE,
        "The price is not a whole number of the instrument's ticks.",
        "Round the price to the tick size.",
    )
    ORDER_QUANTITY_OFF_STEP = (
        RET_COMPLIANCE,
        "The quantity is not a whole number of the instrument's steps.",
        "Round the quantity down to the step.",
    )
    ORDER_QUANTITY_BELOW_MINIMUM = (
        RET_RISK_LIMIT,
        "The quantity of an order that adds risk is below the instrument's minimum.",
        "Raise the stake.",
    )
    ORDER_QUANTITY_ABOVE_MAXIMUM = (
        RET_RISK_LIMIT,
        "The quantity is above the instrument's maximum.",
        "Lower the stake, or exit in parts.",
    )
    ORDER_NOTIONAL_BELOW_MINIMUM = (
        RET_RISK_LIMIT,
        "The notional of an order that adds risk is below the greater minimum of policy and instrument.",
        "Raise the stake.",
    )
    ORDER_NOTIONAL_ABOVE_MAXIMUM = (
        RET_RISK_LIMIT,
        "The notional of an order that adds risk is above the policy's maximum, scaled down while TRIMMED.",
        "Lower the stake; the printed configuration keeps it at half the maximum.",
    )
    ORDER_SELL_EXCEEDS_HOLDINGS = (
        RET_RISK_LIMIT,
        "A spot sell is larger than the coin held less what working sells already claim.",
        "Sell at most what is held; retry once the account view has seen the last fill.",
    )
    ORDER_REDUCES_NOTHING = (
        RET_RISK_LIMIT,
        "A reduce-only order meets no position on the other side.",
        "Read the positions again; the position may be closed already.",
    )
    ORDER_REDUCES_TOO_MUCH = (
        RET_RISK_LIMIT,
        "A reduce-only order is larger than the position.",
        "Lower the quantity to the position's size.",
    )
    ORDER_DUPLICATE = (
        RET_COMPLIANCE,
        "An order of the same symbol, side, quantity and price works already, is unresolved or was just acknowledged; "
        "one that reduces risk is held to the unresolved alone.",
        "Do not send an order again because its answer was late; read the open orders.",
    )
    ORDER_STOP_DIRECTION = (
        RET_COMPLIANCE,
        "A stop's trigger direction does not fit its side: a sell triggers on a fall (2), a buy on a rise (1).",
        "Send triggerDirection 2 with a sell and 1 with a buy.",
    )
    ORDER_STOP_TRIGGERS_AT_ONCE = (
        RET_STOP_BEHIND_PRICE,
        "A stop's trigger price lies on the wrong side of the market, so that it would take at once.",
        "Put a sell stop below the mark and index price, a buy stop above; exit with a PostOnly order instead.",
    )
    PRICE_OUTSIDE_COLLAR = (
        RET_COMPLIANCE,
        "The price gives away more against the reference (of a stop: its limit against its trigger) than permitted.",
        "Price the order nearer to the index price; look at the detail for the bound.",
    )
    PRICE_FAT_FINGER = (
        RET_COMPLIANCE,
        "The price is implausibly far on the good side of the reference.",
        "Check the decimal point; leave far limits to a later order.",
    )
    REFERENCE_MISSING = (
        RET_NO_TRADING_NOW,
        "There is no price reference for the coin: exposure cannot be valued, and nothing bounds what an order loses.",
        "Wait for the first prices; a coin without an index needs a second venue in the watchdog.",
    )
    REFERENCE_STALE = (
        RET_NO_TRADING_NOW,
        "A price that the reference needs is older than the policy permits.",
        "Wait; look at /state for the age of the feed if it lasts. Exits go on against the last good reference.",
    )
    REFERENCE_DIVERGES = (
        RET_NO_TRADING_NOW,
        "Index price, mark price and second venue are further apart than the policy permits.",
        "Wait until they agree; one of them is wrong or the market is disorderly.",
    )
    ORDER_LINK_ID_USED = (
        RET_COMPLIANCE,
        "The bot has used this order link id before; it could then name two orders.",
        "Send another orderLinkId, or none.",
    )
    ORDER_UNKNOWN = (
        RET_ORDER_NOT_FOUND_LINEAR,
        "The cancel names no working order that came through this gateway.",
        "Read the order's state; it is filled, cancelled, or not the bot's.",
    )
    LIMIT_OPEN_ORDERS = (
        RET_RISK_LIMIT,
        "As many orders work as the policy permits.",
        "Cancel an order, or wait for one to end.",
    )
    LIMIT_ORDER_QUANTITY = (
        RET_RISK_LIMIT,
        "The quantity of an order that adds risk is above the policy's maximum for the symbol, scaled while TRIMMED.",
        "Lower the stake.",
    )
    LIMIT_SYMBOL_EXPOSURE = (
        RET_RISK_LIMIT,
        "With this order, position (or holdings) and working orders of the symbol could exceed its limit.",
        "Cancel working orders or reduce the position first; both count in full until their end is known.",
    )
    LIMIT_GROSS_EXPOSURE = (
        RET_RISK_LIMIT,
        "With this order, the worst case exposure of all symbols could exceed the gross limit.",
        "Reduce something first; symbols are not netted.",
    )
    LIMIT_TURNOVER = (
        RET_RISK_LIMIT,
        "With this order, the adding fills of the last 24 hours and working orders could exceed the turnover budget.",
        "Wait until older fills are a day old, or cancel working orders, which gives their rest back.",
    )
    LIMIT_STOPS = (
        RET_RISK_LIMIT,
        "As many protective stops work as the policy permits open orders.",
        "Cancel a stop that is no longer needed.",
    )
    LIMIT_MESSAGES = (
        RET_TOO_MANY_VISITS,
        "The bot sends more orders a second than the policy permits.",
        "Slow the bot down; cancels are not counted.",
    )
    LIMIT_MESSAGES_TERMINATED = (
        RET_COMPLIANCE,
        "The bot sent so many orders in a second that no more risk may be added until a person releases it.",
        "Find out why the bot runs wild, then release; exits and cancels pass meanwhile.",
    )
    LIMIT_REPEATED_EXECUTION = (
        RET_COMPLIANCE,
        "So many orders of one side filled on the symbol in so short a time that a person must look first.",
        "Check the strategy for a loop, then re-arm the symbol; exits pass meanwhile.",
    )
    LIMIT_REQUEST_RATE = (
        RET_TOO_MANY_VISITS,
        "The client sends faster than the gateway lets it.",
        "Slow the client down.",
    )
    SYMBOL_NOT_PERMITTED = (
        RET_COMPLIANCE,
        "The symbol is not in the policy for this category.",
        "Trade the policy's symbols only, or have a person change the policy.",
    )
    SYMBOL_INSTRUMENT_UNKNOWN = (
        RET_NO_TRADING_NOW,
        "The gateway has no instrument facts for the symbol, so tick, step and holdings cannot be checked; "
        "or the exchange trades it no more, and the order adds risk.",
        "Look at `own_faults` in `/state`: a symbol that is named there is not traded; "
        "else wait until the gateway has read the instruments.",
    )
    SYMBOL_OUTCOME_UNRESOLVED = (
        RET_RISK_LIMIT,
        "The outcome of an earlier order on the symbol is not known yet.",
        "Wait; the gateway asks the exchange for the order until its end is known.",
    )
    SYMBOL_LEVERAGE_UNPINNED = (
        RET_COMPLIANCE,
        "The bot asked for another leverage on the symbol than the policy pins.",
        "Set the bot's leverage to the policy's.",
    )
    PIN_LEVERAGE_DIFFERS = (
        RET_LEVERAGE_INVALID,
        "The leverage asked for is not the one that the policy pins.",
        "Set the bot's leverage to the policy's; entries on the symbol are denied until then.",
    )
    PIN_POSITION_MODE_DIFFERS = (
        RET_COMPLIANCE,
        "The position mode asked for is not one-way (0).",
        "Leave the position mode alone.",
    )
    PIN_MARGIN_MODE_DIFFERS = (
        RET_COMPLIANCE,
        "The margin mode asked for is not ISOLATED_MARGIN.",
        "Set margin_mode to isolated in the bot.",
    )
    STATE_REDUCE_ONLY = (
        RET_NO_TRADING_NOW,
        "The gateway is REDUCE_ONLY: no fresh lease, or a fault of its own; orders that add risk wait.",
        "Look at /state for the holder and its reason; it clears by itself.",
    )
    STATE_HALTED = (
        RET_NO_TRADING_NOW,
        "The gateway is HALTED: orders that add risk are denied until a person releases it.",
        "Find out why it halted, then release.",
    )
    STATE_KILLED = (
        RET_NO_TRADING_NOW,
        "The account was killed: only cancels pass.",
        "Follow the runbook: Trading again after a kill.",
    )
    ACCOUNT_VIEW_UNTRUSTED = (
        RET_NO_TRADING_NOW,
        "The gateway's view of orders and holdings is not trusted at the moment, so no risk may be added.",
        "Wait for the next reconciliation; look at /state if it lasts.",
    )
    JOURNAL_NOT_WRITABLE = (
        RET_SERVER_ERROR,
        "The intent could not be made durable, and without a row there is no order.",
        "Look at the journal writer's log and its disk.",
    )
    EQUITY_UNKNOWN = (
        RET_NO_TRADING_NOW,
        "The account's equity is not known or not above zero, so the limits that are multiples of it have no value.",
        "Wait for the next reading of the wallet; look at /state if it lasts.",
    )
    EXCHANGE_UNREACHABLE = (
        RET_SERVER_ERROR,
        "The exchange could not be reached; nothing was sent that could have an effect.",
        "Wait; the gateway recovers by itself.",
    )
    EXCHANGE_OUTCOME_UNKNOWN = (
        RET_SERVER_ERROR,
        "The request was sent, but its outcome is not known yet.",
        "Do not send it again; the gateway resolves it and blocks the symbol meanwhile.",
    )
    GATEWAY_FAULT = (
        RET_SERVER_ERROR,
        "The gateway met a fault of its own and refused.",
        "Look at the gateway's log and journal.",
    )

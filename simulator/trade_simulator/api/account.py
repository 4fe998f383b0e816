"""The account: wallet, settings, fee rates and the ledger."""

from __future__ import annotations

from trade_simulator.api.call import Call, listing, time_span
from trade_simulator.api.permissions import require_writable
from trade_simulator.api.shapes import Shape, number
from trade_simulator.instruments import Category
from trade_simulator.records import (
    CoinView,
    FeeRate,
    MarginMode,
    RecordQuery,
    TransactionLog,
    TransactionType,
    WalletView,
)
from trade_simulator.rejections import SYMBOL_INVALID, parameter_error

# 5: unified trading account 2.0, the only kind of account here.
UNIFIED_STATUS = 5
MAX_LEDGER = 50
MAX_COINS = 10


def _coin_shape(coin: CoinView) -> Shape:
    return {
        "coin": coin.coin,
        "equity": number(coin.equity),
        "usdValue": number(coin.usd_value),
        "walletBalance": number(coin.wallet_balance),
        "locked": number(coin.locked),
        "spotHedgingQty": "0",
        "borrowAmount": "0",
        "spotBorrow": "0",
        "accruedInterest": "0",
        "availableToWithdraw": number(coin.available_to_withdraw),
        "availableToBorrow": "",
        "totalOrderIM": number(coin.total_order_im),
        "totalPositionIM": number(coin.total_position_im),
        "totalPositionMM": number(coin.total_position_mm),
        "unrealisedPnl": number(coin.unrealised_pnl),
        "cumRealisedPnl": number(coin.cum_realised_pnl),
        "bonus": "0",
        "collateralSwitch": coin.is_collateral,
        "marginCollateral": coin.is_collateral,
    }


def wallet_shape(wallet: WalletView, coins: tuple[str, ...] = ()) -> Shape:
    """Render a unified wallet, only the named coins if any are."""
    shown = [coin for coin in wallet.coins if not coins or coin.coin in coins]
    return {
        "accountType": "UNIFIED",
        "accountLTV": "0",
        "accountIMRate": number(wallet.account_im_rate),
        "accountIMRateByMp": number(wallet.account_im_rate),
        "accountMMRate": number(wallet.account_mm_rate),
        "accountMMRateByMp": number(wallet.account_mm_rate),
        "totalEquity": number(wallet.total_equity),
        "totalWalletBalance": number(wallet.total_wallet_balance),
        "totalMarginBalance": number(wallet.total_margin_balance),
        "totalAvailableBalance": number(wallet.total_available_balance),
        "totalPerpUPL": number(wallet.total_perp_upl),
        "totalInitialMargin": number(wallet.total_initial_margin),
        "totalInitialMarginByMp": number(wallet.total_initial_margin),
        "totalMaintenanceMargin": number(wallet.total_maintenance_margin),
        "totalMaintenanceMarginByMp": number(wallet.total_maintenance_margin),
        "coin": [_coin_shape(coin) for coin in shown],
    }


def wallet_balance(call: Call) -> object:
    """Show the unified wallet."""
    if call.fields.required("accountType") != "UNIFIED":
        raise parameter_error("accountType only support UNIFIED.")
    named = call.fields.text("coin")
    coins = tuple(coin.strip().upper() for coin in named.split(",")) if named else ()
    if len(coins) > MAX_COINS:
        raise parameter_error("coin invalid")
    return {"list": [wallet_shape(call.exchange.wallet(call.uid), coins)]}


def info(call: Call) -> object:
    """Show the settings of the account."""
    account = call.exchange.accounts[call.uid]
    return {
        "marginMode": str(account.margin_mode),
        "updatedTime": str(account.created_at_ms),
        "unifiedMarginStatus": UNIFIED_STATUS,
        "dcpStatus": "OFF",
        "timeWindow": 0,
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
    }


def fee_rate(call: Call) -> object:
    """List the account's fee rates."""
    category = call.fields.category()
    symbol = call.fields.text("symbol")
    rates = call.exchange.fee_rates(call.uid, category, symbol=symbol, base_coin=call.fields.text("baseCoin"))
    if symbol and not rates:
        raise SYMBOL_INVALID.error(category)
    return {"list": [_fee_shape(rate) for rate in rates]}


def _fee_shape(rate: FeeRate) -> Shape:
    return {
        "symbol": rate.symbol,
        "baseCoin": "",
        "takerFeeRate": number(rate.taker_fee_rate),
        "makerFeeRate": number(rate.maker_fee_rate),
    }


def transaction_log(call: Call) -> object:
    """List the changes of the unified wallet."""
    fields = call.fields
    if fields.text("accountType", default="UNIFIED") != "UNIFIED":
        raise parameter_error("accountType only support UNIFIED.")
    start_ms, end_ms = time_span(fields)
    query = RecordQuery(
        category=fields.optional_choice("category", Category),
        coin=fields.text("currency"),
        base_coin=fields.text("baseCoin"),
        kind=fields.optional_choice("type", TransactionType),
        start_ms=start_ms,
        end_ms=end_ms,
        limit=fields.limit(default=20, most=MAX_LEDGER),
        cursor=fields.text("cursor"),
    )
    return listing(call.exchange.transaction_log(call.uid, query), _ledger_shape)


def _ledger_shape(row: TransactionLog) -> Shape:
    return {
        "id": row.entry_id,
        "symbol": row.symbol,
        "category": str(row.category) if row.category else "",
        "side": str(row.side) if row.side else "None",
        "transactionTime": str(row.at_ms),
        "type": str(row.kind),
        "transSubType": "",
        "qty": number(row.qty),
        "size": number(row.size),
        "currency": row.currency,
        "tradePrice": number(row.trade_price),
        "funding": number(row.funding) if row.kind is TransactionType.SETTLEMENT else "",
        "fee": number(row.fee),
        "cashFlow": number(row.cash_flow),
        "change": number(row.change),
        "cashBalance": number(row.cash_balance),
        "feeRate": number(row.fee_rate),
        "bonusChange": "",
        "tradeId": row.trade_id,
        "orderId": row.order_id,
        "orderLinkId": row.order_link_id,
        "extraFees": "",
    }


def set_margin_mode(call: Call) -> object:
    """Switch the account between isolated and cross margin."""
    require_writable(call.caller)
    call.exchange.set_margin_mode(call.uid, call.fields.required_choice("setMarginMode", MarginMode))
    return {"reasons": []}

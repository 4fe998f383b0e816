"""Every path that the exchange answers; anything else is 404."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trade_simulator.api import account, asset, market, orders, positions, strategy, user
from trade_simulator.api.call import Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One path: its method, what answers it, whether it is public, and the words of success.

    A listing has nothing in the categories that this exchange knows of but lists nothing in (inverse, option);
    clients ask for them all, and an exchange without such instruments answers with an empty list.
    """

    method: str
    handler: Handler
    is_public: bool = False
    ret_msg: str = "OK"
    is_listing: bool = False


def _public(handler: Handler, *, is_listing: bool = False) -> Endpoint:
    return Endpoint(method="GET", handler=handler, is_public=True, is_listing=is_listing)


def _get(handler: Handler, *, ret_msg: str = "OK", is_listing: bool = False) -> Endpoint:
    return Endpoint(method="GET", handler=handler, ret_msg=ret_msg, is_listing=is_listing)


def _post(handler: Handler, *, ret_msg: str = "OK") -> Endpoint:
    return Endpoint(method="POST", handler=handler, ret_msg=ret_msg)


ROUTES: Mapping[str, Endpoint] = {
    "/v5/market/time": _public(market.time),
    "/v5/market/instruments-info": _public(market.instruments_info, is_listing=True),
    "/v5/market/kline": _public(market.kline),
    "/v5/market/mark-price-kline": _public(market.mark_price_kline),
    "/v5/market/index-price-kline": _public(market.index_price_kline),
    "/v5/market/orderbook": _public(market.orderbook),
    "/v5/market/tickers": _public(market.tickers, is_listing=True),
    "/v5/market/recent-trade": _public(market.recent_trade),
    "/v5/market/funding/history": _public(market.funding_history),
    "/v5/market/risk-limit": _public(market.risk_limit),
    "/v5/market/open-interest": _public(market.open_interest),
    "/v5/order/create": _post(orders.create),
    "/v5/order/amend": _post(orders.amend),
    "/v5/order/cancel": _post(orders.cancel),
    "/v5/order/cancel-all": _post(orders.cancel_all),
    "/v5/order/create-batch": _post(orders.create_batch),
    "/v5/order/amend-batch": _post(orders.amend_batch),
    "/v5/order/cancel-batch": _post(orders.cancel_batch),
    "/v5/order/realtime": _get(orders.realtime, is_listing=True),
    "/v5/order/history": _get(orders.history, is_listing=True),
    "/v5/execution/list": _get(orders.executions, is_listing=True),
    "/v5/position/list": _get(positions.positions, is_listing=True),
    "/v5/position/set-leverage": _post(positions.set_leverage),
    "/v5/position/switch-mode": _post(positions.switch_mode),
    "/v5/position/trading-stop": _post(positions.trading_stop),
    "/v5/position/closed-pnl": _get(positions.closed_pnl, is_listing=True),
    "/v5/account/wallet-balance": _get(account.wallet_balance),
    "/v5/account/info": _get(account.info),
    "/v5/account/fee-rate": _get(account.fee_rate),
    "/v5/account/transaction-log": _get(account.transaction_log),
    "/v5/account/set-margin-mode": _post(account.set_margin_mode, ret_msg="Request accepted"),
    "/v5/asset/coin/query-info": _get(asset.coin_info, ret_msg=""),
    "/v5/asset/transfer/inter-transfer": _post(asset.inter_transfer, ret_msg="success"),
    "/v5/asset/transfer/query-inter-transfer-list": _get(asset.inter_transfers, ret_msg="success"),
    "/v5/asset/transfer/universal-transfer": _post(asset.universal_transfer, ret_msg="success"),
    "/v5/asset/transfer/query-universal-transfer-list": _get(asset.universal_transfers, ret_msg="success"),
    "/v5/asset/withdraw/create": _post(asset.withdraw, ret_msg="success"),
    "/v5/asset/withdraw/query-record": _get(asset.withdrawals, ret_msg="success"),
    "/v5/asset/deposit/query-record": _get(asset.deposits, ret_msg="success"),
    "/v5/user/query-api": _get(user.query_api, ret_msg=""),
    "/v5/user/query-sub-members": _get(user.query_sub_members, ret_msg=""),
    "/v5/user/sub-apikeys": _get(user.sub_api_keys, ret_msg=""),
    "/v5/user/create-sub-api": _post(user.create_sub_api, ret_msg=""),
    "/v5/user/update-sub-api": _post(user.update_sub_api, ret_msg=""),
    "/v5/user/delete-sub-api": _post(user.delete_sub_api, ret_msg=""),
    "/v5/user/update-api": _post(user.update_api, ret_msg=""),
    "/v5/user/delete-api": _post(user.delete_api, ret_msg=""),
    "/v5/user/frozen-sub-member": _post(user.frozen_sub_member, ret_msg=""),
    "/v5/strategy/create": _post(strategy.create),
    "/v5/strategy/list": _get(strategy.strategies),
    "/v5/strategy/stop": _post(strategy.stop),
}

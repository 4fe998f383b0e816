"""Records of an account that its histories hold: wallet views, ledger entries, transfers, flows."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trade_simulator.instruments import Category
from trade_simulator.orders import Side


class AccountType(StrEnum):
    """The two wallets of every account."""

    UNIFIED = "UNIFIED"
    FUND = "FUND"


class MarginMode(StrEnum):
    """The margin mode of a whole account."""

    ISOLATED = "ISOLATED_MARGIN"
    REGULAR = "REGULAR_MARGIN"


class TransactionType(StrEnum):
    """What a ledger entry books."""

    TRADE = "TRADE"
    SETTLEMENT = "SETTLEMENT"
    TRANSFER_IN = "TRANSFER_IN"
    TRANSFER_OUT = "TRANSFER_OUT"
    LIQUIDATION = "LIQUIDATION"
    DEPOSIT = "DEPOSIT"
    WITHDRAW = "WITHDRAW"
    BONUS = "BONUS"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinView:
    """One coin of a unified wallet."""

    coin: str
    equity: Decimal
    usd_value: Decimal
    wallet_balance: Decimal
    locked: Decimal
    total_order_im: Decimal
    total_position_im: Decimal
    total_position_mm: Decimal
    unrealised_pnl: Decimal
    cum_realised_pnl: Decimal
    available_to_withdraw: Decimal
    is_collateral: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletView:
    """A unified wallet, in USD of the index prices. Only USDT counts as margin collateral."""

    uid: str
    coins: tuple[CoinView, ...]
    total_equity: Decimal
    total_wallet_balance: Decimal
    total_margin_balance: Decimal
    total_available_balance: Decimal
    total_perp_upl: Decimal
    total_initial_margin: Decimal
    total_maintenance_margin: Decimal
    account_im_rate: Decimal
    account_mm_rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRate:
    """The fee rates of an account on one instrument."""

    category: Category
    symbol: str
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionLog:
    """One change of a unified wallet; change = cash_flow + funding - fee."""

    uid: str
    entry_id: str
    category: Category | None
    symbol: str
    side: Side | None
    kind: TransactionType
    currency: str
    qty: Decimal
    # Size of the position after the entry, signed; zero on spot.
    size: Decimal
    trade_price: Decimal
    # Positive when the account receives funding.
    funding: Decimal
    fee: Decimal
    fee_rate: Decimal
    cash_flow: Decimal
    change: Decimal
    cash_balance: Decimal
    trade_id: str
    order_id: str
    order_link_id: str
    at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """An internal transfer between wallets of one member (inter) or of two members (universal)."""

    transfer_id: str
    is_universal: bool
    coin: str
    amount: Decimal
    from_uid: str
    to_uid: str
    from_account_type: AccountType
    to_account_type: AccountType
    at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Money that left the exchange."""

    uid: str
    withdraw_id: str
    transaction_id: str
    coin: str
    chain: str
    address: str
    tag: str
    amount: Decimal
    fee: Decimal
    status: str
    created_at_ms: int
    updated_at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Money that came to the exchange from outside."""

    uid: str
    deposit_id: str
    transaction_id: str
    coin: str
    chain: str
    amount: Decimal
    address: str
    at_ms: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordQuery:
    """Which transfers, withdrawals, deposits, ledger entries or closed results to list."""

    record_id: str = ""
    transaction_id: str = ""
    coin: str = ""
    category: Category | None = None
    symbol: str = ""
    base_coin: str = ""
    kind: TransactionType | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    limit: int = 20
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawRequest:
    """A request to send money out."""

    coin: str
    chain: str
    address: str
    tag: str
    amount: Decimal
    account_type: AccountType
    # 0: the fee comes on top of the amount; 1: it is taken out of it.
    fee_type: int = 0
    request_id: str = ""

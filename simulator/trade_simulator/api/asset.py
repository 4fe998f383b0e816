"""Money between accounts, in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from trade_simulator.api.call import Call, listing, time_span
from trade_simulator.api.permissions import require, require_writable
from trade_simulator.api.shapes import Shape, number
from trade_simulator.paging import Page
from trade_simulator.records import AccountType, Deposit, RecordQuery, Transfer, Withdrawal, WithdrawRequest
from trade_simulator.rejections import WITHDRAW_PARAMETER, parameter_error
from trade_simulator.treasury import CHAINS, Chain

MAX_RECORDS = 50
MONTH_MS = 30 * 24 * 3600 * 1000
Row = TypeVar("Row")


def coin_info(call: Call) -> object:
    """List coins and their chains."""
    named = call.fields.text("coin")
    coins = [chain for chain in CHAINS.values() if named in ("", chain.coin)]
    if named and not coins:
        raise parameter_error("coin invalid")
    return {"rows": [_coin_shape(chain) for chain in coins]}


def _coin_shape(chain: Chain) -> Shape:
    return {
        "name": chain.coin,
        "coin": chain.coin,
        "remainAmount": number(chain.withdraw_max),
        "chains": [
            {
                "chain": chain.chain,
                "chainType": chain.chain,
                "confirmation": "6",
                "withdrawFee": number(chain.withdraw_fee),
                "depositMin": "0",
                "withdrawMin": number(chain.withdraw_min),
                "chainDeposit": "1",
                "chainWithdraw": "1",
                "minAccuracy": "8",
                "withdrawPercentageFee": "0",
                "contractAddress": "",
                "safeConfirmNumber": "65",
                "withdrawMax": number(chain.withdraw_max),
            }
        ],
    }


def inter_transfer(call: Call) -> object:
    """Move money between the wallets of one member."""
    require_writable(call.caller)
    require(call.caller, "Wallet", "AccountTransfer")
    transfer = call.exchange.inter_transfer(
        call.uid,
        transfer_id=call.fields.required("transferId"),
        coin=call.fields.required("coin"),
        amount=call.fields.required_decimal("amount"),
        from_type=call.fields.required_choice("fromAccountType", AccountType),
        to_type=call.fields.required_choice("toAccountType", AccountType),
    )
    return {"transferId": transfer.transfer_id, "status": "SUCCESS"}


def universal_transfer(call: Call) -> object:
    """Move money between members of one master."""
    require_writable(call.caller)
    require(call.caller, "Wallet", "SubMemberTransfer", "SubMemberTransferList")
    transfer = call.exchange.universal_transfer(
        call.uid,
        transfer_id=call.fields.required("transferId"),
        coin=call.fields.required("coin"),
        amount=call.fields.required_decimal("amount"),
        from_uid=member(call, "fromMemberId"),
        to_uid=member(call, "toMemberId"),
        from_type=call.fields.required_choice("fromAccountType", AccountType),
        to_type=call.fields.required_choice("toAccountType", AccountType),
    )
    return {"transferId": transfer.transfer_id, "status": "SUCCESS"}


def member(call: Call, name: str) -> str:
    """Read the number of a member, as a JSON number or as text."""
    value = call.fields.optional_integer(name)
    if value is None or value < 1:
        raise parameter_error(f"{name} is required")
    return str(value)


def _query(call: Call, *, id_field: str, transaction_field: str = "txID") -> RecordQuery:
    fields = call.fields
    start_ms, end_ms = time_span(fields, most_ms=MONTH_MS)
    return RecordQuery(
        record_id=fields.text(id_field),
        transaction_id=fields.text(transaction_field),
        coin=fields.text("coin"),
        start_ms=start_ms,
        end_ms=end_ms,
        limit=fields.limit(default=20, most=MAX_RECORDS),
        cursor=fields.text("cursor"),
    )


def _transfer_shape(transfer: Transfer) -> Shape:
    return {
        "transferId": transfer.transfer_id,
        "coin": transfer.coin,
        "amount": number(transfer.amount),
        "fromAccountType": str(transfer.from_account_type),
        "toAccountType": str(transfer.to_account_type),
        "timestamp": str(transfer.at_ms),
        "status": "SUCCESS",
    }


def _universal_shape(transfer: Transfer) -> Shape:
    return _transfer_shape(transfer) | {
        "fromMemberId": transfer.from_uid,
        "toMemberId": transfer.to_uid,
    }


def inter_transfers(call: Call) -> object:
    """List transfers between the wallets of one member."""
    page = call.exchange.inter_transfers(call.uid, _query(call, id_field="transferId"))
    return listing(page, _transfer_shape)


def universal_transfers(call: Call) -> object:
    """List transfers between members."""
    page = call.exchange.universal_transfers(call.uid, _query(call, id_field="transferId"))
    return listing(page, _universal_shape)


_WITHDRAW_FROM = {
    "FUND": AccountType.FUND,
    "UTA": AccountType.UNIFIED,
    "UNIFIED": AccountType.UNIFIED,
    "SPOT": AccountType.UNIFIED,
}


def withdraw(call: Call) -> object:
    """Send money out."""
    require_writable(call.caller)
    require(call.caller, "Wallet", "Withdraw")
    fields = call.fields
    coin = fields.required("coin")
    account_type = _WITHDRAW_FROM.get(fields.text("accountType", default="FUND"))
    if account_type is None:
        raise WITHDRAW_PARAMETER.error()
    if fields.optional_integer("timestamp") is None:
        raise parameter_error("timestamp is required")
    request = WithdrawRequest(
        coin=coin,
        chain=fields.text("chain"),
        address=fields.required("address"),
        tag=fields.text("tag"),
        amount=fields.required_decimal("amount"),
        account_type=account_type,
        fee_type=fields.integer("feeType"),
        request_id=fields.text("requestId"),
    )
    return {"id": call.exchange.withdraw(call.uid, request).withdraw_id}


def _rows(page: Page[Row], render: Callable[[Row], Shape]) -> Shape:
    return {"rows": [render(row) for row in page.items], "nextPageCursor": page.next_cursor}


def withdrawals(call: Call) -> object:
    """List withdrawals."""
    page = call.exchange.withdrawals(call.uid, _query(call, id_field="withdrawID"))
    return _rows(page, _withdrawal_shape)


def _withdrawal_shape(row: Withdrawal) -> Shape:
    return {
        "coin": row.coin,
        "chain": row.chain,
        "amount": number(row.amount),
        "txID": row.transaction_id,
        "status": row.status,
        "toAddress": row.address,
        "tag": row.tag,
        "withdrawFee": number(row.fee),
        "createTime": str(row.created_at_ms),
        "updateTime": str(row.updated_at_ms),
        "withdrawId": row.withdraw_id,
        "withdrawType": 0,
        "fee": "",
        "tax": "",
        "taxRate": "",
        "taxType": "",
    }


def deposits(call: Call) -> object:
    """List deposits."""
    page = call.exchange.deposits(call.uid, _query(call, id_field="id"))
    return _rows(page, _deposit_shape)


def _deposit_shape(row: Deposit) -> Shape:
    return {
        "id": row.deposit_id,
        "coin": row.coin,
        "chain": row.chain,
        "amount": number(row.amount),
        "txID": row.transaction_id,
        "status": 3,
        "toAddress": row.address,
        "tag": "",
        "depositFee": "",
        "successAt": str(row.at_ms),
        "confirmations": "50",
        "txIndex": "0",
        "blockHash": "",
        "batchReleaseLimit": "-1",
        "depositType": "0",
        "fromAddress": "",
        "taxDepositRecordsId": "0",
        "taxStatus": 0,
    }

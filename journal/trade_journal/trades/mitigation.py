"""What a person did about an incident of the gateway's journal: written as a row through the shim's socket."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from trade_core.clock import Clock
from trade_journal.errors import JournalUnavailable
from trade_journal.log.rows import Entry, Fields, RowKind
from trade_journal.trades.remark import RemarkRefused, checked_remark
from trade_journal.trades.shim_settings import ShimSettings
from trade_journal.writer.client import JournalClient
from trade_journal.writer.peers import Peer

_CONNECT_WITHIN_S: Final = 10.0


async def write_mitigation(settings: ShimSettings, *, incident: int, text: str, clock: Clock) -> int:
    """Make durable that an incident was dealt with, and give the new row's number. Raises RemarkRefused, JournalError.

    `incident` is the number of the row that opened it. Several may be written of one; tables show the first.
    """
    mitigation = checked_remark(text, what="what was done")
    journal = await JournalClient.open(
        settings.journal_socket, origin=settings.origin, clock=clock, peer=Peer.SHIM, within_s=_CONNECT_WITHIN_S
    )
    try:
        rows = await journal.read(incident, 1)
        if not rows:
            raise RemarkRefused(f"no row {incident} in the journal, which has {journal.size}")
        (row,) = rows
        if row.kind is not RowKind.INCIDENT_OPENED:
            raise RemarkRefused(f"row {incident} is {row.kind.value}, no incident; see trade-journal table incidents")
        fields: Fields = {
            "incident": incident,
            "type": str(row.fields.get("type", "unknown")),
            "mitigation": mitigation,
        }
        entry = Entry(at_ns=clock.wall_ns(), kind=RowKind.INCIDENT_MITIGATED, actor=Peer.SHIM.value, fields=fields)
        return await journal.append(entry)
    finally:
        with suppress(JournalUnavailable):
            await journal.close()

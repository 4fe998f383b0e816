"""The journal writer as a process: the journal opened, its doors opened, and both ended in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Final

from trade_core.clock import Clock, SystemClock
from trade_core.garbage import Garbage
from trade_journal.errors import JournalUnavailable
from trade_journal.store.database import is_yet_to_be_made
from trade_journal.writer.emergency_segment import SEGMENT_FILE
from trade_journal.writer.file_system import journal_folders, require_durable
from trade_journal.writer.peers import Peer
from trade_journal.writer.retention import say_what_is_missing, seal_when_due
from trade_journal.writer.server import Door, JournalServer
from trade_journal.writer.writer import JournalWriter
from trade_journal.writer.writer_identity import LogIdentity, load_log_identity, number_of_log
from trade_journal.writer.writer_settings import JournalWriterSettings

_LOOK_EVERY_S: Final = 0.25
_OWN_USER_MODE: Final = 0o600
# Another user must be able to connect; who it is, the kernel says, and everybody else is turned away.
_OTHER_USER_MODE: Final = 0o666
log = logging.getLogger(__name__)


async def run(settings: JournalWriterSettings) -> None:
    """Run until a signal ends it. Raises TradeError for what must not be started with, or what ended it."""
    folders = journal_folders(state_dir=settings.state_dir, journal_url=settings.journal_url)
    require_durable(folders, environment=settings.environment)
    identity = load_log_identity(settings, number=await asyncio.to_thread(number_of_log, settings))
    clock = SystemClock()
    await asyncio.to_thread(prepare_segments, settings, identity, clock)
    writer = await JournalWriter.open(
        settings.journal_url,
        origin=identity.keys.journal,
        clock=clock,
        signer=identity.signer,
        emergency=settings.state_dir / SEGMENT_FILE,
        archive=settings.archive_dir,
    )
    server = JournalServer(writer=writer, keys=identity.keys, clock=clock)
    garbage = asyncio.create_task(Garbage(clock=clock, is_quiet=lambda: not writer.pending).run())
    try:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await server.start(doors(settings))
        log.info(
            "%s: %d rows, writing for the gateway at %s", identity.signer.origin, writer.size, settings.gateway_socket
        )
        await _until_stopped(stop, writer)
    finally:
        garbage.cancel()
        try:
            await writer.close()
        finally:
            await server.close()


def prepare_segments(settings: JournalWriterSettings, identity: LogIdentity, clock: Clock) -> None:
    """Seal what is due, and say which segment is missing. Raises JournalRefused, JournalDamaged."""
    url = settings.journal_url
    if settings.retention_days is not None:
        origin, days = identity.keys.journal, settings.retention_days
        seal_when_due(url, origin=origin, keys=identity.keys, retention_days=days, clock=clock)
    if not is_yet_to_be_made(url):
        say_what_is_missing(url, archive=settings.archive_dir)


def doors(settings: JournalWriterSettings) -> list[Door]:
    """Give a door for each peer."""
    return [
        _door(Peer.GATEWAY, settings, uid=settings.gateway_uid),
        _door(Peer.SHIM, settings, uid=settings.shim_uid),
    ]


def _door(peer: Peer, settings: JournalWriterSettings, *, uid: int | None) -> Door:
    own = os.getuid()
    user = own if uid is None else uid
    setting = f"{peer.value}_socket"
    mode = _OWN_USER_MODE if user == own else _OTHER_USER_MODE
    return Door(peer=peer, path=getattr(settings, setting), uid=user, mode=mode, setting=setting)


async def _until_stopped(stop: asyncio.Event, writer: JournalWriter) -> None:
    while not stop.is_set():
        if writer.is_dead:
            raise JournalUnavailable(f"the writer's thread ended: {writer.last_failure}", cause="defect")
        try:
            async with asyncio.timeout(_LOOK_EVERY_S):
                await stop.wait()
        except TimeoutError:
            continue

"""Seals a journal in PostgreSQL, as its owner and with its writer stopped: old rows become a segment, a file of SQLite.

Guarantees
- The rows that leave the database lie in the archive first: whole, durable, and verified there with the public keys of
  log and witness, together with every segment before them.
- The journal goes on in new tables, in one transaction, with the rows and rights of before; the old ones are dropped in
  it. The role that writes gets no new right, and no row is ever deleted from a table.
- Nobody writes meanwhile: the writer's own lease is held. What fails leaves the database as it was.

If we crash when the segment is in the archive and the database is as before, the next sealing finds it there and takes
it, if it is the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select, text
from sqlalchemy.pool import NullPool

from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable
from trade_journal.log.verify import PublicKeys, Verification, checked_points
from trade_journal.note_checks import checked_notes
from trade_journal.sources import DatabaseSource, stored_rows
from trade_journal.store.beginning import Beginning
from trade_journal.store.cuts import behind, carry_over, last_cosigned
from trade_journal.store.database import parse_url
from trade_journal.store.opening import opened_tree
from trade_journal.store.postgres_address import postgres_address, schema_of
from trade_journal.store.postgres_database import lease_key, postgres_engine
from trade_journal.store.postgres_errors import failures_named
from trade_journal.store.postgres_schema import check_journal, continue_behind
from trade_journal.store.schema import ROWS
from trade_journal.store.sealing import Sealed
from trade_journal.store.segments import sealed_before, segment_name
from trade_journal.store.sqlite_database import make_file, sync_folder

_SEALED_MODE: Final = 0o400
Advance = Callable[[int], None]


def seal_in_postgres(
    url: str,
    *,
    keys: PublicKeys,
    archive: Path,
    written_before_ns: int | None = None,
    advance: Advance = lambda _: None,
) -> Sealed | None:
    """Seal a journal up to its last cosigned checkpoint; None when there is nothing to seal.

    ``written_before_ns`` leaves a journal alone whose first row in use is younger (UTC). Raises JournalRefused,
    JournalDamaged, JournalUnavailable.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise JournalRefused("expected postgresql://owner@host/database; a SQLite journal is sealed by its writer")
    if keys.witness is None:
        raise JournalRefused("the witness's public key is needed: only what it has cosigned is sealed")
    address, origin = postgres_address(parsed), keys.journal
    schema, place = schema_of(origin), address.place
    engine = postgres_engine(
        address, session={"search_path": f"{schema},pg_temp"}, autocommit=False, poolclass=NullPool
    )
    try:
        with failures_named(place), engine.begin() as connection:
            _hold(connection, place, schema=schema, origin=origin)
            check_journal(connection, place, schema=schema, origin=origin)
            tree, beginning, checkpoints = opened_tree(connection, place, log=keys.log)
            cut = last_cosigned(connection, beginning, log=keys.log, witness=keys.witness)
            if cut is None or _is_younger(connection, beginning, written_before_ns):
                return None
            goes_on = behind(cut, connection, place, beginning=beginning, checkpoints=checkpoints)
            _archived(connection, archive, beginning, goes_on, keys=keys, advance=advance)
            continue_behind(connection, schema=schema, beginning=goes_on)
            check_journal(connection, place, schema=schema, origin=origin)
            if opened_tree(connection, place, log=None) != (tree, goes_on, checkpoints):
                raise JournalDamaged(f"{place}: cannot be sealed: what would go on has another root than it has")
    except OSError as error:
        raise JournalUnavailable(f"{archive}: {error.strerror}", cause="sealing") from error
    finally:
        engine.dispose()
    return Sealed(path=archive / segment_name(first=beginning.size, end=cut.size), first=beginning.size, end=cut.size)


def _hold(connection: Connection, place: str, *, schema: str, origin: str) -> None:
    """Take the writer's lease until the transaction ends. Raises JournalRefused."""
    there = connection.execute(text("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = :name"), {"name": schema})
    if there.first() is None:
        raise JournalRefused(f"{place}: no journal of {origin!r} there")
    held = text("SELECT pg_catalog.pg_try_advisory_xact_lock(:key)")
    if not connection.execute(held, {"key": lease_key(schema)}).scalar_one():
        raise JournalRefused(f"{place}: a writer has this journal open; stop it first")


def _is_younger(connection: Connection, beginning: Beginning, before_ns: int | None) -> bool:
    if before_ns is None:
        return False
    first = connection.execute(select(ROWS.c.at_ns).where(ROWS.c.seq == beginning.size)).scalar()
    return first is None or int(first) >= before_ns


def _archived(
    connection: Connection, archive: Path, first: Beginning, end: Beginning, *, keys: PublicKeys, advance: Advance
) -> None:
    """Put the rows between two beginnings into the archive, and verify what lies there then."""
    archive.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = archive / segment_name(first=first.size, end=end.size)
    if not os.path.lexists(target):
        new = target.with_name(f".{target.name}.sealing")
        for left in (new, new.with_name(new.name + "-journal")):
            left.unlink(missing_ok=True)
        fill = partial(carry_over, connection, first=first, end=end)
        make_file(new, origin=keys.journal, beginning=first, fill=fill)
        new.chmod(_SEALED_MODE)
        new.rename(target)
        sync_folder(target)
    sealed_before(end, archive=archive, origin=keys.journal)
    with closing(DatabaseSource(f"sqlite:///{target.absolute()}", archive=archive)) as source:
        check = partial(checked_notes, keys=keys)
        verification = Verification(checked_points(source.checkpoints(), source.cosigned(), keys=keys, check=check))
        for page in stored_rows(source):
            verification.feed(page)
            advance(len(page))
    verdict = verification.verdict()
    if verdict.fault is not None:
        raise JournalDamaged(f"{target}: {verdict.fault.text()}; nothing was dropped")
    if (verdict.rows, verdict.root) != (end.size, end.tree.root()) or verdict.witnessed_rows != end.size:
        raise JournalDamaged(f"{target}: holds other rows than the database up to row {end.size}; nothing was dropped")

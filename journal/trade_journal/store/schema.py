"""The tables of a journal, the same in every database, and the number of their format.

What keeps them append-only and gapless is the database's own: `sqlite_schema`, `postgres_schema`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table

FORMAT_VERSION: Final = 3
CONTINUED_VERSION: Final = 4  # of a journal that goes on where a sealed segment ends: format 3 and its beginning
RowValues = tuple[int, int, str, str, bytes, bytes]
"""A row in the order of its table's columns."""

# SQLite makes a key of its own beside a primary key that is not called INTEGER.
_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")

METADATA: Final = MetaData()
ROWS: Final = Table(
    "rows",
    METADATA,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
)
FORMAT: Final = Table(
    "journal_format",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("origin", String, nullable=False),
)
# `tree` holds the frontier's hashes at the checkpoint, one after the other, so that opening need not hash every row.
CHECKPOINTS: Final = Table(
    "checkpoints",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("size", _NUMBER, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("tree", LargeBinary, nullable=False),
)
# Checkpoints that the log's witness has cosigned. They come late: a later checkpoint may have been kept by then.
COSIGNATURES: Final = Table(
    "cosignatures",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("size", _NUMBER, nullable=False),
    Column("note", LargeBinary, nullable=False),
)
# Tables that nothing is ever changed in, and the column that numbers them without a gap.
APPEND_ONLY: Final = {ROWS.name: "seq", CHECKPOINTS.name: "number", COSIGNATURES.name: "number"}
# Where a journal goes on that does not begin with row 0: one record, in a journal of CONTINUED_VERSION only. `size`,
# `checkpoints` and `cosignatures` are the numbers that it goes on with, `previous_size` is where the segment before it
# begins, `note` is a signed checkpoint over the rows before, and `tree` their frontier.
BEGINNING: Final = Table(
    "beginning",
    MetaData(),
    Column("size", _NUMBER, primary_key=True, autoincrement=False),
    Column("previous_size", _NUMBER, nullable=False),
    Column("checkpoints", _NUMBER, nullable=False),
    Column("cosignatures", _NUMBER, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("tree", LargeBinary, nullable=False),
)
# The column of `beginning` that says with which number each of those tables goes on.
GOES_ON_WITH: Final = {
    ROWS.name: BEGINNING.c.size.name,
    CHECKPOINTS.name: BEGINNING.c.checkpoints.name,
    COSIGNATURES.name: BEGINNING.c.cosignatures.name,
}

"""Rows as a Parquet file, for programs that count and compare. Imported only by an export that asks for it.

The columns are those of `trade-journal tail --json`; `fields` is JSON text, since every kind has other ones. All are in
the file's own types: integers of 64 bits and text. Nothing in it is signed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from trade_journal.log.rendering import rendered_row
from trade_journal.log.rows import Row

GROUP_ROWS: Final = 16_384  # held in memory until they are one row group: at most 128 MiB of rows, usually 5
SCHEMA: Final = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("at_ns", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("actor", pa.string(), nullable=False),
        pa.field("fields", pa.string(), nullable=False),
        pa.field("policy_hash", pa.string()),
        pa.field("leaf_hash", pa.string(), nullable=False),
    ]
)


class ParquetRows:
    """Writes rows to a file that the caller opened and closes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._writer = pq.ParquetWriter(file, SCHEMA, compression="zstd")
        self._waiting: list[dict[str, Any]] = []

    def write(self, rows: Sequence[Row]) -> None:
        """Take the next rows."""
        self._waiting += map(_record, rows)
        if len(self._waiting) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what waits and the file's end, without which it is unreadable."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=SCHEMA))
        self._waiting = []


def _record(row: Row) -> dict[str, Any]:
    record = rendered_row(row)
    record["fields"] = json.dumps(record["fields"], separators=(",", ":"))
    return record

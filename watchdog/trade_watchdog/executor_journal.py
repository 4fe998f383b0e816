"""The kill executor's journal as its socket serves it, for the witness. Bounded; it reads and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import httpx

from trade_core.errors import TradeError
from trade_core.tls import tls_context
from trade_core.unix_sockets import short_path
from trade_journal.log.rows import leaf_hash
from trade_journal.log.verify import StoredRow

REQUEST_TIMEOUT_S: Final = 3.0
CHECKPOINT_BYTES_MAX: Final = 64 * 1024
ROWS_BYTES_MAX: Final = 4 * 1024 * 1024  # a row has 8 KiB at most


class ExecutorUnavailable(TradeError):
    """The executor did not answer, or answered something that is not its protocol."""


class ExecutorJournal:
    """Connects anew for each request: an executor that was started again is found."""

    def __init__(self, socket: Path) -> None:
        """Prepare; nothing is sent yet."""
        self._socket = socket

    async def checkpoint(self) -> bytes:
        """Have the executor sign its journal as it stands. Raises ExecutorUnavailable."""
        return await self._get("/journal/checkpoint", CHECKPOINT_BYTES_MAX)

    async def rows(self, from_seq: int, limit: int) -> list[StoredRow]:
        """Read the bytes of rows, at most `limit`; nothing judges them. Raises ExecutorUnavailable."""
        body = await self._get(f"/journal/entries?from={from_seq}&limit={limit}", ROWS_BYTES_MAX)
        lines = body.split(b"\n")
        if lines.pop() or len(lines) > limit:
            raise ExecutorUnavailable(f"/journal/entries: not at most {limit} whole lines after row {from_seq}")
        return [StoredRow(seq=seq, body=line, leaf_hash=leaf_hash(line)) for seq, line in enumerate(lines, from_seq)]

    async def _get(self, path: str, bytes_max: int) -> bytes:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self._answer(path, bytes_max)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise ExecutorUnavailable(f"the kill executor does not answer: {type(error).__name__}") from None

    async def _answer(self, path: str, bytes_max: int) -> bytes:
        with short_path(self._socket) as short:
            transport = httpx.AsyncHTTPTransport(uds=short, verify=tls_context(), trust_env=False)
            async with (
                httpx.AsyncClient(
                    transport=transport, base_url="http://executor", timeout=REQUEST_TIMEOUT_S, trust_env=False
                ) as client,
                client.stream("GET", path, headers={"accept-encoding": "identity"}) as response,
            ):
                body = bytearray()
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > bytes_max:
                        raise ExecutorUnavailable(f"{path}: the answer is longer than {bytes_max} bytes")
                if response.status_code != httpx.codes.OK:
                    raise ExecutorUnavailable(f"{path}: HTTP {response.status_code}")
                return bytes(body)

"""Writes a journal as the gateway does and says what it was promised, for whoever breaks the disk beneath it.

Each line of its output is a promise of the writer or a refusal: `row SEQ NUMBER`, `point SIZE`, `refused WHAT`,
`closed`. It ends with 0, or with 2 and one sentence when the journal does not open. Anything else is a defect.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trade_core.clock import SystemClock
from trade_journal.errors import JournalError
from trade_journal.log.checkpoint import LogSigner, open_checkpoint
from trade_journal.log.rows import Entry, RowKind
from trade_journal.writer.writer import JournalWriter

ORIGIN = "trade/simulated/1002/gateway"
SIGNER = LogSigner(
    origin=ORIGIN, private_key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))), ring_hash="ab" * 32
)
ROUNDS = 4
ROWS_A_ROUND = 3
ROWS = ROUNDS * ROWS_A_ROUND
EMERGENCY_NUMBERS = 2 * ROWS  # and on: rows that come while the journal fails
PATIENCE_S = 8.0


def entry(number: int) -> Entry:
    """A row that can be told from every other; the last of each round is one that the emergency segment serves."""
    is_served = number % ROWS_A_ROUND == ROWS_A_ROUND - 1 or number >= EMERGENCY_NUMBERS
    kind = RowKind.CANCEL_INTENT if is_served else RowKind.ORDER_INTENT
    return Entry(at_ns=number + 1, kind=kind, actor="gateway", fields={"number": number, "padding": "x" * 300})


def segment_of(url: str) -> Path:
    """Name the emergency segment of a journal."""
    return Path(url.removeprefix("sqlite:///")).with_name("emergency.segment")


async def opened(url: str) -> JournalWriter:
    """Open a journal with its segment."""
    return await JournalWriter.open(url, origin=ORIGIN, clock=SystemClock(), signer=SIGNER, emergency=segment_of(url))


def say(text: str) -> None:
    """Tell at once what has been promised."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def append(journal: JournalWriter, number: int) -> None:
    """Append one row and say what came of it."""
    try:
        say(f"row {await journal.append(entry(number))} {number}")
    except JournalError as error:
        say(f"refused {type(error).__name__}")


async def work(journal: JournalWriter, *, first_number: int) -> None:
    """Append, sign, and wait for the journal to recover when it has to."""
    for round_number in range(ROUNDS):
        first = first_number + round_number * ROWS_A_ROUND
        await asyncio.gather(*(append(journal, first + index) for index in range(ROWS_A_ROUND)))
        try:
            checkpoint, _ = open_checkpoint(await journal.checkpoint(), log=SIGNER.verifier())
            say(f"point {checkpoint.size}")
        except JournalError as error:
            say(f"refused {type(error).__name__}")
        if not journal.is_writable:
            await append(journal, EMERGENCY_NUMBERS + first)
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not journal.is_writable and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def main(url: str, first_number: int) -> int:
    """Open, work, close."""
    try:
        journal = await opened(url)
    except JournalError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    await work(journal, first_number=first_number)
    try:
        await journal.close()
        say("closed")
    except JournalError as error:
        say(f"refused {type(error).__name__}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))

"""`trade-journal`: verify a journal, follow it, prove one of its rows, export it, show it, and add the bot's trades."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trade_core.command_line import refused_by_system
from trade_core.errors import TradeError
from trade_core.secrets import read_secret_file, secret_text
from trade_journal.database_cli import add_database_command
from trade_journal.errors import JournalDamaged, JournalRefused, JournalUnavailable, NoteRefused, RowUncovered
from trade_journal.export.bundle_source import BundleSource
from trade_journal.export.bundle_verify import RangeVerdict, row_proof, verify_bundle
from trade_journal.export.export import BUNDLE, LAYOUTS, export_journal
from trade_journal.log.checkpoint import said_name
from trade_journal.log.key_file import check_signers, keys_of, parse_key_file
from trade_journal.log.proof import RowProof, check_proof, parse_proof
from trade_journal.log.rendering import line_of, rendered_row, time_text
from trade_journal.log.rows import Row, RowKind, parse_row
from trade_journal.log.verdicts import verdict_text, verdict_values
from trade_journal.log.verify import PublicKeys, StoredRow, Verdict, Verification, checked_points
from trade_journal.note_checks import checked_notes
from trade_journal.row_proofs import covering_checkpoint, prove_row
from trade_journal.sources import Source, open_source, stored_rows
from trade_journal.store.store import READ_ROWS_MAX
from trade_journal.succession_cli import add_succeed_command
from trade_journal.tables_cli import add_table_arguments, show_table
from trade_journal.trades.shim_cli import add_shim_commands

EXIT_GOOD: Final = 0
EXIT_TAMPERED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREADABLE: Final = 3
EXIT_UNCOVERED: Final = 4
FOLLOW_EVERY_S: Final = 0.5
_EPILOG: Final = "Exit codes: 0 good, 1 tampered, 2 usage, 3 unreadable."
_PROVE_EPILOG: Final = f"{_EPILOG[:-1]}, 4 no checkpoint covers the row yet."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 good, 1 tampered, 2 usage, 3 unreadable; of `prove`, 4 not covered yet."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (JournalDamaged, NoteRefused) as error:
        print(f"trade-journal: TAMPERED: {error}", file=sys.stderr)
        return EXIT_TAMPERED
    except RowUncovered as error:
        print(f"trade-journal: {error}", file=sys.stderr)
        return EXIT_UNCOVERED
    except TradeError as error:
        print(f"trade-journal: {error}", file=sys.stderr)
        return EXIT_UNREADABLE
    except OSError as error:
        print(f"trade-journal: {refused_by_system(error)}", file=sys.stderr)
        return EXIT_UNREADABLE
    except KeyboardInterrupt:
        # Only what has no end is ended well by it; a verdict that was not reached must not look like a good one.
        return EXIT_GOOD if getattr(options, "follow", False) else EXIT_UNREADABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trade-journal",
        description="Reads a journal. database init and succeed make one; shim, lesson and mitigated add rows; "
        "none changes one.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    verify = _command(commands, "verify", _verify, "check every row against the signed checkpoints")
    _keys(verify)
    verify.add_argument("--json", action="store_true", help="print the verdict as one JSON object")
    tail = _command(commands, "tail", _tail, "show the last rows")
    tail.add_argument("--rows", type=_count, default=20, metavar="N", help="how many (20)")
    tail.add_argument("--kind", action="append", default=[], metavar="KIND", help="only rows of this kind; repeatable")
    tail.add_argument("--actor", metavar="NAME", help="only rows by this actor")
    tail.add_argument("--follow", action="store_true", help="go on with each new row until Ctrl-C")
    tail.add_argument("--json", action="store_true", help="one JSON object a line")
    prove = _command(commands, "prove", _prove, "print a proof that a row stands in the journal (C2SP tlog-proof)")
    prove.epilog = _PROVE_EPILOG
    prove.add_argument("row", type=_count, metavar="ROW", help="the row's number")
    _keys(prove)
    check = commands.add_parser("check-proof", help="check a proof offline, with the public keys only", epilog=_EPILOG)
    check.add_argument("proof", type=Path, metavar="FILE")
    _keys(check)
    check.set_defaults(run=_check_proof)
    export = _command(commands, "export", _export, "write a verified journal, or a range of it, to a new file")
    _keys(export)
    export.add_argument("--out", required=True, type=Path, metavar="PATH", help="the new file; none is overwritten")
    export.add_argument("--format", choices=LAYOUTS, default=BUNDLE, help="bundle: verifiable by strangers (default)")
    export.add_argument("--from", type=_count, dest="first", metavar="N", help="the first row")
    export.add_argument("--to", type=_count, dest="last", metavar="M", help="the last row")
    stats = _command(commands, "stats", _stats, "count rows by kind, and say from when to when")
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    add_table_arguments(_command(commands, "table", _table, "show one of the tables for people"))
    add_shim_commands(commands)
    add_database_command(commands, epilog=_EPILOG)
    add_succeed_command(commands, epilog=_EPILOG)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    words: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=words, description=words, epilog=_EPILOG)
    command.add_argument(
        "--journal",
        required=True,
        metavar="FILE|URL",
        help="journal file, folder of sealed segments, bundle, database URL, or a service's admin URL",
    )
    command.add_argument(
        "--archive", type=Path, metavar="DIR", help="folder of the sealed segments, when it is not beside the file"
    )
    command.add_argument(
        "--token-file", type=Path, metavar="FILE", help="handover file with the admin token, for a service's URL"
    )
    command.set_defaults(run=run)
    return command


def _keys(command: argparse.ArgumentParser) -> None:
    command.add_argument("--keys", required=True, type=Path, metavar="FILE", help="public keys of log and witness")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise argparse.ArgumentTypeError(f"not a number of rows: {text!r}")
    return int(text)


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[Source]:
    token = None
    if options.token_file is not None:
        token = secret_text(read_secret_file(options.token_file), "admin_token", path=options.token_file).reveal()
    source = open_source(options.journal, token=token, archive=options.archive)
    try:
        yield source
    finally:
        source.close()


def _read_keys(path: Path) -> tuple[PublicKeys, ...]:
    try:
        return parse_key_file(path.read_text(encoding="utf-8"))
    except (NoteRefused, UnicodeDecodeError) as error:
        # Wrong keys say nothing about the journal.
        raise JournalUnavailable(f"{path}: {error}", cause="keys") from error


def _own_keys(source: Source, journals: Sequence[PublicKeys]) -> PublicKeys:
    """Give the keys of the journal that is read; of one that others signed, say so before anything is judged.

    Raises KeysUnknown, JournalError.
    """
    keys = keys_of(source.origin(), journals)
    with suppress(JournalDamaged):  # which is for `verify` to tell, with all that it has found by then
        check_signers(source.checkpoints(), verifiers=(*keys.former, keys.log))
        if keys.witness is not None:
            check_signers(source.cosigned(), verifiers=[keys.witness])
    return keys


@contextmanager
def _progress(words: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a long reading is, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn(words), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off, refresh_per_second=4) as shown:
        task = shown.add_task(words, total=total)
        yield lambda count: shown.advance(task, count)


def _verify(options: argparse.Namespace) -> int:
    journals = _read_keys(options.keys)
    with _opened(options) as source:
        keys = _own_keys(source, journals)
        if isinstance(source, BundleSource):
            with _progress("rows", source.size()) as advance:
                return _said(verify_bundle(source, keys=keys, advance=advance), keys, options)
        # Checkpoints first: rows that are written meanwhile are then merely not vouched for yet.
        check = partial(checked_notes, keys=keys)
        verification = Verification(checked_points(source.checkpoints(), source.cosigned(), keys=keys, check=check))
        with _progress("rows", source.size()) as advance:
            for page in stored_rows(source):
                verification.feed(page)
                advance(len(page))
                if verification.has_fault:
                    break
    return _said(verification.verdict(), keys, options)


def _said(verdict: Verdict | RangeVerdict, keys: PublicKeys, options: argparse.Namespace) -> int:
    if options.json:
        values = verdict_values(verdict, keys) if isinstance(verdict, Verdict) else _range_values(verdict, keys)
        print(json.dumps(values))
    elif verdict.fault is not None:
        print(f"TAMPERED  {keys.log.name}\n  {verdict.fault.text()}")
    elif isinstance(verdict, Verdict):
        print(verdict_text(verdict, keys))
    else:
        print(_range_text(verdict, keys))
    if verdict.fault is not None:
        return EXIT_TAMPERED
    return EXIT_GOOD if verdict.is_good else EXIT_UNREADABLE


def _range_text(verdict: RangeVerdict, keys: PublicKeys) -> str:
    witness = "no witness's key was given" if keys.witness is None else f"witnessed by {keys.witness.name}"
    when = "" if verdict.witnessed_at_s is None else f" at {time_text(verdict.witnessed_at_s * 10**9)}"
    return (
        f"GOOD  {keys.log.name}\n"
        f"  a range: rows {verdict.first} to {verdict.first + verdict.rows - 1}; nothing is said of other rows\n"
        f"  {verdict.rows} proven to stand in the signed journal, under {verdict.checkpoints} checkpoints\n"
        f"  {verdict.witnessed_rows} {witness}{when}; {verdict.rows - verdict.witnessed_rows} unwitnessed"
    )


def _range_values(verdict: RangeVerdict, keys: PublicKeys) -> dict[str, object]:
    fault = verdict.fault
    return {
        "origin": keys.log.name,
        "is_good": verdict.is_good,
        "is_range": True,
        "first_row": verdict.first,
        "rows": verdict.rows,
        "signed_rows": verdict.rows,
        "witnessed_rows": verdict.witnessed_rows,
        "witnessed_at_s": verdict.witnessed_at_s,
        "checkpoints": verdict.checkpoints,
        "fault": None if fault is None else {"what": fault.what, "first": fault.first, "last": fault.last},
    }


def _export(options: argparse.Namespace) -> int:
    if options.first is not None and options.last is not None and options.first > options.last:
        print(f"trade-journal: --from {options.first} is after --to {options.last}", file=sys.stderr)
        return EXIT_USAGE
    journals = _read_keys(options.keys)
    with _opened(options) as source:
        keys = _own_keys(source, journals)
        if isinstance(source, BundleSource) and source.manifest.is_range:
            raise JournalRefused(f"{options.journal}: a range; only a whole journal is exported")
        with _progress("rows", source.size()) as advance:
            exported = export_journal(
                source,
                keys=keys,
                out=options.out,
                layout=options.format,
                first=options.first,
                last=options.last,
                advance=advance,
            )
    print(f"{options.out}: {exported.rows} rows as {options.format}, of a journal that is")
    return _said(exported.verdict, keys, argparse.Namespace(json=False))


def _tail(options: argparse.Namespace) -> int:
    unknown = set(options.kind) - {kind.value for kind in RowKind}
    if unknown:
        print(f"trade-journal: no such kind: {', '.join(sorted(unknown))}", file=sys.stderr)
        return EXIT_USAGE
    with _opened(options) as source:
        if isinstance(source, BundleSource):
            return _tail_bundle(source, options)
        next_seq = source.size()
        shown = _last_rows(source, options, end=next_seq)
        while True:
            _show(shown, options)
            if not options.follow:
                return EXIT_GOOD
            time.sleep(FOLLOW_EVERY_S)
            found = [parse_row(stored.body) for stored in source.rows(next_seq, READ_ROWS_MAX)]
            next_seq += len(found)
            shown = [row for row in found if _is_wanted(row, options)]


def _tail_bundle(source: BundleSource, options: argparse.Namespace) -> int:
    """Read forwards, since that is how a bundle lies."""
    if options.follow:
        print("trade-journal: a bundle does not grow; nothing to --follow", file=sys.stderr)
        return EXIT_USAGE
    found = (parse_row(stored.body) for page in stored_rows(source) for stored in page)
    _show(deque((row for row in found if _is_wanted(row, options)), maxlen=options.rows), options)
    return EXIT_GOOD


def _show(rows: Iterable[Row], options: argparse.Namespace) -> None:
    for row in rows:
        print(json.dumps(rendered_row(row)) if options.json else line_of(row), flush=True)


def _last_rows(source: Source, options: argparse.Namespace, *, end: int) -> list[Row]:
    """Read backwards, a page at a time, until enough rows are found."""
    found: list[Row] = []
    while end > 0 and len(found) < options.rows:
        start = max(0, end - READ_ROWS_MAX)
        page = [parse_row(stored.body) for stored in _rows_between(source, start, end)]
        if not page:
            raise JournalDamaged(f"rows {start} to {end - 1} are missing")
        found = [row for row in page if _is_wanted(row, options)] + found
        end = start
    return found[len(found) - options.rows :] if len(found) > options.rows else found


def _rows_between(source: Source, start: int, end: int) -> Iterator[StoredRow]:
    """Read rows to before an end; a source may give fewer at once than it is asked for."""
    while start < end and (page := source.rows(start, end - start)):
        yield from page
        start = page[-1].seq + 1


def _is_wanted(row: Row, options: argparse.Namespace) -> bool:
    is_kind = not options.kind or row.kind.value in options.kind
    return is_kind and (options.actor is None or row.actor == options.actor)


def _prove(options: argparse.Namespace) -> int:
    journals = _read_keys(options.keys)
    with _opened(options) as source:
        keys = _own_keys(source, journals)
        if isinstance(source, BundleSource) and source.manifest.is_range:
            return _handed_out(row_proof(source, options.row), keys)
        note, checkpoint = covering_checkpoint(source, options.row, keys=keys)
        with _progress("rows", checkpoint.size) as advance:
            proof = prove_row(source, options.row, note, checkpoint, advance=advance)
    return _handed_out(proof, keys)


def _handed_out(proof: RowProof, keys: PublicKeys) -> int:
    check_proof(proof, log=keys.log_of(proof.note), witness=keys.witness)  # never hand out what would not be believed
    print(proof.rendered(), end="")
    return EXIT_GOOD


def _check_proof(options: argparse.Namespace) -> int:
    journals = _read_keys(options.keys)
    proof = parse_proof(options.proof.read_bytes())
    keys = keys_of(said_name(proof.note), journals)
    check_signers([proof.note], verifiers=(*keys.former, keys.log))
    if keys.witness is not None:
        check_signers([proof.note], verifiers=[keys.witness])
    proven = check_proof(proof, log=keys.log_of(proof.note), witness=keys.witness)
    at_s = proven.witnessed_at_s
    witnessed = "unwitnessed" if at_s is None else f"witnessed {time_text(at_s * 10**9)}"
    print(f"GOOD  {proven.checkpoint.origin}, {proven.checkpoint.size} rows, {witnessed}")
    print(f"  {line_of(parse_row(proven.body))}")
    return EXIT_GOOD


def _table(options: argparse.Namespace) -> int:
    with _opened(options) as source, _progress("rows", source.size()) as advance:
        show_table(source, options, advance=advance)
    return EXIT_GOOD


def _stats(options: argparse.Namespace) -> int:
    kinds: Counter[str] = Counter()
    first = last = None
    body_bytes = 0
    with _opened(options) as source, _progress("rows", source.size()) as advance:
        for page in stored_rows(source):
            for stored in page:
                row = parse_row(stored.body)
                kinds[row.kind.value] += 1
                body_bytes += len(stored.body)
                first = row if first is None else first
                last = row
            advance(len(page))
    rows = sum(kinds.values())
    if options.json:
        times = {"first_at_ns": first.at_ns, "last_at_ns": last.at_ns} if first is not None and last is not None else {}
        print(json.dumps({"rows": rows, "body_bytes": body_bytes, "kinds": dict(sorted(kinds.items())), **times}))
        return EXIT_GOOD
    print(f"{rows} rows, {body_bytes} bytes")
    if first is not None and last is not None:
        print(f"from {time_text(first.at_ns)} to {time_text(last.at_ns)}")
    for kind, count in kinds.most_common():
        print(f"{count:>9}  {kind}")
    return EXIT_GOOD


if __name__ == "__main__":
    sys.exit(main())

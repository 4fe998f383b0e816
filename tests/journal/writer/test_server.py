"""The journal writer's doors: each peer its own kinds, bounds for everything, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
import os
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from journal.gate import Gate, until
from journal.writing import LOG_KEY, OPEN_PEERS, ORIGIN, SIGNER, WITNESS, BarePeer, Writing, cosigned, writing

from trade_core.errors import ConfigurationError
from trade_journal.log.checkpoint import Checkpoint, cosign, read_checkpoint, sign_checkpoint
from trade_journal.log.note import parse_note
from trade_journal.log.rows import RowKind
from trade_journal.writer import server as server_module
from trade_journal.writer.frames import (
    REQUEST_BYTES_MAX,
    Append,
    AskCheckpoint,
    AskRows,
    AskSigned,
    Failed,
    Fate,
    FoundRows,
    Hello,
    KeepCosigned,
    SignedNote,
    Status,
    TurnedAway,
    WasSigned,
    Welcome,
    WireRow,
    Written,
)
from trade_journal.writer.peers import CONNECTIONS_BY_PEER, KINDS_BY_PEER, Peer


@pytest_asyncio.fixture
async def there(tmp_path: Path) -> AsyncIterator[Writing]:
    """A running journal writer."""
    async with writing(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(autouse=True)
async def peers_closed() -> AsyncIterator[None]:
    """Close what a test has opened."""
    yield
    for peer in OPEN_PEERS:
        peer.close()
    await asyncio.sleep(0)
    OPEN_PEERS.clear()


def row(kind: str = "order:intent", **changed: Any) -> WireRow:
    content = {"at_ns": 1, "kind": kind, "fields": {"number": 1}, "policy_hash": None, **changed}
    return WireRow(**content)


def append(number: int, *rows: WireRow, is_urgent: bool = True) -> Append:
    return Append(number=number, is_urgent=is_urgent, rows=list(rows) or [row()])


async def gateway(there: Writing) -> BarePeer:
    return await BarePeer.welcomed(there.socket(Peer.GATEWAY))


async def test_rows_are_written_in_order_with_the_actor_of_the_socket(there: Writing) -> None:
    peers = {peer: await BarePeer.welcomed(there.socket(peer)) for peer in Peer}
    peers[Peer.GATEWAY].say(append(1), append(2, row(), row()), append(3, is_urgent=False))
    pairs: list[tuple[int, int]] = []
    while len(pairs) < 3:
        pairs += (await peers[Peer.GATEWAY].hear(Written)).pairs
    assert [tuple(pair) for pair in pairs] == [(1, 0), (2, 1), (3, 3)]
    peers[Peer.SHIM].say(append(1, row("swing_trade:opened")))
    assert [tuple(pair) for pair in (await peers[Peer.SHIM].hear(Written)).pairs] == [(1, 4)]
    assert [one.actor for one in await there.writer.read(0, 10)] == ["gateway"] * 4 + ["shim"]


@pytest.mark.parametrize("peer", Peer)
async def test_every_kind_of_another_is_refused_by_name_and_the_connection_goes_on(there: Writing, peer: Peer) -> None:
    bare = await BarePeer.welcomed(there.socket(peer))
    foreign = [kind for kind in RowKind if kind not in KINDS_BY_PEER[peer]]
    for number, kind in enumerate(foreign):
        bare.say(append(number, row(kind.value)))
        failed = await bare.hear(Failed)
        assert (failed.number, failed.is_refused, failed.is_doubtful) == (number, True, False)
        assert failed.said == f"{kind.value}: not a kind that {peer.value} may write"
    own = next(iter(KINDS_BY_PEER[peer]))
    bare.say(append(1000, row(own.value)))
    assert (await bare.hear(Written)).pairs == [(1000, 0)]


async def test_a_group_with_one_row_of_another_kind_is_refused_whole(there: Writing) -> None:
    bare = await gateway(there)
    bare.say(append(1, row(), row("swing_trade:lesson")))
    assert (await bare.hear(Failed)).is_refused
    bare.say(append(2))
    assert (await bare.hear(Written)).pairs == [(2, 0)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "order:invented"}, "no such kind"),
        ({"kind": ""}, "no such kind"),
        ({"fields": {"price": 1.5}}, "price: a float has no place in a row"),
        ({"fields": {"Upper": 1}}, "a field name is not"),
        ({"fields": {"a": "x" * 600}}, "600 characters; at most 512"),
        ({"fields": {"a": {"b": {"c": 1}}}}, "has no place in a row"),
        ({"fields": {"a": b"bytes"}}, "has no place in a row"),
        ({"fields": {f"a{number}": 1 for number in range(65)}}, "65 fields; at most 64"),
        ({"fields": {f"a{number}": "é" * 500 for number in range(60)}}, "bytes; at most 8192"),
        ({"fields": {"big": 2**53}}, "integer beyond 2"),
        ({"at_ns": 2**63}, "beyond 2"),
        ({"policy_hash": "xyz"}, "policy_hash is not"),
    ],
)
async def test_row_of_a_bad_shape_is_refused_alone(there: Writing, changed: dict[str, Any], said: str) -> None:
    bare = await gateway(there)
    bare.say(append(1), append(2, row(**changed)), append(3))
    failed = await bare.hear(Failed)
    assert (failed.number, failed.is_refused) == (2, True)
    assert said in failed.said
    await until(lambda: there.writer.size == 2)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", REQUEST_BYTES_MAX + 1),
        struct.pack(">I", 0),
        struct.pack(">I", 1) + b"\xc1",
        struct.pack(">I", 5) + b"hello",
        b"GET / HTTP/1.1\r\n\r\n",
        b"".join(struct.pack(">I", len(body)) + body for body in [msgspec.msgpack.encode(["update", 0, "x"])]),
    ],
)
async def test_bytes_that_are_no_frame_end_the_connection_and_lose_no_row_before_them(
    there: Writing, data: bytes
) -> None:
    bare = await gateway(there)
    bare.say(append(1))
    bare.writer.write(data)
    assert (await bare.hear(TurnedAway)).is_final
    assert await bare.is_cut_off()
    await until(lambda: there.writer.size == 1)
    again = await gateway(there)
    again.say(append(1))
    assert (await again.hear(Written)).pairs == [(1, 1)]


async def test_first_frame_must_be_hello_and_the_only_one(there: Writing) -> None:
    for said in ([append(1)], [Hello(version=1, origin=ORIGIN)] * 2):
        bare = await BarePeer.connect(there.socket(Peer.GATEWAY))
        bare.say(*said)
        assert (await bare.hear(TurnedAway)).is_final
        assert await bare.is_cut_off()
    assert there.writer.size == 0


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (Hello(version=2, origin=ORIGIN), "this writer speaks 1"),
        (Hello(version=1, origin="trade/simulated/9/gateway"), f"this is the journal of {ORIGIN}"),
    ],
)
async def test_peer_of_another_protocol_or_journal_is_turned_away_for_good(
    there: Writing, hello: Hello, said: str
) -> None:
    bare = await BarePeer.connect(there.socket(Peer.GATEWAY))
    bare.say(hello)
    turned = await bare.hear(TurnedAway)
    assert turned.is_final
    assert said in turned.reason


async def test_second_gateway_is_told_which_process_is_there_and_comes_in_when_it_is_gone(there: Writing) -> None:
    first = await gateway(there)
    second = await BarePeer.connect(there.socket(Peer.GATEWAY))
    turned = await second.hear(TurnedAway)
    assert (turned.is_final, f"another gateway is connected (process {os.getpid()})" in turned.reason) == (False, True)
    first.close()
    await asyncio.sleep(0.05)
    third = await gateway(there)
    third.say(append(1))
    assert (await third.hear(Written)).pairs == [(1, 0)]


async def test_hundred_connections_are_bounded_and_the_first_ones_go_on(there: Writing) -> None:
    shims = [await BarePeer.welcomed(there.socket(Peer.SHIM)) for _ in range(CONNECTIONS_BY_PEER[Peer.SHIM])]
    crowd = [await BarePeer.connect(there.socket(Peer.SHIM)) for _ in range(100)]
    for one in crowd:
        assert "another shim is connected" in (await one.hear(TurnedAway)).reason
        assert await one.is_cut_off()
    for number, shim in enumerate(shims):
        shim.say(append(number, row("swing_trade:lesson")))
        assert (await shim.hear(Written)).pairs == [(number, number)]
    there_too = await gateway(there)  # the room of others is not theirs
    there_too.say(append(1))
    assert (await there_too.hear(Written)).pairs == [(1, len(shims))]


async def test_connection_without_a_hello_is_cut_off(there: Writing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HELLO_WITHIN_S", 0.05)
    silent = await BarePeer.connect(there.socket(Peer.GATEWAY))
    assert await silent.is_cut_off()
    await gateway(there)


@pytest.mark.parametrize(("reads_within_s", "is_cut_off"), [(3600, False), (0.5, True)])
async def test_peer_that_never_reads_holds_nobody_up_and_is_cut_off(
    there: Writing, monkeypatch: pytest.MonkeyPatch, *, reads_within_s: float, is_cut_off: bool
) -> None:
    monkeypatch.setattr(server_module, "READS_WITHIN_S", reads_within_s)
    deaf = await BarePeer.connect(there.socket(Peer.SHIM))
    deaf.say(Hello(version=1, origin=ORIGIN))
    honest = await gateway(there)
    for number in range(400):
        honest.say(append(number, row(fields={"text": "x" * 500})))
    await until(lambda: there.writer.size == 400)
    deaf_socket = deaf.writer.get_extra_info("socket")
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for number in range(2000):
        deaf.say(AskRows(number=number, from_seq=0, limit=400))
    await asyncio.sleep(0.2)
    for number in range(20):
        honest.say(append(1000 + number))
        while not any(pair[0] == 1000 + number for pair in (await honest.hear(Written)).pairs):
            pass
    (room,) = (room for room in there.server._rooms if room.door.peer is Peer.SHIM)
    if is_cut_off:
        await until(lambda: not room.connections)
    else:
        assert room.connections
    assert deaf_socket is not None


async def test_questions_are_bounded_for_each_connection(there: Writing) -> None:
    bare = await gateway(there)
    bare.say(*[AskRows(number=number, from_seq=0, limit=10) for number in range(100)])
    answered, refused = set(), set()
    while len(answered) + len(refused) < 100:
        answer = await bare.hear((FoundRows, Failed))  # type: ignore[arg-type]
        (answered if isinstance(answer, FoundRows) else refused).add(answer.number)
    assert len(answered) >= server_module.QUESTIONS_MAX
    assert refused


async def test_rows_in_flight_are_bounded_for_each_peer(
    there: Writing, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "PENDING_ROWS_BY_PEER", {Peer.GATEWAY: 100, Peer.SHIM: 10})
    gate.is_open.clear()
    shim = await BarePeer.welcomed(there.socket(Peer.SHIM))
    shim.say(*[append(number, row("swing_trade:lesson")) for number in range(30)])
    full = {(await shim.hear(Failed)).number for _ in range(20)}
    assert full == set(range(10, 30))
    honest = await gateway(there)
    honest.say(append(1))
    gate.is_open.set()
    assert (await honest.hear(Written)).pairs[0][0] == 1


async def test_failed_commit_is_told_with_its_fate_and_nothing_is_kept(there: Writing, gate: Gate) -> None:
    bare = await gateway(there)
    gate.fails_before = 1
    gate.is_open.clear()
    bare.say(append(1), append(2, row("order:outcome"), is_urgent=False))
    await until(lambda: there.writer.pending == 2)  # one that came after the failure would be refused, without a doubt
    gate.is_open.set()
    failed = [await bare.hear(Failed), await bare.hear(Failed)]
    assert {(one.number, one.is_doubtful, one.cause) for one in failed} == {
        (1, True, "sqlite_full"),
        (2, True, "sqlite_full"),
    }
    fates = [await bare.hear(Fate), await bare.hear(Fate)]
    assert {(one.number, one.is_written) for one in fates} == {(1, False), (2, False)}
    await until(lambda: there.writer.is_writable)
    assert [one.kind for one in await there.writer.read(0, 10)] == [RowKind.JOURNAL_RECOVERED]


async def test_peer_that_comes_back_is_let_in_when_what_it_handed_over_has_found_its_end(
    there: Writing, gate: Gate
) -> None:
    first = await gateway(there)
    gate.is_open.clear()
    first.say(append(1), append(2))
    await until(lambda: there.writer.pending > 0)
    first.close()
    await asyncio.sleep(0.05)
    second = await BarePeer.connect(there.socket(Peer.GATEWAY))
    second.say(Hello(version=1, origin=ORIGIN))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await second.hear(Welcome)
    third = BarePeer(second._reader, second.writer)
    gate.is_open.set()
    assert (await third.hear(Welcome)).end == 2


async def test_checkpoints_and_rows_are_given_and_nothing_false_is_kept(there: Writing) -> None:
    bare = await gateway(there)
    bare.say(append(1), AskCheckpoint(number=2))
    note = (await bare.hear(SignedNote)).note
    checkpoint = read_checkpoint(parse_note(note))
    assert checkpoint.size == 1
    bare.say(AskRows(number=3, from_seq=0, limit=10))
    found = (await bare.hear(FoundRows)).rows
    assert [seq for seq, _, _ in found] == [0]
    bare.say(AskSigned(number=4, size=1, root=checkpoint.root), AskSigned(number=5, size=1, root=bytes(32)))
    answers = [await bare.hear(WasSigned), await bare.hear(WasSigned)]
    assert {(one.number, one.is_signed) for one in answers} == {(4, True), (5, False)}
    forged = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=bytes(32), ring_hash=checkpoint.ring_hash), LOG_KEY)
    early = sign_checkpoint(Checkpoint(origin=ORIGIN, size=99, root=bytes(32), ring_hash=checkpoint.ring_hash), LOG_KEY)
    unwitnessed = cosign(parse_note(note), name=WITNESS, private_key=LOG_KEY, at_s=1)
    for false in (b"no note", note, *(cosigned(one.rendered().encode()) for one in (forged, early))):
        bare.say(KeepCosigned(note=false))
    bare.say(KeepCosigned(note=unwitnessed.rendered().encode()))
    await asyncio.sleep(0.3)
    assert (there.writer.witnessed_size, there.writer.is_dead) == (0, False)
    bare.say(KeepCosigned(note=cosigned(note)))
    await until(lambda: there.writer.witnessed_size == 1)
    assert SIGNER.origin == ORIGIN


async def test_status_comes_by_itself_while_nothing_happens(there: Writing) -> None:
    bare = await gateway(there)
    for _ in range(3):
        assert (await bare.hear(Status)).is_writable


async def test_sockets_are_their_owner_s_alone_and_take_the_place_of_old_ones(tmp_path: Path) -> None:
    for _ in range(2):
        async with writing(tmp_path) as there:
            for peer in Peer:
                assert stat.S_IMODE(there.socket(peer).stat().st_mode) == 0o600
    there.socket(Peer.SHIM).unlink()
    there.socket(Peer.SHIM).write_text("a file")
    with pytest.raises(ConfigurationError, match=r"is there and is no socket.*shim_socket"):
        await there.start()
    await there.writer.close()
    assert there.socket(Peer.SHIM).read_text() == "a file"


async def test_other_user_is_turned_away(tmp_path: Path) -> None:
    there = Writing(tmp_path, uid=os.getuid() + 1)
    await there.start()
    bare = await BarePeer.connect(there.socket(Peer.GATEWAY))
    turned = await bare.hear(TurnedAway)
    assert (turned.is_final, turned.reason) == (True, f"user {os.getuid()} may not write as gateway")
    bare.say(Hello(version=1, origin=ORIGIN), append(1))
    assert await bare.is_cut_off()
    assert there.writer.size == 0
    await there.stop()

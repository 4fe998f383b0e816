"""The console as a browser meets it: signing in, the page, its panels, what it hands on, and what it writes down."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from killswitch.console.world import HOSTILE, World, executor_status, gateway_state, held, row, watchdog_state

from trade_killswitch.console.sources import Answer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.watch.look()
    yield made
    await made.client.aclose()


class Tags(HTMLParser):
    """Every tag with its attributes, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


async def page(world: World) -> str:
    answer = await world.client.get("/")
    assert answer.status_code == 200
    return answer.text


async def test_stranger_is_led_to_sign_in_and_sees_nothing(world: World) -> None:
    answer = await world.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert (await world.client.get("/panels")).status_code == 401
    for path in ("/act/halt", "/act/sweep"):
        assert (await world.post(path, {"reason": "x"})).status_code == 401
    assert (await world.post("/act/acknowledge", {"at": "watchdog", "subject": "rung:daily"})).status_code == 401
    assert world.gateway.told("/halt") == []


async def test_code_opens_a_session_in_a_cookie_that_scripts_and_other_sites_do_not_get(world: World) -> None:
    code = world.codes.issue()
    answer = await world.post("/sign-in", {"code": code})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("trade_console_22007=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "ACTIVE" in await page(world)
    assert (await world.post("/sign-in", {"code": code})).status_code == 403


async def test_wrong_code_is_refused_written_down_and_counted(world: World) -> None:
    world.codes.issue()
    answer = await world.post("/sign-in", {"code": "00000-00000"}, **{"user-agent": "curl"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    (written,) = world.rows()
    assert written["kind"] == "console:refused"
    assert (written["session"], written["browser"]) == ("nobody", "curl")
    assert world.metrics.registry.get_sample_value("trade_console_sign_ins_total", {"result": "refused"}) == 1


async def test_codes_without_a_code_fill_no_journal(world: World) -> None:
    for _ in range(20):
        assert (await world.post("/sign-in", {"code": "00000-00000"})).status_code == 403
    assert world.rows() == []


async def test_signing_in_and_acting_are_written_down_with_who_and_from_where(world: World) -> None:
    await world.sign_in()
    answer = await world.post("/act/halt", {"reason": "it looks wrong"}, **{"user-agent": "a browser"})
    assert answer.json() == {"said": "the gateway is HALTED; 1 requests were on the wire already"}
    signed_in, acted = world.rows()
    assert signed_in["kind"] == "console:signed_in"
    session = signed_in["session"]
    assert acted == {
        "kind": "console:acted",
        "session": session,
        "address": "127.0.0.1",
        "browser": "a browser",
        "action": "halt",
        "shown": f"console, {session}: it looks wrong",
        "result": "the gateway is HALTED; 1 requests were on the wire already",
    }
    assert world.gateway.told("/halt") == [{"reason": f"console, {session}: it looks wrong"}]


async def test_signing_out_ends_the_session(world: World) -> None:
    await world.sign_in()
    token = dict(world.client.cookies)
    assert (await world.post("/sign-out", {})).status_code == 200
    world.client.cookies.update(token)
    assert (await world.client.get("/panels")).status_code == 401
    signed_in, signed_out = world.rows()
    assert (signed_out["action"], signed_out["session"]) == ("sign_out", signed_in["session"])
    await world.post("/sign-out", {})
    assert len(world.rows()) == 2  # nobody's sign-out fills no journal


async def test_wrong_codes_lock_nobody_out_and_are_counted_in_few_rows(world: World) -> None:
    code = world.codes.issue()
    for _ in range(40):
        assert (await world.post("/sign-in", {"code": "0000-0000-0000"})).status_code == 403
    assert len(world.rows()) == 5
    assert (await world.post("/sign-in", {"code": code})).status_code == 200


async def test_halt_goes_on_although_nothing_can_be_written_down_and_says_so(world: World) -> None:
    await world.sign_in()
    world.executor.is_up = False
    answer = await world.post("/act/halt", {"reason": "x"})
    assert answer.status_code == 200
    assert "could not take a row" in answer.json()["said"]
    assert world.metrics.registry.get_sample_value("trade_console_rows_lost_total") == 1


async def test_halt_that_no_gateway_takes_says_that_it_may_have_been_done(world: World) -> None:
    await world.sign_in()
    world.gateway.is_up = False
    answer = await world.post("/act/halt", {"reason": "x"})
    assert answer.status_code == 502
    assert "may have been done" in answer.json()["detail"]
    assert world.rows()[-1]["result"] == answer.json()["detail"]


async def test_refusal_of_a_service_is_told_in_its_words_and_neutralised(world: World) -> None:
    await world.sign_in()
    world.watchdog.answers["/ack"] = Answer(
        status=409, body=json.dumps({"detail": "waits \u202efor\x1b[0m nothing"}).encode()
    )
    answer = await world.post("/act/acknowledge", {"at": "watchdog", "subject": "rung:daily"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "the watchdog refuses (HTTP 409): waits \\u202efor\\x1b[0m nothing"


async def test_sweep_and_acknowledgements_reach_their_services(world: World) -> None:
    await world.sign_in()
    session = world.rows()[0]["session"]
    assert "a sweep has begun" in (await world.post("/act/sweep", {"reason": "x"})).json()["said"]
    await world.post("/act/acknowledge", {"at": "watchdog", "subject": "rung:daily"})
    await world.post("/act/acknowledge", {"at": "executor", "subject": "sweep:pending"})
    assert world.executor.told("/sweep") == [{"reason": f"console, {session}: x"}]
    assert world.watchdog.told("/ack") == [{"subject": "rung:daily", "by": session}]
    assert world.executor.told("/ack") == [{"subject": "sweep:pending"}]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/act/halt", {}),
        ("/act/halt", {"reason": ""}),
        ("/act/halt", {"reason": "x" * 151}),
        ("/act/halt", {"reason": 1}),
        ("/act/halt", {"reason": "x", "more": 1}),
        ("/act/halt", []),
        ("/act/acknowledge", {"at": "gateway", "subject": "x"}),
        ("/act/acknowledge", {"at": "watchdog", "subject": "a b"}),
        ("/sign-in", {"code": "x" * 41}),
    ],
)
async def test_body_that_says_nothing_or_too_much_is_refused_without_its_content(
    world: World, path: str, content: Any
) -> None:
    await world.sign_in()
    before = len(world.gateway.asked)
    answer = await world.post(path, content)
    assert answer.status_code == 422
    assert "xxxx" not in answer.text
    assert len(world.gateway.asked) == before


async def test_page_shows_everything_that_a_tired_person_needs(world: World) -> None:
    world.gateway.rows = [
        row(0, "order:denied", code="LIMIT_TURNOVER", symbol="BTCUSDT"),
        row(1, "incident:opened", type="stop_denied", severity="high", symbol="ETHUSDT"),
        row(2, "swing_trade:closed", trade_id="7", pair="BTC/USDT", profit="-3.1"),
    ]
    world.gateway.answers["/state"] = held("HALTED", "the monthly rung fired")
    world.watchdog.answers["/state"] = watchdog_state(
        rungs={**watchdog_state()["rungs"], "daily": {**watchdog_state()["rungs"]["daily"], "stage": "fired"}},
        incidents={
            "open": 1,
            "newest": [{"row": 41, "at_ns": 1, "kind": "rogue", "severity": "critical", "detail": "order=<b>"}],
        },
    )
    world.executor.answers["/status"] = executor_status(unacknowledged=["kill:drawdown"])
    await world.watch.look()
    await world.sign_in()
    shown = await page(world)
    for words in (
        "Only exits and cancels pass until a security key is touched, because latched: the monthly rung fired.",
        "1 s old",
        "4,000.50 USDT",
        "1,999 of 2,000",
        "LIMIT_TURNOVER",
        "It could exceed the budget.",
        "Incident: stop_denied (high)",
        "Incident: rogue (critical)",
        "order=&lt;b&gt;",
        "trade-watchdog mitigated 41",
        "Lesson owed: trade 7",
        "Review: the fall over 24 hours passed 5.00 %",
        "<h2>Waits for a person: ",
        '<td>kill</td><td class="mark">not fired</td>',
        '<td>review</td><td class="mark">fired</td>',
        "The kill executor calls: kill:drawdown",
        "cccccccccccc over 3 rows",
        "2 rows, 1 wait for the witness",
        "not armed: nobody armed it",
        "123.40 USDT (3.1 %)",
        "orderk..., trades, made 10 days ago, ends in 80 days",
        "watchk..., reads, made at an unknown time",
    ):
        assert words in shown, words
    assert 'class="curve"' in shown


async def test_page_works_without_the_others_and_says_since_when(world: World) -> None:
    for service in (world.gateway, world.watchdog, world.executor):
        service.is_up = False
    await world.watch.look()
    await world.sign_in()
    shown = await page(world)
    assert (
        "Nobody can say how the gateway stands: the gateway does not answer (ConnectError). It was ACTIVE then."
        in shown
    )
    for name in ("the gateway", "the watchdog", "the kill executor"):
        assert f"Cannot be read since 22:15:00 UTC: {name} does not answer (ConnectError)" in shown


async def test_page_of_a_console_that_never_read_anything_is_served(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ring_file.unlink()
    await world.sign_in()
    shown = await page(world)
    assert "not read yet" in shown
    assert "Key ring" in shown


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_from_every_corner_is_shown_as_text(world: World, hostile: str) -> None:
    world.gateway.rows = [
        row(0, "order:denied", code=hostile, symbol=hostile, detail=hostile),
        row(1, "incident:opened", type=hostile, severity=hostile, detail=hostile),
        row(2, "swing_trade:closed", trade_id=hostile, pair=hostile),
        row(3, "state:changed", holder=hostile, ceiling=hostile, reason=hostile),
    ]
    state = held("HALTED", hostile)
    state["limits"][hostile] = {"value": "1.00", "use": "0.50"}
    state["release_pending"] = {"words": hostile, "in_s": 3.0}
    state["account_view"] = {"is_trusted": False, "reason": hostile}
    state["journal"]["root"] = hostile
    state["journal"]["size"] = 4
    state |= {"environment": hostile, "account": hostile, "policy_hash": hostile}
    world.gateway.answers["/state"] = state
    world.gateway.answers["/deny-codes"] = {hostile: {"meaning": hostile, "remedy": hostile}}
    seen = watchdog_state(ceiling=hostile, reason=hostile, lease={"result": hostile, "detail": hostile})
    seen["audit"]["key_alarms"] = [{"alarm": hostile, "key": hostile, "detail": hostile}]
    seen["rungs"][hostile] = {**seen["rungs"]["daily"], "stage": hostile, "effect": hostile}
    seen["actions"] = {hostile: {"failure": hostile}}
    world.watchdog.answers["/state"] = seen
    world.executor.answers["/status"] = executor_status(
        exit_key=hostile, armed={"is_armed": False, "reason": hostile}, unacknowledged=[hostile]
    )
    await world.watch.look()
    await world.sign_in()
    shown = await page(world)
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert max(len(line) for line in shown.splitlines()) < 60_000
    tags = Tags()
    tags.feed(shown)
    clean = Tags()
    other = World(world.folder)
    await other.watch.look()
    await other.sign_in()
    clean.feed(await page(other))
    known = {tag for tag, _ in clean.seen} | {
        "li",
        "ul",
        "form",
        "input",
        "time",
        "b",
        "h3",
        "p",
        "svg",
        "path",
        "circle",
        "text",
        "line",
    }
    assert {tag for tag, _ in tags.seen} <= known
    for tag, attributes in tags.seen:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        if tag == "script":
            assert attributes["src"] == "/static/console.js"
        if tag in {"a", "link", "img"} or "data-act" in attributes:
            target = attributes.get("href") or attributes.get("src") or attributes.get("data-act")
            assert target is not None
            assert target.startswith(("/", "#"))


async def test_page_asks_nothing_of_others_and_holds_no_script_or_style(world: World) -> None:
    await world.sign_in()
    for text in (await page(world), (await world.client.get("/sign-in")).text):
        tags = Tags()
        tags.feed(text)
        assert [attributes for tag, attributes in tags.seen if tag == "script"] == [
            {"src": "/static/console.js", "defer": None}
        ]
        assert "style" not in {tag for tag, _ in tags.seen}
        assert "http://" not in text
        assert "https://" not in text


async def test_panels_are_those_of_the_page(world: World) -> None:
    await world.sign_in()
    panels = (await world.client.get("/panels")).text.strip()
    assert panels in await page(world)


async def test_static_files_are_those_of_the_list(world: World) -> None:
    for name, kind in (("console.js", "text/javascript"), ("console.css", "text/css"), ("icon.svg", "image/svg+xml")):
        answer = await world.client.get(f"/static/{name}")
        assert answer.headers["content-type"].startswith(kind)
        assert "no-store" in answer.headers["cache-control"]
    for name in ("..%2fapp.py", "%2e%2e/app.py", "nothing", "app.py"):
        assert (await world.client.get(f"/static/{name}")).status_code == 404


async def test_probes_need_no_session_and_bring_the_executor_s_metrics(world: World) -> None:
    assert (await world.client.get("/healthz")).json() == {"status": "alive", "executor": "alive"}
    text = (await world.client.get("/metrics")).text
    assert "trade_executor_sweep_running 0.0" in text
    assert 'trade_console_source_read{source="kill_executor"} 1.0' in text
    world.executor.is_up = False
    await world.watch.look()
    assert (await world.client.get("/healthz")).json()["executor"] == "unavailable"
    assert "trade_executor" not in (await world.client.get("/metrics")).text


async def test_what_is_announced_stands_on_top(world: World) -> None:
    world.gateway.answers["/state"] = gateway_state(
        release_pending={"words": "release HALTED", "in_s": 41.2},
        policy={"release_pending": {"words": "a looser policy", "in_s": 3.0}},
    )
    await world.watch.look()
    await world.sign_in()
    shown = await page(world)
    assert "Announced, takes effect in 41 s unless something halts: release HALTED" in shown
    assert "a looser policy" in shown


async def test_what_no_channel_has_taken_yet_says_so(world: World) -> None:
    pending = {"words": "release HALTED", "in_s": None, "waits_for": "no channel"}
    world.gateway.answers["/state"] = gateway_state(release_pending=pending)
    await world.watch.look()
    await world.sign_in()
    shown = await page(world)
    assert "takes effect a minute after a channel of alerts has taken it, which none has, unless" in shown


@pytest.mark.parametrize(
    ("is_drill", "is_running", "is_told"), [(True, False, True), (True, True, False), (False, False, False)]
)
async def test_drill_that_is_over_says_how_trading_goes_on(
    world: World, is_drill: bool, is_running: bool, is_told: bool
) -> None:
    one = {"kill_id": "1" * 16, "is_drill": is_drill, "verdict": "complete", "in_words": "proved", "steps": []}
    kill = {"running": one, "last": None} if is_running else {"running": None, "last": one}
    world.executor.answers["/status"] = executor_status(kill=kill)
    await world.watch.look()
    await world.sign_in()
    shown = await page(world)
    assert "1" * 16 in shown
    assert ("leaves the gateway HALTED, not KILLED: new keys and a release by one key" in shown) is is_told

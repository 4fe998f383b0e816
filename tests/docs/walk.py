"""The way of a new user through README and pages: which of the printed commands is run when, and what it must say.

Every line of the pages' shell blocks stands in `WALK`, in the order in which it is run, or in `NOT_WALKED`, with the
reason. `tests/integration/test_pages.py` runs them. What a page prints otherwise fails a test: it would be a command
that nobody has tried.
"""

from __future__ import annotations

from dataclasses import dataclass

KILL = "trade-kill --revoke --config executor.toml"
ARM = "trade-kill --arm 30 --config executor.toml"
DISARM = "trade-kill --disarm --config executor.toml"
DRILL = "trade-kill --drill --config executor.toml"
VIRTUAL_KEY = "trade-gateway virtual-key --config gateway.toml"
WATCHDOG_DOCTOR = "trade-watchdog doctor --config watchdog.toml"
STATUS = "trade-kill --status --config executor.toml"
RELEASE = "trade-gateway release --config gateway.toml"
RELEASE_AFTER_A_KILL = (
    f'{RELEASE} --draft draft --reason "what was wrong and why it is safe again" '
    '--decision "what was decided about the ladder" --drill 0123456789abcdef --exit-key 10000009'
)
KEY = "trade-security-key sign"
JOURNAL = ".venv/journal/bin/trade-journal"
SITE = "--journal gateway.db --keys public-keys.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command as it is printed: its exit code, and what it says on its terminal.

    `then` is a trading state that the gateway must come to afterwards. `is_printed` is False for a line that the pages
    give in words.
    """

    line: str
    code: int = 0
    says: tuple[str, ...] = ()
    then: str = ""
    is_printed: bool = True


WALK = (
    # Before anything is enrolled.
    Step(line=STATUS, says=("NOT armed", "exit key verified", "there has been no kill")),
    Step(line=KILL, code=5, says=("nothing was signed", "enrol one first")),
    Step(
        line="trade-security-key enrol --describe demo.json blue.key green.key",
        says=('"enrolled":["blue","green"]', '"at":["gateway","watchdog","executor"]'),
        then="ACTIVE",
    ),
    Step(
        line="trade-gateway doctor --config gateway.toml --executor-socket executor.sock",
        says=("2 enrolled: blue, green", "order key: may trade, and nothing else", " 0 wrong"),
    ),
    Step(line=WATCHDOG_DOCTOR, says=("watch key: reads, and nothing else", "each another", " 0 wrong")),
    Step(
        line="trade-gateway doctor --config gateway.toml --bot-user freqtrade --alerts alerts.json "
        "--executor-socket executor.sock",
        code=1,
        says=("there is no user freqtrade", "alerts.json"),  # the demo has neither
    ),
    Step(line="trade-console code --config console.toml", says=("Enter it at http://localhost:",)),
    # Armed, and no longer.
    Step(line=ARM, code=5, says=("It lapses on", "nothing was signed")),
    Step(line=f"{ARM} --out draft", says=("wrote draft", "within five minutes")),
    Step(line=f"{KEY} draft --file blue.key --ring ring.json > signed"),
    Step(line=f"{ARM} --signed signed", says=("an automatic kill is armed until",)),
    Step(line=STATUS, says=("an automatic kill is armed until",)),
    Step(line=DISARM, code=5, says=("DISARM", "nothing was signed")),
    Step(line=f"{DISARM} --out draft", is_printed=False),
    Step(line=f"{KEY} draft --file blue.key --ring ring.json > signed"),
    Step(line=f"{DISARM} --signed signed", says=("NOT armed",), is_printed=False),
    # Halted and released; the release takes a minute, in which the rest is looked at.
    Step(
        line='trade-gateway halt --config gateway.toml --reason "why"', says=("the gateway is HALTED",), then="HALTED"
    ),
    Step(line="trade-gateway state --config gateway.toml", says=('"trading_state": "HALTED"', '"reason": "why"')),
    Step(
        line=f'{RELEASE} --draft draft --reason "..." --rebase daily --rebase weekly --rebase monthly',
        says=("re-base the rungs", "daily", "monthly"),
    ),
    Step(
        line=f'{RELEASE} --draft draft --reason "what was wrong and why it is safe again"',
        says=("a security key signs it within 240 s", "held because: why", "why it is safe again"),
    ),
    Step(line=f'{RELEASE} --draft draft --reason "it was a trial"', says=("cause: it was a trial",)),
    Step(line="trade-kill --sign draft --ring ring.json --out signed", code=5, says=("cause: it was a trial",)),
    Step(line=f"{KEY} draft --file blue.key --ring ring.json > signed"),
    Step(line=f"{RELEASE} --warrant signed", says=("announced; it takes effect in 60 s",)),
    Step(line="trade-watchdog ack --config watchdog.toml", code=1, says=("rung:daily waits for no acknowledgement",)),
    Step(
        line='trade-watchdog mitigated 311 "the withdrawal was mine; announced too late" --config watchdog.toml',
        code=1,
        says=("not taken: ", "311"),
    ),
    Step(line="trade-watchdog announcer --config watchdog.toml", code=2, says=("announcer.json: exists already",)),
    Step(
        line="trade-watchdog announce 500 USDT --config watchdog.toml",
        says=("announced: at most 500 USDT within 24 hours",),
    ),
    Step(
        line='curl --unix-socket executor.sock -X POST -H "Content-Type: application/json" '
        '-d \'{"reason": "why"}\' http://executor/sweep',
        says=('"sweep_id"',),
    ),
    Step(
        line="curl --unix-socket executor.sock -X POST -H 'content-type: application/json' "
        '-d \'{"reason":"by hand"}\' http://executor/sweep',
        says=('"sweep_id"',),
    ),
    Step(line="curl --unix-socket executor.sock http://executor/status", says=('"sweep"', '"exit_key"')),
    Step(line=f"trade-journal verify {SITE}", says=("GOOD", "witnessed by")),
    Step(line="trade-journal tail --journal gateway.db --rows 20", says=("release:announced", "it was a trial")),
    Step(line=f"{JOURNAL} verify {SITE}", says=("GOOD", "signed by the log")),
    Step(line=f"{JOURNAL} tail --journal gateway.db --rows 20 --kind order:denied"),
    Step(line=f"{JOURNAL} stats --journal gateway.db", says=("state:changed",)),
    Step(line=f"{JOURNAL} export {SITE} --out journal.zip", says=("rows as bundle", "GOOD")),
    Step(line=f"{JOURNAL} export {SITE} --out rows.jsonl --format jsonl", says=("rows as jsonl", "GOOD")),
    Step(line=f"{JOURNAL} verify --journal journal.zip --keys public-keys.txt", says=("GOOD", "signed by the log")),
    Step(line=f"{JOURNAL} table swing_trades --journal gateway.db"),
    Step(line=f"{JOURNAL} table incidents --journal gateway.db"),
    Step(line="trade-gateway state --config gateway.toml", says=('"trading_state"',), then="ACTIVE"),
    # Killed: the same touch is the same kill.
    Step(line=f"{KILL} --out warrant", says=("wrote warrant", "within five minutes")),
    Step(line=f"{KEY} warrant --file blue.key --ring ring.json > signed"),
    Step(
        line=f"{KILL} --signed signed",
        says=("the exchange refuses the old keys", "complete and proved"),
        then="KILLED",
    ),
    Step(line=f"{KILL} --signed signed", says=("complete and proved",)),
    Step(line="trade-kill --resume --config executor.toml", says=("complete and proved",)),
    Step(line=STATUS, says=("complete and proved",)),
    Step(line=f"{STATUS} --json", says=('"verdict": "complete"', '"is_drill": false'), is_printed=False),
    # Trading again takes new credentials, which `doctor` asks for: with the killed ones nothing is even drafted.
    Step(
        line=f'{RELEASE} --draft draft --reason "it was a trial"',
        code=2,
        says=("--decision, --drill, --exit-key: a release after a kill needs it",),
    ),
    Step(
        line=RELEASE_AFTER_A_KILL,
        code=1,
        says=("not yet: the gateway still uses the order key",),
    ),
    # What two keys signed of a draft from before the kill releases nothing of it.
    Step(line=f"{KEY} draft --file blue.key --file green.key --ring ring.json > signed"),
    Step(line=f"{RELEASE} --warrant signed", code=1, says=("subject is not what it must be here",)),
    Step(
        line="trade-gateway doctor --config gateway.toml --executor-socket executor.sock",
        code=1,
        says=("write the order key there",),
    ),
    Step(line=f"trade-journal verify {SITE}", says=("GOOD",)),
)

_MACHINE = "sets a machine up, as root; tests/ops looks at what it installs"
_DATABASE = "needs a PostgreSQL server; tests/journal runs it against one"
_LOAD = "a load test; run by `make load`"
_SHIM = "needs a bot whose trades are followed; tests/journal/trades runs it"
_LOST = "needs a journal that is lost; tests/integration/test_lost_journal.py loses one"
_SEAL = "writes below /etc; tests/killswitch/test_seal_command.py runs it"

NOT_WALKED = {
    "make demo": "what this test starts is the command behind it",
    "make test": "runs this test",
    "trade-kill --drill  --config executor.toml": "would destroy what is to be killed; run as what follows",
    VIRTUAL_KEY: "follows a kill; tests/integration/test_trading_after_a_kill.py goes on from there",
    "trade-kill --browser --config executor.toml": "opens a browser; tests/killswitch/command/test_cli.py gives it one",
    "trade-kill --sign warrant --ring ring.json --out signed": "takes a key on USB; without one it is walked as draft",
    f'{RELEASE.replace("release", "release --policy")} --draft draft --reason "why"': (
        "needs a looser policy file; tests/integration/test_policy_changes.py writes one"
    ),
    f"{JOURNAL} prove 1234 {SITE} > row.tlog-proof": "the journal of the walk is shorter; the test walks it as row 3",
    f"{JOURNAL} check-proof row.tlog-proof --keys public-keys.txt": "goes with it",
    f"{JOURNAL} verify --journal watchdog.db --keys public-keys.txt": "tests/integration/test_journal_verify.py does",
    f"{JOURNAL} verify --journal executor.db --keys public-keys.txt": "the same",
    f"{JOURNAL} table incidents --journal watchdog.db": "is walked as that of gateway.db",
    f"{JOURNAL} export {SITE} --out days.zip --from 4000 --to 9000": "the journal of the walk is shorter",
    "trade-gateway init --config gateway.toml --watchdog-public watchdog/public.json "
    "--journal-public journal-writer/public.json --capital 4000 --symbols spot:BTCUSDT,spot:ETHUSDT --limits calm "
    "--protective-stops deny --yes": "begins a deployment; the demo did, and tests/gateway/test_cli.py does",
    "trade-gateway public-keys --config gateway.toml --watchdog-public watchdog/public.json "
    "--executor-public executor/public.json": "for an older deployment; tests/gateway/test_public_keys.py makes one",
    "ls -1 gateway.db.segments": "takes a journal of millions of rows; tests/journal/store seals segments",
}
"""Printed lines that the walk leaves out, and why."""

NOT_WALKED_BEGINNINGS = {
    "install -m 644 ops/": _MACHINE,
    "ln -s /opt/trade/": _MACHINE,
    f"{JOURNAL} database init": _DATABASE,
    f'{JOURNAL} verify --keys public-keys.txt --journal "postgresql://': _DATABASE,
    ".venv/load/bin/locust": _LOAD,
    f"{JOURNAL} lesson": _SHIM,
    f"{JOURNAL} mitigated": _SHIM,
    "trade-journal succeed": _LOST,
    "trade-kill-executor seal": _SEAL,
}
"""The same for lines of one kind, by how they begin."""

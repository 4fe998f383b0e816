"""Where a deployment begins, on real processes: what is refused at start, and what becomes of what was there before."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.bot import Bot, resting_order
from integration.stack import PATIENCE_S, Stack, wait_until

from trade_core.trust.keys import load_private_key, new_private_key, public_text
from trade_core.trust.ring import KeyRing, read_ring, ring_hash
from trade_journal.errors import JournalError
from trade_journal.store.store import JournalReader

pytestmark = pytest.mark.slow
ENDS_WITHIN_S = PATIENCE_S


class Deployment:
    """A gateway and its journal writer that were stopped, their files, and their commands."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.command: list[str] = stack.description["processes"]["gateway"]["command"]
        self.environment: dict[str, str] = stack.description["processes"]["gateway"]["env"]
        self.config = Path(self.command[-1])
        settings = tomllib.loads(self.config.read_text())
        self.state = Path(settings["state_dir"])
        self.ring = Path(settings["ring_file"])
        self.writer_command: list[str] = stack.description["processes"]["journal-writer"]["command"]
        writer = tomllib.loads(Path(self.writer_command[-1]).read_text())
        self.journal = Path(writer["journal_url"].removeprefix("sqlite:///"))
        self.journal_public = Path(writer["state_dir"]) / "public.json"

    def refused(self, said: str) -> None:
        """Expect that the gateway, or its journal writer before it, refuses to start, and says why."""
        with writing(self.writer_command, self.environment) as writer:
            if writer.poll() is None:
                ended = subprocess.run(
                    self.command,
                    env=self.environment,
                    capture_output=True,
                    text=True,
                    timeout=ENDS_WITHIN_S,
                    check=False,
                )
                code, told = ended.returncode, ended.stderr
            else:
                assert writer.stderr is not None
                code, told = writer.returncode, writer.stderr.read()
        assert code == 2, told
        assert said in told

    def init(self, watchdog_public: Path) -> subprocess.CompletedProcess[str]:
        """Run `trade-gateway init`."""
        public = ["--watchdog-public", str(watchdog_public), "--journal-public", str(self.journal_public)]
        return subprocess.run(
            [self.command[0], "init", "--config", str(self.config), *public],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN_S,
            check=False,
        )

    def journal_files(self) -> list[Path]:
        """The database and what SQLite keeps beside it."""
        return sorted(self.journal.parent.glob(self.journal.name + "*"))

    def wipe_journal(self) -> None:
        """Remove the journal."""
        for path in self.journal_files():
            path.unlink()

    @contextmanager
    def tampered(self) -> Iterator[None]:
        """Put everything back afterwards."""
        kept = self.stack.folder / "kept"
        files = {path: kept / str(number) for number, path in enumerate([self.state, self.ring, *self.journal_files()])}
        kept.mkdir()
        for path, copy in files.items():
            shutil.copytree(path, copy) if path.is_dir() else shutil.copy2(path, copy)
        try:
            yield
        finally:
            shutil.rmtree(self.state, ignore_errors=True)
            self.ring.unlink(missing_ok=True)
            self.wipe_journal()
            for path, copy in files.items():
                shutil.copytree(copy, path) if copy.is_dir() else shutil.copy2(copy, path)
            shutil.rmtree(kept)


@contextmanager
def writing(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a journal writer, from when it listens or has ended."""
    socket = Path(tomllib.loads(Path(command[-1]).read_text())["gateway_socket"])
    socket.unlink(missing_ok=True)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as writer:
        try:
            wait_until(lambda: socket.exists() or writer.poll() is not None, within_s=ENDS_WITHIN_S, what="a writer")
            yield writer
        finally:
            writer.terminate()


def stop(stack: Stack, name: str) -> None:
    """End one process of the stack in order."""
    stack.kill(name, signal.SIGTERM)
    pid = stack.description["processes"][name]["pid"]
    wait_until(lambda: not is_running(pid), what=f"{name} ended")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment that has traded, with its gateway stopped."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.wait_for_state("ACTIVE")
        stop(stack, "gateway")
        stop(stack, "journal-writer")
        yield Deployment(stack)
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, stopped: Deployment) -> Path:
    """The files of another deployment of the same account, as `init` made them: its ring, identity and settings."""
    folder = tmp_path_factory.mktemp("other")
    settings = tomllib.loads(stopped.config.read_text())
    settings |= {"state_dir": f"{folder}/state", "ring_file": f"{folder}/ring.json"}
    settings |= {"journal_socket": f"{folder}/gateway.sock"}
    (folder / "gateway.toml").write_text(toml(settings))
    writer = {
        "environment": settings["environment"],
        "account": settings["account"],
        "state_dir": f"{folder}/writer",
        "journal_url": f"sqlite:///{folder}/journal.db",
        "ring_file": settings["ring_file"],
        "gateway_socket": settings["journal_socket"],
        "shim_socket": f"{folder}/shim.sock",
    }
    (folder / "journal-writer.toml").write_text(toml(writer))
    public = Path(stopped.stack.folder / "public.json")
    keys = {name: public_text(load_private_key(new_private_key())) for name in ("lease_key", "witness_key", "log_key")}
    public.write_text(json.dumps({**keys, "environment": settings["environment"], "account": settings["account"]}))
    made = [stopped.writer_command[0], "init", "--config", str(folder / "journal-writer.toml")]
    begun = [stopped.command[0], "init", "--config", str(folder / "gateway.toml"), "--watchdog-public", str(public)]
    begun += ["--journal-public", str(folder / "writer" / "public.json")]
    for command in (made, begun):
        ended = subprocess.run(
            command, env=stopped.environment, check=False, timeout=ENDS_WITHIN_S, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
    return folder


def toml(settings: dict[str, Any]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())


def changed_ring(deployment: Deployment, **changed: Any) -> KeyRing:
    content = {**read_ring(deployment.ring).content(), **changed}
    ring = json.dumps(content).encode()
    deployment.ring.write_bytes(ring)
    return read_ring(deployment.ring)


def test_ring_of_another_deployment_is_refused(stopped: Deployment, other: Path) -> None:
    with stopped.tampered():
        shutil.copy2(other / "ring.json", stopped.ring)
        stopped.refused("gateway_key is not that of")  # the journal writer, whose key is another


LATER: dict[str, Any] = {"bootstrap_key": "", "bootstrap_expires_at_ms": 0}
"""What no ring but the first one has."""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (LATER | {"version": 2, "previous_hash": "own"}, "version 2 follows the pinned one, but no warrant orders it"),
        (LATER | {"version": 2, "previous_hash": "f" * 64}, "version 2 does not follow the pinned version 1"),
        (LATER | {"version": 3, "previous_hash": "own"}, "version 3 does not follow the pinned version 1"),
        ({"lease_key": "own"}, "another ring of version 1 than the pinned one"),
    ],
)
def test_ring_that_no_warrant_put_there_is_refused(stopped: Deployment, changed: dict[str, Any], said: str) -> None:
    ring = read_ring(stopped.ring)
    own = {"previous_hash": ring_hash(ring), "lease_key": ring.gateway_key}
    with stopped.tampered():
        changed_ring(stopped, **{name: own[name] if value == "own" else value for name, value in changed.items()})
        stopped.refused(said)


def test_ring_older_than_the_pinned_one_is_refused(stopped: Deployment) -> None:
    with stopped.tampered():
        identity = stopped.state / "identity.json"
        content = json.loads(identity.read_text())
        identity.write_text(json.dumps({**content, "ring_version": 2, "ring_hash": "e" * 64}))
        stopped.refused("version 1 is older than the pinned version 2")


def test_ring_missing_is_refused(stopped: Deployment) -> None:
    with stopped.tampered():
        stopped.ring.unlink()
        stopped.refused("key ring cannot be read")


def test_ring_with_another_baseline_is_refused(stopped: Deployment) -> None:
    with stopped.tampered():
        baseline = read_ring(stopped.ring).baseline.content()
        changed_ring(stopped, baseline={**baseline, "holdings": []})
        stopped.refused("another ring of version 1 than the pinned one")


def test_state_folder_wiped_is_refused_and_so_is_a_new_beginning(stopped: Deployment, other: Path) -> None:
    with stopped.tampered():
        shutil.rmtree(stopped.state)
        stopped.refused("run `trade-gateway init` first")
        again = stopped.init(stopped.stack.folder / "public.json")
        assert again.returncode == 2
        assert "exists already" in again.stderr
        # Whoever removes the ring too can begin a deployment, but not on the journal of the one before it.
        stopped.ring.unlink()
        assert stopped.init(stopped.stack.folder / "public.json").returncode == 0
        stopped.refused("the journal has rows of another deployment")


def test_journal_wiped_is_refused(stopped: Deployment) -> None:
    with stopped.tampered():
        stopped.wipe_journal()
        stopped.refused("it is wiped or elsewhere")


def test_journal_wiped_with_the_memory_of_it_is_refused(stopped: Deployment) -> None:
    with stopped.tampered():
        stopped.wipe_journal()
        (stopped.state / "genesis.json").unlink()
        stopped.refused("the state folder is wiped or foreign")


def test_journal_of_another_deployment_is_refused(stopped: Deployment, other: Path) -> None:
    with stopped.tampered(), swapped(stopped, other):
        # Begun by real processes of that deployment, which fail afterwards: their ports are not the question here.
        stopped.refused("is it the journal of another one?")


@contextmanager
def swapped(stopped: Deployment, other: Path) -> Iterator[None]:
    """Let the other deployment begin a journal, and put it in the place of ours."""
    config = other / "gateway.toml"
    with writing([stopped.writer_command[0], "--config", str(other / "journal-writer.toml")], stopped.environment):
        process = subprocess.Popen(
            [stopped.command[0], "--config", str(config)],
            env=stopped.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: signed_in(other / "journal.db"), what="the other's first checkpoint")
        finally:
            process.terminate()
            process.wait(timeout=ENDS_WITHIN_S)
    stopped.wipe_journal()
    for path in other.glob("journal.db*"):
        shutil.copy2(path, stopped.journal.parent / path.name.replace("journal.db", stopped.journal.name))
    yield


def signed_in(path: Path) -> int:
    """Count the checkpoints of a journal that may not be there yet."""
    reader = JournalReader(f"sqlite:///{path}")
    try:
        return len(reader.checkpoints(0, 10))
    except JournalError:
        return 0
    finally:
        reader.close()


def test_identity_of_another_deployment_is_refused(stopped: Deployment, other: Path) -> None:
    with stopped.tampered():
        shutil.copy2(other / "state" / "identity.json", stopped.state / "identity.json")
        stopped.refused("deployment is not that of")


def test_identity_and_ring_of_another_environment_are_refused(stopped: Deployment) -> None:
    with stopped.tampered():
        ring = changed_ring(stopped, environment="testnet", origins=["https://localhost"])
        identity = stopped.state / "identity.json"
        content = json.loads(identity.read_text())
        identity.write_text(json.dumps({**content, "ring_hash": ring_hash(ring)}))
        stopped.refused("trade/testnet/")


def test_gateway_put_back_as_it_was_starts_again(stopped: Deployment) -> None:
    stopped.stack.restart("journal-writer")
    stopped.stack.restart("gateway")
    stopped.stack.wait_for_state("ACTIVE")
    stop(stopped.stack, "gateway")


def begin_anew(stack: Stack, *, meanwhile: Callable[[], object] = lambda: None) -> Deployment:
    """Begin gateway and watchdog anew, on an account that has a history, as an operator would.

    `meanwhile` is what somebody does to the account while nobody looks.
    """
    for name in ("gateway", "watchdog", "journal-writer"):
        stop(stack, name)
    meanwhile()
    deployment = Deployment(stack)
    shutil.rmtree(deployment.state)
    deployment.ring.unlink()
    deployment.wipe_journal()
    watchdog = stack.description["processes"]["watchdog"]
    config = watchdog["command"][-1]
    state = Path(tomllib.loads(Path(config).read_text())["state_dir"])
    shutil.rmtree(state)
    command = [watchdog["command"][0], "init", "--config", config]
    subprocess.run(command, env=watchdog["env"], check=True, timeout=ENDS_WITHIN_S, capture_output=True)
    made = deployment.init(state / "public.json")
    assert made.returncode == 0, made.stderr
    for name in ("journal-writer", "watchdog", "gateway"):
        stack.restart(name)
    handover = deployment.state / "handover"
    token = json.loads((handover / "operator.json").read_text())["admin_token"]
    stack.admin.headers["Authorization"] = f"Bearer {token}"
    bot = json.loads((handover / "freqtrade.json").read_text())
    stack.gateway |= {"key": bot["key"], "secret": bot["secret"]}
    stack.wait_for_state("ACTIVE")
    return deployment


def at_exchange(stack: Stack) -> dict[str, str]:
    orders: list[dict[str, Any]] = stack.control.get("/state").json()["orders"]
    return {order["orderId"]: order["orderStatus"] for order in orders}


def place_behind_the_back(stack: Stack, symbol: str) -> str:
    order = resting_order(stack, symbol=symbol)
    before = set(at_exchange(stack))
    stack.control.post("/order", json=order).raise_for_status()
    (made,) = set(at_exchange(stack)) - before
    return made


def incidents(stack: Stack) -> set[str]:
    rows = [row["fields"] for row in stack.rows() if row["kind"] == "incident:opened"]
    return {str(fields.get("order_id")) for fields in rows if fields["type"] == "order of others that adds risk"}


def test_what_was_there_before_counts_and_is_left_alone(own_stack: Stack) -> None:
    stack = own_stack
    placed: list[str] = []
    deployment = begin_anew(stack, meanwhile=lambda: placed.append(place_behind_the_back(stack, "ETHUSDT")))
    (before,) = placed
    assert [order.order_id for order in read_ring(deployment.ring).baseline.orders] == [before]
    taken = [row["fields"] for row in stack.rows() if row["kind"] == "baseline:taken"]
    assert (taken[-1]["part"], taken[-1]["order_count"]) == (taken[-1]["parts"], 1)
    assert stack.state()["baseline"]["orders"] == 1

    # The watchdog would have the stranger's order swept away, and every other order with it.
    stack.kill("executor")
    after = place_behind_the_back(stack, "XRPUSDT")
    wait_until(lambda: incidents(stack), what="an incident about the order of others")
    assert incidents(stack) == {after}
    assert stack.state()["limits"]["max_open_orders"]["use"] in (2, "2")

    stack.admin.post("/halt", json={"reason": "test"}).raise_for_status()
    bot = Bot(stack.gateway)
    cancel = {"category": "spot", "symbol": "ETHUSDT", "orderId": before}
    assert bot.post("/v5/order/cancel", cancel)["retCode"] != 0
    bot.close()
    stop(stack, "gateway")
    stack.restart("gateway")
    stack.wait_for_state("HALTED")
    wait_until(lambda: stack.state()["account_view"]["is_trusted"], what="a reading of the account")
    assert at_exchange(stack)[before] == "New"
    assert len([row for row in stack.rows() if row["kind"] == "baseline:taken"]) == len(taken)

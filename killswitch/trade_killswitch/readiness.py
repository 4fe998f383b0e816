"""Could a kill be carried out now? Looked at part by part: every five minutes, and every 15 s while it could not.

Guarantees
- Nothing is changed by looking.
- A key with more power than it needs ends the process, whenever the exchange says so. One that cannot be asked about is
  used all the same: it can only take risk away.
- A part that is not set up, or does not answer, is named; ready is only what was seen to be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from trade_core.bot_hosts.port import BotHost
from trade_core.errors import ConfigurationError, ExchangeAnswerInvalid, ExchangeUnavailable, TradeError
from trade_journal.log.rows import RowKind
from trade_killswitch.exchange import ExitExchange
from trade_killswitch.gateway_halt import GatewayHalt
from trade_killswitch.key_check import excess_of_revoker, excess_power
from trade_killswitch.metrics import ExecutorMetrics
from trade_killswitch.own_samples import READY
from trade_killswitch.recorder import Recorder
from trade_killswitch.revoker import RevokerExchange
from trade_killswitch.secret_store.port import SecretStore

KEY_ASK_FIRST_S: Final = 0.5
KEY_ASK_LAST_S: Final = 5.0
ASK_AGAIN_S: Final = 300.0
NOT_READY_AGAIN_S: Final = 15.0
"""Soon, since whoever wants to arm waits for it: a gateway or a bot that was started later than we were."""
PART_PATIENCE_S: Final = 30.0
VERIFIED: Final = "verified"
NOT_VERIFIED: Final = "not verified yet"
log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Readiness:
    """The parts that a kill needs, and what the last look showed of each."""

    account: str
    exit_key: str
    exchange: ExitExchange
    revoker: RevokerExchange | None
    gateway: GatewayHalt | None
    bot: BotHost | None
    secrets: SecretStore | None
    recorder: Recorder
    metrics: ExecutorMetrics
    own_samples: Callable[[], str]
    """Says whether our own samples can confirm a drawdown: READY, or why not."""
    journal: Callable[[], str] = lambda: READY
    """Says whether nobody else has written to our own journal: READY, or what was found."""
    parts: dict[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    """Every key of the account, as the last look listed them."""

    @property
    def is_ready(self) -> bool:
        """Tell whether every part was seen to be ready at the last look."""
        return bool(self.parts) and all(words == READY for words in self.parts.values())

    @property
    def exit_key_words(self) -> str:
        """Say what is known of the exit key."""
        words = self.parts.get("exit_key", NOT_VERIFIED)
        return VERIFIED if words == READY else words

    async def keep_proving(self) -> None:
        """Look now and again for ever. Raises ConfigurationError for a key that must not be used."""
        pause_s = KEY_ASK_FIRST_S
        while True:
            await self.look()
            are_keys_known = self.parts["exit_key"] == READY and self.parts["revoker_key"] in (READY, _NO_REVOKER)
            most_s = NOT_READY_AGAIN_S if are_keys_known else KEY_ASK_LAST_S
            pause_s = ASK_AGAIN_S if self.is_ready else min(pause_s * 2, most_s)
            await asyncio.sleep(pause_s)

    async def look(self) -> None:
        """Look at every part once. Raises ConfigurationError for a key that must not be used."""
        checks: dict[str, Callable[[], Awaitable[str]]] = {
            "exit_key": self._exit_key,
            "revoker_key": self._revoker_key,
            "gateway": self._gateway,
            "bot": self._bot,
            "secrets": self._secrets,
            "own_samples": self._own_samples,
            "journal": self._journal,
        }
        words = await asyncio.gather(*(self._checked(check) for check in checks.values()))
        for name, said in zip(checks, words, strict=True):
            if said != self.parts.get(name):
                log.log(logging.INFO if said == READY else logging.WARNING, "%s %s", name.replace("_", " "), _log(said))
            self.parts[name] = said
        self.metrics.key_verified.set(self.parts["exit_key"] == READY)
        self.metrics.ready.set(self.is_ready)

    def status(self) -> dict[str, Any]:
        """Say what the last look showed."""
        # A look is up to five minutes old; what somebody did to the journal is known by the second.
        parts = {**self.parts, "journal": self.journal()} if self.parts else {}
        is_ready = self.is_ready and self.journal() == READY
        return {"is_ready": is_ready, "parts": parts, "keys_of_the_account": len(self.keys)}

    async def _checked(self, check: Callable[[], Awaitable[str]]) -> str:
        try:
            async with asyncio.timeout(PART_PATIENCE_S):
                return await check()
        except ConfigurationError:
            raise
        except (ExchangeUnavailable, ExchangeAnswerInvalid) as error:
            return f"not verified: {error}"
        except TradeError as error:
            return f"not ready: {error}"
        except TimeoutError:
            return f"not ready: no answer within {PART_PATIENCE_S:g} s"

    async def _exit_key(self) -> str:
        await self._verify("exit", excess_power(await self.exchange.key_information(), account=self.account))
        if self.parts.get("exit_key") != READY:
            await self.recorder.record(RowKind.KEY_VERIFIED, {"account": self.account, "role": "exit"})
        return READY

    async def _revoker_key(self) -> str:
        if self.revoker is None:
            return _NO_REVOKER
        await self._verify("revoker", excess_of_revoker(await self.revoker.key_information(), account=self.account))
        self.keys = tuple(sorted(one.key for one in await self.revoker.keys()))
        if self.exit_key not in self.keys:
            return "not ready: the account's list of keys does not show the exit key"
        if self.parts.get("revoker_key") != READY:
            await self.recorder.record(RowKind.KEY_VERIFIED, {"account": self.account, "role": "revoker"})
        return READY

    async def _verify(self, role: str, wrong: list[str]) -> None:
        if wrong:
            await self.recorder.record(RowKind.KEY_REFUSED, {"role": role, "why": "; ".join(wrong)[:500]})
            raise ConfigurationError(f"the {role} key is refused: " + "; ".join(wrong))

    async def _gateway(self) -> str:
        if self.gateway is None:
            return "not set up (setting gateway_handover)"
        await self.gateway.look()
        return READY

    async def _bot(self) -> str:
        if self.bot is None:
            return READY  # "none" is a choice of the settings: there is nothing to be ended
        await self.bot.look()
        return READY

    async def _secrets(self) -> str:
        if self.secrets is not None:
            await self.secrets.prove_ready()
        return READY

    async def _own_samples(self) -> str:
        return self.own_samples()

    async def _journal(self) -> str:
        return self.journal()


_NO_REVOKER: Final = "not set up (setting revoker_file)"


def _log(words: str) -> str:
    return VERIFIED if words == READY else words

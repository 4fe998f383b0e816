"""Which exchange a service talks to: the simulated one at an address of the settings, or one whose hosts are constants.

Guarantees
- The environment stands in one word, which is the deployment's and the exchange's; two that differ are refused.
- The simulated exchange is on a loopback address; the hosts of the others cannot be set, and are asked over TLS.

Source of the hosts: Bybit V5 "Integration Guidance", REST and WebSocket base endpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from pydantic import model_validator

from trade_core.setting_types import Environment, LoopbackHttpUrl, LoopbackWebSocketUrl
from trade_core.settings import Settings

SIMULATED: Final = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeHosts:
    """Where an exchange answers requests, and where its streams are; without a path."""

    http: str
    streams: str


HOSTS: Final = {
    "testnet": ExchangeHosts(http="https://api-testnet.bybit.com", streams="wss://stream-testnet.bybit.com"),
    "live": ExchangeHosts(http="https://api.bybit.com", streams="wss://stream.bybit.com"),
}


class ExchangeSettings(Settings):
    """The environment, and the address of a simulated exchange."""

    environment: Environment
    exchange: Environment
    exchange_url: LoopbackHttpUrl | None = None

    @property
    def is_simulated(self) -> bool:
        """Whether nothing real is at stake."""
        return self.environment == SIMULATED

    @property
    def exchange_http(self) -> str:
        """Where requests go."""
        return _given(self.exchange_url) if self.is_simulated else HOSTS[self.environment].http

    @model_validator(mode="after")
    def _exchange_is_that_of_the_environment(self) -> Self:
        if self.exchange != self.environment:
            raise ValueError(f'exchange: is "{self.exchange}" in an environment that is "{self.environment}"')
        return self

    @model_validator(mode="after")
    def _only_a_simulated_exchange_has_an_address(self) -> Self:
        _check_address("exchange_url", self.exchange_url, is_simulated=self.is_simulated)
        return self


class StreamedExchangeSettings(ExchangeSettings):
    """The same, for a service that follows the exchange's streams."""

    exchange_ws_url: LoopbackWebSocketUrl | None = None

    @property
    def exchange_streams(self) -> str:
        """Where streams are."""
        return _given(self.exchange_ws_url) if self.is_simulated else HOSTS[self.environment].streams

    @model_validator(mode="after")
    def _only_simulated_streams_have_an_address(self) -> Self:
        _check_address("exchange_ws_url", self.exchange_ws_url, is_simulated=self.is_simulated)
        return self


def _check_address(name: str, address: str | None, *, is_simulated: bool) -> None:
    if is_simulated and address is None:
        raise ValueError(f"{name}: is missing; a simulated exchange has an address of its own")
    if not is_simulated and address is not None:
        raise ValueError(f"{name}: is given; the hosts of a real exchange are constants")


def _given(address: str | None) -> str:
    if address is None:  # the validator has seen to it
        raise ValueError("a simulated exchange without an address")
    return address

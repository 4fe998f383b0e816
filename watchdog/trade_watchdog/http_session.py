"""HTTP sessions for ccxt, with the bounds that it does not set: time, connections, size of answers, no redirects.

And the pace of its throttle, for each client that has one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, NoReturn

import aiohttp

from trade_core.tls import tls_context

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

THROTTLE: Final = {"delay": 0.02}
"""How many seconds ccxt lets pass before it looks again whether its limit lets the next request go: the time that one
request earns at the exchange. Its own pace of a millisecond took a third of all that the watchdog computes."""

CheckHeaders = Callable[["CIMultiDictProxy[str]"], None]


def bounded_session(
    *, timeout_s: float, connections_max: int, answer_bytes_max: int, check_headers: CheckHeaders | None = None
) -> aiohttp.ClientSession:
    """Open a session inside the running event loop. `check_headers` may raise for the headers of any answer."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)

    async def check(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, parameters: aiohttp.TraceRequestEndParams
    ) -> None:
        if check_headers is not None:
            check_headers(parameters.response.headers)

    tracing.on_request_end.append(check)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections_max, ssl=tls_context()),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        response_class=_response_class(answer_bytes_max),
        trust_env=False,
        trace_configs=[tracing],
    )


def _response_class(answer_bytes_max: int) -> type[aiohttp.ClientResponse]:
    class BoundedResponse(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            if self._body is None:
                body = bytearray()
                async for part in self.content.iter_any():
                    body += part
                    if len(body) > answer_bytes_max:
                        self.close()
                        raise aiohttp.ClientPayloadError(f"the answer is longer than {answer_bytes_max} bytes")
                self._body = bytes(body)
            return await super().read()

    return BoundedResponse


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, _parameters: aiohttp.TraceRequestRedirectParams
) -> NoReturn:
    raise aiohttp.ClientError("the exchange redirects")

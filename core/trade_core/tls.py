"""The one TLS context of a process: reading the certificates of all authorities anew takes 40 ms a client."""

from __future__ import annotations

import functools
import ssl

import httpx


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Verify certificate and host name against the authorities of certifi; the environment can change neither."""
    return httpx.create_ssl_context(verify=True, trust_env=False)

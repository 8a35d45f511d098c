"""Requests prepared by httpx, sent over aiohttp's connections with minimal glue.

It raises aiohttp's own errors, which ``exceptions`` knows: translated into httpx's they would be vaguer.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Literal, NamedTuple

import aiohttp
import httpx


class Prepared(NamedTuple):
    """The parts of a request that recur in others, in the form that aiohttp accepts."""

    method: str
    url: str
    headers: Mapping[str, str]


@lru_cache(maxsize=256)
def prepared(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> Prepared:
    """A request without body and key, parsed by httpx. Cached, since a study uses few addresses and sets of headers,
    and parsing takes as long as sending.

    Raises:
        httpx.InvalidURL: the URL is invalid.
    """
    request = httpx.Request(method, url, headers=headers, stream=httpx.ByteStream(b""))
    return Prepared(request.method, str(request.url), dict(request.headers))


class AiohttpTransport:
    """The connections to one origin, opened on demand. Does not follow redirects or keep cookies."""

    def __init__(self, certificates: ssl.SSLContext | Literal[True], proxy: httpx.Proxy | None) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5.0, ssl=certificates)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        self._proxy = None
        if proxy is not None:  # aiohttp takes the name and password from the URL
            self._proxy = str(proxy.url.copy_with(userinfo=b":".join(proxy.raw_auth)) if proxy.raw_auth else proxy.url)

    def send(
        self, request: Prepared, key: Mapping[str, str], content: bytes, timeout: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a request with its key's headers and its whole body. The caller reads the response's body in the block;
        at its end, the connection is released, or closed if the body was not read completely.
        """
        return self._session.request(
            request.method,
            request.url,
            headers={**request.headers, **key},
            data=content or None,
            allow_redirects=False,
            timeout=timeout,
            proxy=self._proxy,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

"""httpx's requests on aiohttp's connections, with as little between the two as there can be.

Its errors are aiohttp's own, which ``exceptions`` knows: translated into httpx's they would be vaguer.
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
    """What a request has in common with others, as aiohttp takes it."""

    method: str
    url: str
    headers: Mapping[str, str]


@lru_cache(maxsize=256)
def prepared(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> Prepared:
    """A request without body and key, read by httpx. A study asks few addresses with few sets of headers, and to read
    them takes as long as to send them.

    Raises:
        httpx.InvalidURL: the URL is none.
    """
    request = httpx.Request(method, url, headers=headers, stream=httpx.ByteStream(b""))
    return Prepared(request.method, str(request.url), dict(request.headers))


class AiohttpTransport:
    """The connections to one origin, opened when they are needed. Redirects are not followed, no cookies are kept."""

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
        """Send a request with the headers of its key and its whole body. The response's body is still to be read; when
        the block is left, the connection is given back, or closed when not all was read.
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

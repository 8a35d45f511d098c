"""httpx's transport on aiohttp's connections, with as little between the two as there can be.

Its errors are aiohttp's own, which ``exceptions`` knows: translated into httpx's they would be vaguer.
"""

from __future__ import annotations

import ssl
from typing import Literal

import aiohttp
import httpx

_CHUNK = 16 * 1024
"""Bytes that are read, and decompressed, at a time."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """The connections to one origin, opened when they are needed. Redirects are not followed, no cookies are kept.

    A request's ``timeout`` extension is an ``aiohttp.ClientTimeout``.
    """

    def __init__(self, certificates: ssl.SSLContext | Literal[True], proxy: httpx.Proxy | None) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5.0, ssl=certificates)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        self._proxy = None
        if proxy is not None:  # aiohttp takes the name and password from the URL
            self._proxy = str(proxy.url.copy_with(userinfo=b":".join(proxy.raw_auth)) if proxy.raw_auth else proxy.url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request that has its whole body; the response's body is still to be read."""
        response = await self._session.request(
            request.method,
            str(request.url),
            headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
            data=request.content or None,
            allow_redirects=False,
            timeout=request.extensions["timeout"],
            proxy=self._proxy,
        )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Body(httpx.AsyncByteStream):
    """What arrives after the headers."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if chunk := await self._response.content.read(_CHUNK):
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the connection back, or close it when not all was read."""
        self._response.release()
        await self._response.wait_for_close()

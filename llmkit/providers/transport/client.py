"""One HTTP exchange with httpx, on aiohttp underneath.

Imported with the first request only: httpx and aiohttp take a third of a second to load.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from urllib.parse import urlsplit

import anyio
import httpx
from httpx_aiohttp import HttpxAiohttpClient

from llmkit.errors import Code, ValidationError
from llmkit.providers.credentials import origin_of, redact
from llmkit.providers.transport.exceptions import FOREIGN, failure_of
from llmkit.providers.transport.outgoing import Outgoing
from llmkit.records import Failure, HttpResponse

CONNECT_TIMEOUT = 15.0
"""Seconds for finding the host, connecting and the TLS handshake."""

MAX_BODY = 64 * 1024 * 1024
"""Bytes of an answer, decompressed. The longest answers of language models are below one hundredth of it."""


class Client:
    """The connections of one event loop. How many there are is not limited here: the gate does that.

    ``use_proxies``: go through ``HTTPS_PROXY`` and its kin where they are set. Redirects are never followed.
    """

    def __init__(self, *, use_proxies: bool) -> None:
        quiet = logging.getLogger("httpx")
        if quiet.level == logging.NOTSET:  # its INFO line for every request would drown a notebook
            quiet.setLevel(logging.WARNING)
        self._client: httpx.AsyncClient = HttpxAiohttpClient(
            trust_env=use_proxies,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=0, keepalive_expiry=5.0),  # to aiohttp, 0 is no limit and None is 100
            headers={"user-agent": "llmkit"},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def exchange(self, outgoing: Outgoing, *, timeout: float) -> HttpResponse | Failure:
        """Send a request and read the whole answer, in at most ``timeout`` seconds once the connection stands."""
        host, connect = urlsplit(outgoing.url).netloc, min(CONNECT_TIMEOUT, timeout)
        limits = httpx.Timeout(timeout, connect=connect, pool=connect)  # to aiohttp, pool includes finding the host
        try:
            with anyio.fail_after(connect + timeout):  # an answer that trickles in never meets the read timeout
                return await self._exchange(outgoing, host, limits)
        except FOREIGN as error:
            return failure_of(error, host)

    async def _exchange(self, outgoing: Outgoing, host: str, timeout: httpx.Timeout) -> HttpResponse | Failure:
        def add_key(request: httpx.Request) -> httpx.Request:
            if outgoing.key is not None:
                request.headers.update(outgoing.authorize(outgoing.key.reveal()))
            return request

        # Some providers quote the key in their errors; it is taken out before anybody sees or keeps the answer.
        secrets = () if outgoing.key is None or outgoing.is_simulated else (outgoing.key,)
        async with self._client.stream(
            outgoing.method,
            outgoing.url,
            headers=dict(outgoing.headers),
            content=outgoing.content,
            timeout=timeout,
            auth=add_key,
        ) as response:
            if response.is_redirect:
                return _redirected(response.status_code, redact(response.headers.get("location", ""), secrets), host)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY:
                    return _too_long(response, host)
        # A response and its stream hold each other. Undone, both go at once, with the answer's bytes; else thousands of
        # them wait for a garbage collection, which then stops the event loop for a twentieth of a second.
        response.stream = httpx.ByteStream(b"")
        return HttpResponse(
            status=response.status_code,
            headers={name: redact(value, secrets) for name, value in response.headers.items()},
            body=redact(bytes(body), secrets),
            received_at=datetime.now(UTC),
        )


def _too_long(response: httpx.Response, host: str) -> Failure:
    return Failure(
        code=Code.INVALID_RESPONSE,
        message=f"The answer of {host} is longer than {MAX_BODY // 2**20} MiB; the rest was not read.",
        status=response.status_code,
        maybe_billed=True,
    )


def _redirected(status: int, location: str, host: str) -> Failure:
    try:
        target = origin_of(location.partition("?")[0].partition("#")[0])
    except ValidationError:
        target = "another address"
    return Failure(
        code=Code.VALIDATION_ERROR,
        message=(
            f"{host} redirects to {target}. Redirects are not followed, since the key would go with them. "
            "If that is the right address, set it as the provider's base_url."
        ),
        scope="provider",
        status=status,
    )

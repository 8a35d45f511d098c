"""One HTTP exchange, using httpx on top of aiohttp.

Imported only with the first request: httpx and aiohttp take a third of a second to load.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx

from llmkit.errors import Code, ValidationError
from llmkit.providers.credentials import Key, redact
from llmkit.providers.transport.exceptions import FOREIGN, failure_of
from llmkit.providers.transport.long_bodies import apart, one_at_a_time, unpacked
from llmkit.providers.transport.outgoing import Outgoing
from llmkit.providers.wires.values import decode
from llmkit.records import Failure, HttpResponse
from llmkit.records.checks.addresses import is_loopback, origin_of

CONNECT_TIMEOUT = 15.0
"""Seconds for resolving the host, connecting and the TLS handshake."""

MAX_BODY = 16 * 1024 * 1024
"""Maximum bytes of a decompressed answer. The longest answers of language models are below a tenth of it."""


class Client:
    """The connections of one event loop. Their number is not limited here: the gate does that.

    httpx parses requests, and aiohttp sends them: the redirects, cookies and logs of an ``httpx.AsyncClient`` would
    have to be switched off, and cost as much again as sending does. aiohttp's own errors are raised, which
    ``exceptions`` knows: translated into httpx's they would be vaguer.
    """

    def __init__(self) -> None:
        self._certificates: ssl.SSLContext | None = None
        with contextlib.suppress(ValidationError):  # plain http needs none
            self._certificates = _trusted()
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def aclose(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    async def exchange(self, outgoing: Outgoing, *, timeout: float) -> HttpResponse | Failure:
        """Send a request and read the whole answer, within ``timeout`` seconds plus those for connecting."""
        host = urlsplit(outgoing.origin).netloc
        try:
            return await self._exchange(outgoing, host, _limits(timeout))
        except ValidationError as error:
            return Failure(code=error.code, message=str(error), scope="provider")
        except FOREIGN as error:
            return failure_of(error, host)

    async def _exchange(self, outgoing: Outgoing, host: str, limits: aiohttp.ClientTimeout) -> HttpResponse | Failure:
        url, sent = _prepared(outgoing.method, f"{outgoing.origin}/{outgoing.path}", outgoing.headers)
        key = {} if outgoing.key is None else outgoing.authorize(outgoing.key.reveal())
        # Some providers quote the key in their errors; it is removed before anybody sees or stores the answer.
        secrets = () if outgoing.key is None or outgoing.is_simulated else (outgoing.key,)
        body = bytearray()
        async with self._session(outgoing.origin).request(
            outgoing.method,
            url,
            headers={**sent, **key},
            data=outgoing.content or None,
            allow_redirects=False,
            timeout=limits,
        ) as response:
            headers = _told(response, secrets)
            if 300 <= response.status < 400:
                return _redirected(response.status, headers.get("location", ""), host)
            try:
                async for chunk in unpacked(response.content.iter_any(), headers.get("content-encoding", "")):
                    body += chunk
                    if len(body) > (longest := outgoing.longest_reply or MAX_BODY):
                        return _too_long(response.status, host, longest)
            except (aiohttp.ClientError, TimeoutError):
                # a whole object, of whose transfer only the end is missing, is kept: it was paid for
                if outgoing.method == "GET" or not isinstance(await apart(body, decode, body), dict):
                    raise
        received_at = datetime.now(UTC)
        async with one_at_a_time(body):
            content = await apart(body, _redacted, body, secrets)
        return HttpResponse(status=response.status, headers=headers, body=content, received_at=received_at)

    def _session(self, origin: str) -> aiohttp.ClientSession:
        """The connections to an origin, opened on demand."""
        if origin not in self._sessions:
            if self._certificates is None and origin.startswith("https:"):
                self._certificates = _trusted()  # they may have been fixed by now
            # servers on uvicorn (vLLM) or Node close what is idle for 5 s: a request on its way then would be lost
            self._sessions[origin] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0, ssl=self._certificates or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                proxy=_proxy_for(origin),
            )
        return self._sessions[origin]


@lru_cache(maxsize=256)
def _prepared(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> tuple[str, Mapping[str, str]]:
    """A request's URL and its headers without a key, as httpx writes them. Cached, since a study uses few addresses and
    sets of headers, and parsing takes as long as sending.

    Raises:
        httpx.InvalidURL: the URL is invalid.
    """
    request = httpx.Request(method, url, headers=headers, stream=httpx.ByteStream(b""))
    return str(request.url), dict(request.headers)


@lru_cache(maxsize=16)
def _limits(timeout: float) -> aiohttp.ClientTimeout:
    connect = min(CONNECT_TIMEOUT, timeout)  # including resolving the host
    return aiohttp.ClientTimeout(
        total=connect + timeout,  # a limit per read would never stop an answer that trickles in
        connect=connect,
    )


def _redacted(body: bytearray, secrets: tuple[Key, ...]) -> bytes:
    return redact(bytes(body), secrets) if secrets else bytes(body)


def _told(response: aiohttp.ClientResponse, secrets: tuple[Key, ...]) -> dict[str, str]:
    """The headers, without keys; the values of a repeated header are joined by commas."""
    headers: dict[str, str] = {}
    for name, value in response.raw_headers:
        key, text = name.decode("ascii", "replace").lower(), redact(value.decode(errors="replace"), secrets)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _trusted() -> ssl.SSLContext:
    """The trusted certificates.

    Raises:
        ValidationError: those named in the environment cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError:
        raise ValidationError(
            "No secure connection can be made: the file named by SSL_CERT_FILE is missing or has no certificates. "
            "Correct or unset it."
        ) from None


def _proxy_for(origin: str) -> str | None:
    """The proxy from the environment (``HTTPS_PROXY`` etc.); ``None`` for this machine and hosts in ``NO_PROXY``.

    Raises:
        ValidationError: it is not the address of an HTTP proxy.
    """
    parts, proxies = urlsplit(origin), getproxies()
    address = proxies.get(parts.scheme) or proxies.get("all")
    if not address or is_loopback(origin) or proxy_bypass(parts.hostname or ""):
        return None
    address = address if "://" in address else f"http://{address}"
    with contextlib.suppress(httpx.InvalidURL, ValueError):
        url = httpx.URL(address)
        has_port = urlsplit(address).port != 0
        if has_port and url.host and url.scheme in ("http", "https") and ":" not in url.username:
            return str(url)  # with the name and password, if any
    raise ValidationError(
        f"{parts.hostname} cannot be reached: the proxy that {parts.scheme.upper()}_PROXY or ALL_PROXY names is not an "
        "address such as http://proxy.example:8080. Correct or unset it."
    )


def _too_long(status: int, host: str, longest: int) -> Failure:
    return Failure(
        code=Code.INVALID_RESPONSE,
        message=f"The answer from {host} is longer than {longest // 2**20} MiB; the rest was not read.",
        status=status,
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

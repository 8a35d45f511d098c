"""What foreign errors become, and whether the answer may have been billed."""

import asyncio
import re
import socket
import ssl
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import BadStatusLine
from loopback_server import CANARY, ask, serving, speaking

from llmkit.errors import Code
from llmkit.providers import transport
from llmkit.providers.transport.exceptions import FOREIGN, failure_of
from llmkit.records import Failure, Request

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    """The event loop that runs live on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The key of the provider that these tests ask."""
    monkeypatch.setenv("CANARY_KEY", CANARY)


# --- over real connections ---


async def test_a_connection_that_breaks_after_the_request_was_read_may_have_been_billed():
    """The server got everything and may have worked; only the answer is lost."""

    async def handler(request):
        await request.read()
        request.transport.abort()

    async with serving(handler) as url:
        failure = await ask(url)
    assert (failure.code, failure.maybe_billed, failure.retryable) == (Code.NETWORK_ERROR, True, True)


async def test_an_answer_that_ends_early_may_have_been_billed():
    """Fewer bytes than announced are no answer."""

    async def handler(request):
        response = web.StreamResponse(headers={"content-length": "100"})
        await response.prepare(request)
        await response.write(b'{"half')
        request.transport.close()
        return response

    async with serving(handler) as url:
        failure = await ask(url)
    assert (failure.code, failure.maybe_billed) == (Code.NETWORK_ERROR, True)


async def test_a_refused_connection_was_not_billed():
    """Nothing was sent, so asking again is free of risk."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        failure = await ask(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (failure.code, failure.maybe_billed) == (Code.NETWORK_ERROR, False)


async def test_an_answer_that_does_not_come_is_a_timeout_that_may_have_been_billed():
    """The provider goes on working after we have stopped listening."""

    async def handler(request):
        await asyncio.Event().wait()

    async with serving(handler) as url:
        failure = await ask(url, timeout=1)
    assert (failure.code, failure.maybe_billed) == (Code.TIMEOUT, True)


async def test_an_answer_that_trickles_in_is_a_timeout_too():
    """Keep-alive bytes do not keep a request alive for ever."""

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(400):
            await response.write(b"\n")
            await asyncio.sleep(0.005)
        return response

    async with serving(handler) as url:
        failure = await ask(url, timeout=1)
    assert (failure.code, failure.maybe_billed) == (Code.TIMEOUT, True)


async def test_a_connection_that_is_never_accepted_is_a_timeout_that_was_not_billed():
    """A server whose queue is full takes no request."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        queued = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            queued.append(client)
        failure = await ask(f"http://127.0.0.1:{address[1]}", timeout=0.1)
        for client in queued:
            client.close()
    assert (failure.code, failure.maybe_billed) == (Code.TIMEOUT, False)


@pytest.mark.parametrize(
    "reply",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x00",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"",
    ],
)
async def test_what_is_not_http_is_a_network_error(reply):
    """Garbage from a server or a proxy never raises."""
    async with speaking(reply) as address:
        failure = await ask(f"http://{address}")
    assert (failure.code, failure.maybe_billed) == (Code.NETWORK_ERROR, True)
    cut_short = reply == b"" or reply.endswith(b"5\r\nab")
    assert ("broke" if cut_short else "is not HTTP") in failure.message


@pytest.mark.parametrize(
    "sent", [b'content-length: 99\r\n\r\n{"a": 1}', b'transfer-encoding: chunked\r\n\r\n8\r\n{"a": 1}\r\n']
)
async def test_an_answer_that_is_whole_is_kept_though_the_connection_broke_behind_it(sent):
    """It was paid for, and nothing of it is missing; a list or a file of results is simply asked for again."""
    async with speaking(b"HTTP/1.1 200 OK\r\n" + sent) as address:
        answer = await ask(f"http://{address}")
        page = await ask(f"http://{address}", Request(path="/models", method="GET"))
    assert (answer.status, answer.body) == (200, b'{"a": 1}')
    assert page.code == Code.NETWORK_ERROR


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_answer_that_cannot_be_unpacked_is_an_invalid_response(encoding):
    """Its compression does not fit its header."""

    async def handler(request):
        return web.Response(body=b"plain", headers={"content-encoding": encoding})

    async with serving(handler) as url:
        failure = await ask(url)
    assert (failure.code, failure.maybe_billed) == (Code.INVALID_RESPONSE, True)


async def test_a_server_without_tls_gets_no_request():
    """The handshake fails before the key is sent."""
    async with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        failure = await ask(f"https://{address}")
    assert (failure.code, failure.maybe_billed) == (Code.NETWORK_ERROR, False)
    assert "secure" in failure.message


# --- completeness ---


def test_httpx_only_parses():
    """Whoever has it send requests has to map its errors too: of those, only an invalid URL can occur."""
    used = {
        name
        for path in Path(transport.__file__).parent.glob("*.py")
        for name in re.findall(r"\bhttpx\.(\w+)", path.read_text(encoding="utf-8"))
    }
    assert used <= {
        "ByteStream",
        "InvalidURL",
        "URL",
        "Request",
        "create_ssl_context",
        "AsyncClient",
    }  # the last in words
    assert failure_of(httpx.InvalidURL("x"), "host").code is Code.VALIDATION_ERROR


ERRORS = [kind for name in aiohttp.__all__ if isinstance(kind := getattr(aiohttp, name), type)]


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if issubclass(kind, aiohttp.ClientError)])
def test_every_aiohttp_error_is_mapped(kind):
    """A new aiohttp with a new kind of error fails here and not in somebody's run."""
    failure = failure_of(kind.__new__(kind), "host")
    assert isinstance(failure, Failure)
    assert failure.code in {Code.TIMEOUT, Code.NETWORK_ERROR, Code.VALIDATION_ERROR}


KEY = ConnectionKey("host", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "code", "maybe_billed"),
    [
        (aiohttp.ServerDisconnectedError(), Code.NETWORK_ERROR, True),
        (aiohttp.ClientOSError(104, "reset"), Code.NETWORK_ERROR, True),
        (aiohttp.ClientPayloadError("cut"), Code.NETWORK_ERROR, True),
        (aiohttp.SocketTimeoutError(), Code.TIMEOUT, True),
        (aiohttp.ConnectionTimeoutError(), Code.TIMEOUT, False),
        (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), Code.NETWORK_ERROR, False),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "unknown")), Code.NETWORK_ERROR, False),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("bad")), Code.NETWORK_ERROR, False),
        (aiohttp.InvalidURL("x"), Code.VALIDATION_ERROR, False),
        (BadStatusLine("garbage"), Code.NETWORK_ERROR, True),
        (ConnectionResetError(), Code.NETWORK_ERROR, True),
        (ssl.SSLError("handshake"), Code.NETWORK_ERROR, False),
        (socket.gaierror(), Code.NETWORK_ERROR, False),
        (TimeoutError(), Code.TIMEOUT, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_says_whether_the_request_may_have_arrived(error, code, maybe_billed):
    """Only then may it have been billed."""
    assert isinstance(error, FOREIGN)
    failure = failure_of(error, "host")
    assert (failure.code, failure.maybe_billed) == (code, maybe_billed)

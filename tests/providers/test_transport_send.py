"""What is sent, and what comes back, over real connections."""

import asyncio
import contextlib
import gzip
import json
import subprocess
import sys
from pathlib import Path

import anyio
import certifi
import pytest
from aiohttp import web
from loopback_server import CANARY, REQUEST, WIRE, ask, provider, serving, speaking, transport

from llmkit.errors import Code
from llmkit.providers.credentials import Credentials
from llmkit.providers.transport import Transport, client
from llmkit.providers.wires import WIRES
from llmkit.records import HttpResponse, Request

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    """The event loop that runs live on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The key of the provider that these tests ask."""
    monkeypatch.setenv("CANARY_KEY", CANARY)


async def test_a_request_arrives_with_path_body_and_key():
    """The path is appended to the base URL, the body is JSON, the key is in the wire's header."""
    seen = []

    async def handler(request):
        seen.append((request.method, request.path_qs, dict(request.headers), await request.json()))
        return web.json_response({"ok": True}, headers={"X-Request-Id": "r1"})

    async with serving(handler) as url:
        response = await ask(f"{url}/", Request(path="/chat", body={"text": "ü\ud800"}, headers={"x-extra": "1"}))
    ((method, path, headers, body),) = seen
    assert (method, path, body) == ("POST", "/v1/chat", {"text": "ü\ud800"})
    assert headers["Authorization"] == f"Bearer {CANARY}"
    assert (headers["x-extra"], headers["Content-Type"]) == ("1", "application/json")
    assert isinstance(response, HttpResponse)
    assert (response.status, json.loads(response.body)) == (200, {"ok": True})
    assert response.headers["x-request-id"] == "r1"
    assert response.received_at.tzinfo is not None


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500, 529])
async def test_every_status_but_a_redirect_is_left_to_the_wire(status):
    """The transport does not judge answers; the wire reads status, headers and body."""

    async def handler(request):
        return web.Response(status=status, body=b"not json", headers={"retry-after": "7"})

    async with serving(handler) as url:
        response = await ask(url)
    assert (response.status, response.body, response.headers["retry-after"]) == (status, b"not json", "7")


async def test_a_compressed_answer_is_unpacked():
    """What is kept of a reply is readable text."""

    async def handler(request):
        return web.Response(body=gzip.compress(b'{"a": 1}'), headers={"content-encoding": "gzip"})

    async with serving(handler) as url:
        assert (await ask(url)).body == b'{"a": 1}'


async def test_an_answer_compressed_in_several_parts_is_unpacked_whole():
    """gzip may consist of members, as of servers that compress what keeps the connection open, and end in zeros."""
    body = gzip.compress(b"\n") + gzip.compress(b'{"a": 1}') + bytes(8)

    async def handler(request):
        return web.Response(body=body, headers={"content-encoding": "gzip"})

    async with serving(handler) as url:
        assert (await ask(url)).body == b'\n{"a": 1}'


async def test_the_gemini_key_is_in_a_header_and_not_in_the_url():
    """URLs are logged by servers and proxies."""
    seen = []

    async def handler(request):
        seen.append(request)
        return web.json_response({})

    async with serving(handler) as url, transport() as made:
        await made.send(provider(url, wire="gemini"), WIRES["gemini"], WIRES["gemini"].list_models())
    assert seen[0].headers["x-goog-api-key"] == CANARY
    assert CANARY not in str(seen[0].url)


async def test_a_provider_without_key_gets_no_key_header():
    """A local server is asked as it is."""
    seen = []

    async def handler(request):
        seen.append(request.headers)
        return web.json_response({})

    async with serving(handler) as url, transport() as made:
        await made.send(provider(url, api_key_env=None), WIRE, REQUEST)
    assert "authorization" not in seen[0]


async def test_trace_headers_and_a_dummy_key_go_to_a_simulator_only():
    """A simulated request says which probe it is; the real endpoint never sees that, nor the simulator the real key."""
    seen = []
    trace = {"x-llmkit-probe": "p1", "x-llmkit-turn": "0"}

    async def handler(request):
        seen.append(request.headers)
        return web.json_response({"text": "a simulated world"})

    async with serving(handler) as url:
        async with transport(simulator=lambda _: f"{url}/canary") as made:
            response = await made.send(
                provider("https://api.example.org/v1"), WIRE, REQUEST, simulated=True, trace=trace
            )
            await made.send(provider(url), WIRE, REQUEST, trace=trace)
    simulated, real = seen
    assert simulated["Authorization"] == "Bearer simulated"
    assert simulated["x-llmkit-probe"] == "p1"
    assert real["Authorization"] == f"Bearer {CANARY}"
    assert not [name for name in real if name.lower().startswith("x-llmkit")]
    assert b"simulated world" in response.body


async def test_local_servers_are_reached_without_a_proxy(monkeypatch):
    """A company proxy in the environment does not get what is meant for this machine."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def handler(request):
        return web.json_response({})

    async with serving(handler) as url:
        assert (await ask(url)).status == 200


@pytest.mark.parametrize("reply", [b"HTTP/1.1 407 no\r\n\r\n", None])
async def test_other_hosts_are_reached_through_the_proxy_of_the_environment(monkeypatch, reply):
    """HTTPS_PROXY is used, with any password; whether it refuses or is not there, the password does not show."""
    async with speaking(reply or b"") as address, transport() as made:
        proxy = address if reply else "127.0.0.1:9"
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2%40@{proxy}")
        made._credentials.approve_origin("canary", "https://api.example.org", "CANARY_KEY")
        failure = await made.send(provider("https://api.example.org"), WIRE, REQUEST)
    assert (failure.code, failure.maybe_billed) == (Code.NETWORK_ERROR, False)
    assert "proxy" in failure.message
    assert "hunter2" not in str(failure)


@pytest.mark.parametrize(
    ("no_proxy", "proxy"),
    [("", "http://proxy:8080"), ("example.org", None), ("*", None), ("x.org", "http://proxy:8080")],
)
def test_hosts_in_no_proxy_are_reached_directly(monkeypatch, no_proxy, proxy):
    """The proxy's address may lack its scheme; a domain stands for all hosts below it."""
    for name, value in (("https_proxy", "proxy:8080"), ("no_proxy", no_proxy)):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv(name, value)
    assert client._proxy_for("https://api.example.org") == proxy


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http://[bad",
        "proxy:port",
        "proxy:99999",
        "socks5://proxy:1080",
        "http://user:hunter2@:x",
        "http://us%3Aer:hunter2@proxy:8080",
    ],
)
async def test_a_proxy_that_is_none_is_one_failure_of_the_provider(monkeypatch, address):
    """Nothing is sent, nothing is billed, what to correct is said, and a server on this machine is asked as before."""
    monkeypatch.setenv("HTTPS_PROXY", address)

    async def handler(request):
        return web.json_response({})

    async with serving(handler) as url, transport() as made:
        made._credentials.approve_origin("canary", "https://api.example.org", "CANARY_KEY")
        failure = await made.send(provider("https://api.example.org"), WIRE, REQUEST)
        assert (await made.send(provider(url), WIRE, REQUEST)).status == 200
    assert (failure.scope, failure.retryable, failure.maybe_billed) == ("provider", False, False)
    assert "HTTPS_PROXY" in failure.message
    assert "hunter2" not in failure.message


async def test_certificates_that_cannot_be_read_concern_secure_connections_alone(monkeypatch, tmp_path):
    """One failure of the provider says what to correct; a server without TLS is asked; mended, all is well again."""
    bad = tmp_path / "certificates.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(bad))

    async def handler(request):
        return web.json_response({})

    async with serving(handler) as url, transport() as made:
        made._credentials.approve_origin("canary", "https://127.0.0.1:9", "CANARY_KEY")
        for content in (None, b"", b"no certificate"):
            if content is not None:
                bad.write_bytes(content)
            failure = await made.send(provider("https://127.0.0.1:9"), WIRE, REQUEST)
            assert (failure.scope, failure.retryable, failure.maybe_billed) == ("provider", False, False)
            assert "SSL_CERT_FILE" in failure.message
            assert (await made.send(provider(url), WIRE, REQUEST)).status == 200
        bad.write_bytes(Path(certifi.where()).read_bytes())
        assert "No connection to" in (await made.send(provider("https://127.0.0.1:9"), WIRE, REQUEST)).message


async def test_a_cookie_is_not_kept():
    """What one answer sets is not sent with the next request: probes know nothing of each other."""
    cookies = []

    async def handler(request):
        cookies.append(request.headers.get("cookie"))
        return web.json_response({}, headers={"set-cookie": "session=1; path=/"})

    async with serving(handler) as url, transport() as made:
        local = url.replace("127.0.0.1", "localhost")  # cookie jars leave addresses of digits out anyway
        for _ in range(2):
            await made.send(provider(local), WIRE, REQUEST)
    assert cookies == [None, None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status):
    """The key would go with it; the provider's part of the run ends with a sentence that says so."""
    asked = []

    async def handler(request):
        asked.append(request.path)
        return web.Response(status=status, headers={"location": "https://evil.example/take?key=1"})

    async with serving(handler) as url:
        failure = await ask(url)
    assert (failure.code, failure.scope, failure.status) == (Code.VALIDATION_ERROR, "provider", status)
    assert "redirects to https://evil.example." in failure.message
    assert "not followed" in failure.message
    assert len(asked) == 1


@pytest.mark.parametrize("path", ["@evil.example/x", "//evil.example/x", "\\@evil.example", ":1/x", ".evil.example"])
async def test_nothing_in_a_path_changes_where_a_request_goes(path):
    """A model id that looks like an address stays a path of the provider's own host."""
    hosts = []

    async def handler(request):
        hosts.append(request.host)
        return web.json_response({})

    async with serving(handler) as url:
        await ask(url.removesuffix("/v1"), Request(path=path, body={}))
        assert hosts == [url.removeprefix("http://").removesuffix("/v1")]


async def test_no_key_no_request(monkeypatch):
    """A missing key, a malformed key and an address that nobody approved end before anything is sent."""
    async with transport() as made:
        far = await made.send(provider("https://api.example.org"), WIRE, REQUEST)
        monkeypatch.setenv("CANARY_KEY", f"{CANARY}\nx")
        malformed = await made.send(provider("http://127.0.0.1:9"), WIRE, REQUEST)
        monkeypatch.delenv("CANARY_KEY")
        missing = await made.send(provider("http://127.0.0.1:9"), WIRE, REQUEST)
    assert [f.code for f in (far, malformed, missing)] == [
        Code.VALIDATION_ERROR,
        Code.VALIDATION_ERROR,
        Code.MISSING_API_KEY,
    ]
    assert {f.scope for f in (far, malformed, missing)} == {"provider"}
    assert "approve" in far.message
    assert "CANARY_KEY" in missing.message
    assert "canary-0123" not in str(malformed)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
async def test_a_body_that_is_not_json_fails_its_probe_only(value):
    """An odd value in ``extra_body`` is an error of that probe."""
    failure = await ask("http://127.0.0.1:9", Request(path="/x", body={"value": value}))
    assert (failure.code, failure.scope) == (Code.VALIDATION_ERROR, "probe")


async def test_an_endless_answer_is_cut(monkeypatch):
    """An answer beyond the cap does not fill the memory; it may have been billed."""
    monkeypatch.setattr(client, "MAX_BODY", 1024 * 1024)

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):
            for _ in range(64):
                await response.write(b"x" * 65536)
        return response

    async with serving(handler) as url:
        failure = await ask(url)
    assert (failure.code, failure.maybe_billed) == (Code.INVALID_RESPONSE, True)
    assert "1 MiB" in failure.message


async def test_a_request_that_is_cut_closes_its_connection():
    """After a cancellation the server is not left working for nobody."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def handler(request):
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    async with serving(handler) as url, transport() as made:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.send, provider(url), WIRE, REQUEST)
            await arrived.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            await gone.wait()


async def test_a_hundred_requests_are_on_their_way_at_once():
    """The transport sets no limit of its own: that is the gate's part."""
    waiting, everybody = [], asyncio.Event()

    async def handler(request):
        waiting.append(request)
        if len(waiting) == 120:
            everybody.set()
        await everybody.wait()
        return web.json_response({})

    async with serving(handler) as url, transport() as made:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(120):
                    tasks.start_soon(made.send, provider(url), WIRE, REQUEST)
    assert len(waiting) == 120


def test_a_transport_works_in_one_event_loop_after_another():
    """Connections belong to a loop; a script may use several."""

    async def handler(request):
        return web.json_response({})

    async def main():
        async with serving(handler) as url:
            try:
                return (await made.send(provider(url), WIRE, REQUEST)).status
            finally:
                await made.aclose()

    made = Transport(Credentials())
    assert [anyio.run(main), anyio.run(main)] == [200, 200]


def test_http_libraries_are_loaded_with_the_first_request_only():
    """Opening a catalog does not wait for them."""
    code = (
        "import sys, llmkit.providers.transport as _; print(sorted({'httpx', 'aiohttp', 'tenacity'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

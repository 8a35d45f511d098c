"""A key that a test plants as a canary turns up nowhere but in the request."""

import asyncio
import logging

import anyio
import pytest
from aiohttp import web
from loopback_server import CANARY, REQUEST, WIRE, provider, serving, speaking, transport

from llmkit.records import Call, HttpResponse, Message, Model

pytestmark = pytest.mark.anyio

CALL = Call(model=Model(provider="canary", model_id="m", display_name="M"), messages=(Message("user", "Hello"),))


@pytest.fixture
def anyio_backend():
    """The event loop that runs live on."""
    return "asyncio"


async def echo(request):
    """An error that quotes the key, as some providers do."""
    sent = request.headers["authorization"]
    return web.json_response(
        {"error": {"message": f"Incorrect API key provided: {sent}"}}, status=401, headers={"x": sent}
    )


async def cut(request):
    """A connection that breaks once the request was read."""
    await request.read()
    request.transport.abort()


async def bounce(request):
    """A redirect that carries the key in its address."""
    return web.Response(status=307, headers={"location": f"https://evil.example/?key={CANARY}"})


async def bounce_by_host(request):
    """A redirect that carries the key in its host name."""
    return web.Response(status=307, headers={"location": f"https://{CANARY}.evil.example/"})


async def silence(request):
    """No answer at all."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("handler", [echo, cut, bounce, bounce_by_host, silence])
async def test_a_key_is_in_no_log_and_no_result(handler, monkeypatch, caplog):
    """Not even when the server quotes it, at any level of any logger, with the event loop in debug mode."""
    monkeypatch.setenv("CANARY_KEY", CANARY)
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.DEBUG)
    async with serving(handler) as url, transport() as made:
        result = await made.send(provider(url), WIRE, REQUEST, timeout=1)
    parsed = WIRE.parse(CALL, result) if isinstance(result, HttpResponse) else result
    shown = [repr(made), str(made), repr(vars(made)), repr(result), str(result), repr(parsed)]
    records = [str(vars(record)) for record in caplog.records]
    assert [text for text in (*shown, *records, caplog.text) if CANARY in text] == []
    assert any(record.name == "llmkit.providers.transport" for record in caplog.records)


async def test_a_key_is_in_no_failure_of_a_broken_protocol(monkeypatch, caplog):
    """aiohttp's own error for garbage holds the request's headers; none of it is kept."""
    monkeypatch.setenv("CANARY_KEY", CANARY)
    caplog.set_level(logging.DEBUG)
    async with speaking(b"garbage\r\n\r\n") as address, transport() as made:
        failure = await made.send(provider(f"http://{address}"), WIRE, REQUEST)
    assert CANARY not in repr(failure) + caplog.text


async def test_a_quoted_key_is_replaced_and_the_rest_of_the_answer_kept(monkeypatch):
    """The reply that is kept for the researcher shows where a key was."""
    monkeypatch.setenv("CANARY_KEY", CANARY)
    async with serving(echo) as url, transport() as made:
        response = await made.send(provider(url), WIRE, REQUEST)
    assert response.status == 401
    assert b"Incorrect API key provided: Bearer [key]" in response.body
    assert response.headers["x"] == "Bearer [key]"


async def test_httpx_does_not_log_every_request(monkeypatch, caplog):
    """A notebook with logging switched on is not flooded."""
    monkeypatch.setenv("CANARY_KEY", CANARY)
    monkeypatch.setattr(logging.getLogger("httpx"), "level", logging.NOTSET)
    caplog.set_level(logging.INFO)
    async with serving(echo) as url, transport() as made, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(made.send, provider(url), WIRE, REQUEST)
    assert [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))] == []

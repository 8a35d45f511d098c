"""A real HTTP server on this machine whose handlers misbehave on purpose, and what is needed to ask it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from llmkit.providers.credentials import Credentials
from llmkit.providers.transport import Transport
from llmkit.providers.wires import WIRES
from llmkit.records import Provider, Request
from llmkit.records.checks.addresses import is_loopback

CANARY = "sk-canary-0123456789abcdef"
WIRE = WIRES["openai_chat"]
REQUEST = Request(path="/chat/completions", body={"model": "m", "messages": []})


def provider(base_url: str, **changes: object) -> Provider:
    """A provider with the key variable ``CANARY_KEY``; an address on this machine is approved for it."""
    values = {"wire": "openai_chat", "api_key_env": "CANARY_KEY", "name": "canary", "display_name": "Canary", **changes}
    made = Provider(base_url=base_url, **values)
    if made.api_key_env and is_loopback(base_url):
        Credentials().approve_origin(made.name, base_url, made.api_key_env)
    return made


@contextlib.asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """An HTTP server that gives every request to ``handler``; yields its base URL, which has a path."""
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def speaking(reply: bytes) -> AsyncIterator[str]:
    """A server that reads a request, writes these bytes and closes; yields its origin without scheme."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def transport(**options: object) -> AsyncIterator[Transport]:
    """A transport with no shipped origins, closed at the end."""
    made = Transport(Credentials(), **options)
    try:
        yield made
    finally:
        await made.aclose()


async def ask(base_url: str, request: Request = REQUEST, **options: object) -> object:
    """Send one request with a transport of its own."""
    async with transport() as made:
        return await made.send(provider(base_url), WIRE, request, **options)

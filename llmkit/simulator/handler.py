"""The simulator's HTTP layer: from an aiohttp request to the service and back. Imported when a simulator starts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from llmkit.simulator.faults import Delivery
from llmkit.simulator.formats.routes import route, unknown_url
from llmkit.simulator.formats.served_format import KEY_HEADERS, decoded, encoded
from llmkit.simulator.service import Service
from llmkit.simulator.stats import Received

_MOST_BYTES = 64 * 1024**2
_BACKLOG = 1024  # connections waiting to be accepted; hundreds may come at once


@contextlib.asynccontextmanager
async def listening(service: Service, host: str, port: int) -> AsyncIterator[int]:
    """Listen on a port until the end of the block; yields the port, which the system chooses for 0.

    Raises:
        OSError: the port is taken.
    """
    app = web.Application(client_max_size=_MOST_BYTES)
    app.router.add_route("*", "/{path:.*}", partial(_handle, service))
    # handler_cancellation: a client that disconnects, on a timeout or when it dies, ends its request
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG, reuse_address=True).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _handle(service: Service, request: web.Request) -> web.StreamResponse:
    headers = {name.lower(): value for name, value in request.headers.items()}
    target = route(request.method, request.path, headers)
    if target is None:
        body = unknown_url(f"{request.method} {request.path}")
        return web.Response(status=404, body=encoded(body), content_type="application/json")
    raw = await request.read()
    received = Received(
        provider=target.provider,
        path=request.path,
        method=request.method,
        headers={name: value for name, value in headers.items() if name not in KEY_HEADERS},
        body=decoded(raw),
        at=service.now(),  # after the last await, so that arrivals are in order
        probe=headers.get("x-llmkit-probe"),
        turn=headers.get("x-llmkit-turn"),
        sample=headers.get("x-llmkit-sample"),
    )
    delivery = await service.respond(target, received, raw, has_key=target.takes_key(headers, request.query))
    if delivery.cut_after is not None:
        return await _cut(request, delivery, delivery.cut_after)
    return web.Response(status=delivery.status, body=delivery.body, headers=delivery.headers)


async def _cut(request: web.Request, delivery: Delivery, after: int) -> web.StreamResponse:
    """Cut the connection before or during the answer."""
    transport = request.transport
    response = web.StreamResponse(status=delivery.status or 200, headers=delivery.headers)
    if after:
        response.content_length = len(delivery.body)
        await response.prepare(request)
        await response.write(delivery.body[:after])
    if transport is not None:
        # close() flushes what was written; abort() shows as a reset
        transport.close() if after else transport.abort()
    return response

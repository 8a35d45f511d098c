"""Sends requests to their provider's address, with its key."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from llmkit.errors import Code, LlmkitError, MissingApiKey, ValidationError
from llmkit.providers.credentials import Credentials, Key
from llmkit.providers.transport.outgoing import Outgoing
from llmkit.providers.wires import Wire
from llmkit.records import Failure, HttpResponse, Provider, Request
from llmkit.records.checks.addresses import origin_of

if TYPE_CHECKING:
    from llmkit.providers.transport.client import Client

log = logging.getLogger("llmkit.providers.transport")

_HEADERS = {"accept": "application/json", "accept-encoding": "gzip, deflate", "user-agent": "llmkit"}
SIMULATED_KEY = "simulated"
"""Sent to a simulator instead of a key."""


def _no_simulator(_: Provider) -> str:
    raise ValidationError("There is no simulator to send this to.")


class Transport:
    """Sends requests: adds origin and key, and turns every foreign error into a :class:`Failure`.

    ``simulator`` returns the base URL of a simulator for a provider; requests to it carry a dummy key.
    A transport may be used from several event loops, and opens connections for each. ``holdup`` and ``ready`` are as in
    other senders.
    """

    holdup = None

    def __init__(self, credentials: Credentials, *, simulator: Callable[[Provider], str] = _no_simulator) -> None:
        self._credentials = credentials
        self._simulator = simulator
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[Client]] = WeakKeyDictionary()

    @property
    def is_connected(self) -> bool:
        """Whether there may be connections to close, because something was sent."""
        return bool(self._clients)

    async def ready(self) -> None:
        """It always is."""

    async def send(
        self,
        provider: Provider,
        wire: Wire,
        request: Request,
        *,
        simulated: bool = False,
        timeout: float = 600.0,
        trace: Mapping[str, str] | None = None,
    ) -> HttpResponse | Failure:
        """Send one request; return the response as it arrived, or a failure. Never raises for network errors.

        ``simulated``: send to the simulator. ``timeout`` is in seconds. ``trace`` holds headers for a simulator, never
        sent to providers. A failure is ``maybe_billed`` if the request may have reached the provider. A key quoted in
        the answer is redacted.
        """
        try:
            outgoing = self._address(provider, wire, request, trace or {}, simulated)
        except LlmkitError as error:
            return Failure(code=error.code, message=str(error), scope="provider")
        except (TypeError, ValueError) as error:
            return Failure(code=Code.VALIDATION_ERROR, message=f"The request is not JSON: {error}", scope="probe")
        client = await self._connected()
        started = time.monotonic()
        result = await client.exchange(outgoing, timeout=timeout)
        if log.isEnabledFor(logging.DEBUG):
            fields = {
                "provider": provider.name,
                "status": result.status,
                "code": result.code if isinstance(result, Failure) else None,
                "bytes": len(result.body) if isinstance(result, HttpResponse) else None,
                "seconds": round(time.monotonic() - started, 3),
            }
            log.debug("exchange", extra=fields)
        return result

    async def aclose(self) -> None:
        """Close the running event loop's connections; the next request opens new ones."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await (await client).aclose()

    def _address(
        self, provider: Provider, wire: Wire, request: Request, trace: Mapping[str, str], simulated: bool
    ) -> Outgoing:
        """The request with its origin, headers and key.

        Raises:
            OriginNotApproved, MissingApiKey, ValidationError: the request must not or cannot be sent.
            TypeError, ValueError: the body is not JSON.
        """
        simulator = self._simulator(provider) if simulated else None
        key = self._key(provider) if simulator is None else Key(SIMULATED_KEY)
        base = provider.base_url if simulator is None else simulator
        headers = {**_HEADERS, **request.headers, **(trace if simulator is not None else {})}
        if request.body is not None:
            headers["content-type"] = "application/json"
        path = f"{urlsplit(base).path.strip('/')}/{request.path.lstrip('/')}"
        return Outgoing(
            method=request.method,
            origin=origin_of(base),
            path=path.lstrip("/"),
            headers=tuple(headers.items()),
            content=request.content,
            key=key,
            authorize=wire.auth,
            longest_reply=request.longest_reply,
            is_simulated=simulator is not None,
        )

    def _key(self, provider: Provider) -> Key | None:
        self._credentials.check(provider)
        key = self._credentials.key(provider)
        if key is None and provider.api_key_env is not None:
            raise MissingApiKey(f"{provider.display_name} has no API key here. Set {provider.api_key_env}.")
        return key

    async def _connected(self) -> Client:
        """The running event loop's connections."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None or (client.done() and client.exception()):  # the certificates may have been fixed by now
            client = self._clients[loop] = loop.run_in_executor(None, _new_client)
        return await asyncio.shield(client)  # cancelling one waiter must not cancel it for the others


def _new_client() -> Client:
    # httpx and aiohttp take a third of a second to load, so they are loaded with the first request. This and reading
    # the certificates happen in a worker thread, so that the event loop is not blocked.
    with _loading:
        from llmkit.providers.transport.client import Client

    return Client()


_loading = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child forked while a module is loading would wait for it forever
    os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)

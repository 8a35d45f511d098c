"""Where a request meets its provider's address and key."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

from llmkit.errors import Code, LlmkitError, MissingApiKey, ValidationError
from llmkit.providers.credentials import Credentials, Key, is_loopback, origin_of
from llmkit.providers.transport.outgoing import Outgoing
from llmkit.providers.wires import Wire
from llmkit.records import Failure, HttpResponse, Provider, Request

if TYPE_CHECKING:
    from llmkit.providers.transport.client import Client

log = logging.getLogger("llmkit.providers.transport")

SIMULATED_KEY = "simulated"
"""What a simulator is sent in place of a key."""


@dataclass(slots=True)
class _Clients:
    """The clients of one event loop, by whether they use proxies; each is made when it is first needed."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    made: dict[bool, Client] = field(default_factory=dict)


def _no_simulator(_: Provider) -> str:
    raise ValidationError("There is no simulator to send this to.")


class Transport:
    """Sends requests: adds origin and key, and turns every foreign error into a :class:`Failure`.

    ``simulator`` gives the base URL of a simulator for a provider; what is sent there carries a dummy key.
    A transport may be used from several event loops, and opens connections for each.
    """

    def __init__(self, credentials: Credentials, *, simulator: Callable[[Provider], str] = _no_simulator) -> None:
        self._credentials = credentials
        self._simulator = simulator
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = WeakKeyDictionary()

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
        """Send one request; return the response as it arrived, or why there is none. Never raises for the network.

        ``simulated``: to the simulator. ``timeout`` is in seconds. ``trace`` holds headers for a simulator; providers
        never see them. The failure is ``maybe_billed`` when the request may have reached the provider. A key that the
        answer quotes is taken out.
        """
        try:
            outgoing = self._address(provider, wire, request, trace or {}, simulated)
        except LlmkitError as error:
            return Failure(code=error.code, message=str(error), scope="provider")
        except (TypeError, ValueError) as error:
            return Failure(code=Code.VALIDATION_ERROR, message=f"The request is not JSON: {error}", scope="probe")
        client = await self._client(use_proxies=not is_loopback(outgoing.url))
        started = time.monotonic()
        result = await client.exchange(outgoing, timeout=timeout)
        log.debug(
            "sent",
            extra={
                "provider": provider.name,
                "status": result.status,
                "code": result.code if isinstance(result, Failure) else None,
                "bytes": len(result.body) if isinstance(result, HttpResponse) else None,
                "seconds": round(time.monotonic() - started, 3),
            },
        )
        return result

    async def aclose(self) -> None:
        """Close the connections of the running event loop; the next request opens new ones."""
        clients = self._clients.pop(asyncio.get_running_loop(), None)
        for client in clients.made.values() if clients else ():
            await client.aclose()

    def _address(
        self, provider: Provider, wire: Wire, request: Request, trace: Mapping[str, str], simulated: bool
    ) -> Outgoing:
        """The request with its origin, headers and key.

        Raises:
            OriginNotApproved, MissingApiKey, ValidationError: it must not or cannot be sent.
            TypeError, ValueError: the body is not JSON.
        """
        simulator = self._simulator(provider) if simulated else None
        key = self._key(provider) if simulator is None else Key(SIMULATED_KEY)
        base = provider.base_url if simulator is None else simulator
        headers = {"accept": "application/json", **request.headers, **(trace if simulator is not None else {})}
        content = None
        if request.body is not None:
            content = json.dumps(request.body, allow_nan=False).encode()
            headers["content-type"] = "application/json"
        # The canonical origin and a slash come first, so that nothing in the path can change where the request goes.
        path = f"{urlsplit(base).path.strip('/')}/{request.path.lstrip('/')}"
        return Outgoing(
            method=request.method,
            url=f"{origin_of(base)}/{path.lstrip('/')}",
            headers=headers,
            content=content,
            key=key,
            authorize=wire.auth,
            is_simulated=simulator is not None,
        )

    def _key(self, provider: Provider) -> Key | None:
        self._credentials.check(provider)
        key = self._credentials.key(provider)
        if key is None and provider.api_key_env is not None:
            raise MissingApiKey(f"{provider.display_name} has no API key here. Set {provider.api_key_env}.")
        return key

    async def _client(self, *, use_proxies: bool) -> Client:
        clients = self._clients.setdefault(asyncio.get_running_loop(), _Clients())
        async with clients.lock:
            if use_proxies not in clients.made:
                clients.made[use_proxies] = await anyio.to_thread.run_sync(_new_client, use_proxies)
            return clients.made[use_proxies]


def _new_client(use_proxies: bool) -> Client:
    # httpx and aiohttp take a third of a second to load, and only those who ask something need them. Loading them and
    # reading the certificates happens in a worker thread, so that the event loop is not held up.
    from llmkit.providers.transport.client import Client

    return Client(use_proxies=use_proxies)

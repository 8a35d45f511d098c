"""What happens in a worker's process: it sends what it is handed, and keeps what arrives until the client has it.

Dask calls the functions below in the worker's event loop. They raise nothing: Dask would log their arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from llmkit.errors import Code
from llmkit.providers.credentials import Credentials
from llmkit.providers.transport import Transport
from llmkit.providers.wires import Wire
from llmkit.records import Failure, Provider, Request
from llmkit.runs.remote import Kept, Place

GATHER = 0.005
"""Seconds that what has come waits for company."""


class Parcel(NamedTuple):
    """A request on its way to a worker; ``simulator`` is the URL that stands in for its provider in a rehearsal."""

    place: Place
    provider: Provider
    wire: Wire
    request: Request
    timeout: float
    simulator: str | None
    sample: str


@dataclass(slots=True)
class Part:
    """What a worker does for one run. ``token`` names the client's side of it, which alone is listened to."""

    token: str = ""
    silence: float = 0.0
    """Seconds after which a client that was not heard of is taken to have given this worker up."""
    heard_at: float = 0.0
    flights: dict[Place, asyncio.Task[None]] = field(default_factory=dict)
    kept: dict[Place, Kept] = field(default_factory=dict)
    untold: list[Place] = field(default_factory=list)
    arrival: asyncio.Event = field(default_factory=asyncio.Event)
    transports: dict[tuple[str, str | None], Transport] = field(default_factory=dict)

    def adopt(self, token: str, silence: float) -> None:
        """Work for another client from now on, which has counted as lost what is still on its way."""
        self.cut()
        self.untold.clear()
        self.token, self.silence, self.heard_at = token, silence, time.monotonic()

    def send(self, parcel: Parcel) -> None:
        """Send a request; what comes back is kept."""
        self.flights[parcel.place] = asyncio.create_task(self._fly(parcel))

    async def _fly(self, parcel: Parcel) -> None:
        trace, began = {**parcel.place.trace, "x-llmkit-sample": parcel.sample}, time.monotonic()
        try:
            response = await self._transport(parcel).send(
                parcel.provider,
                parcel.wire,
                parcel.request,
                simulated=parcel.simulator is not None,
                timeout=parcel.timeout,
                trace=trace,
            )
        except Exception as error:  # noqa: BLE001 - the client must hear of it
            message = f"The worker failed: {type(error).__name__}: {error}"
            response = Failure(code=Code.UNKNOWN, message=message, scope="probe", maybe_billed=True)
        del self.flights[parcel.place]
        self.kept[parcel.place] = Kept(response, time.monotonic() - began)
        self.untold.append(parcel.place)
        self.arrival.set()

    def _transport(self, parcel: Parcel) -> Transport:
        """To the address that the client has checked, with the key of this worker's own environment."""
        provider, simulator = parcel.provider, parcel.simulator
        about = f"{provider.name} {provider.base_url}", simulator
        if about not in self.transports:
            credentials = Credentials(shipped={provider.name: [provider.base_url]})
            self.transports[about] = Transport(credentials, simulator=lambda _: simulator or "")
        return self.transports[about]

    async def news(self, wait: float) -> dict[Place, Kept]:
        """What has come since this was asked before; waits for it at most so many seconds."""
        if not self.untold:
            self.arrival.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.arrival.wait(), wait)
                await asyncio.sleep(GATHER)
        places, self.untold = self.untold, []
        return {place: self.kept[place] for place in places if place in self.kept}

    def forget(self, places: Sequence[Place]) -> None:
        """The client has what came for these on its disk, or wants it no more."""
        for place in places:
            self.kept.pop(place, None)
            if (flight := self.flights.pop(place, None)) is not None:
                flight.cancel()

    def cut(self) -> None:
        """Give up what is on its way."""
        self.forget(tuple(self.flights))


PARTS: dict[str, Part] = {}
"""By run. They outlive the client, for whoever resumes the run."""


async def begin(run_id: str, token: str, silence: float) -> None:
    """A client hands out requests of a run from now on."""
    PARTS.setdefault(run_id, Part()).adopt(token, silence)


async def deliver(run_id: str, token: str, parcels: bytes) -> bool:
    """Send these requests; ``False`` when the client must have given this worker up meanwhile, so nothing is sent."""
    if (part := _heard(run_id, token)) is None:
        return False
    for parcel in pickle.loads(parcels):
        part.send(parcel)
    return True


async def collect(run_id: str, token: str, done: Sequence[Place], wait: float) -> bytes | None:
    """What has come, waiting for it at most ``wait`` seconds; what is ``done`` is forgotten. ``None`` as ``False``
    above.
    """
    if (part := _heard(run_id, token)) is None:
        return None
    part.forget(done)
    return pickle.dumps(await part.news(wait))


async def leftovers(run_id: str, wait: float) -> bytes:
    """All that is kept of a run whose client died, and what arrives within ``wait`` seconds."""
    part = PARTS.get(run_id, Part())
    part.token = ""
    if part.flights:
        await asyncio.wait(part.flights.values(), timeout=wait)
    return pickle.dumps(part.kept)


async def end(run_id: str, token: str) -> None:
    """The run has ended: nothing of it is needed any more."""
    if (part := PARTS.get(run_id)) is not None and part.token == token:
        del PARTS[run_id]
        part.cut()
        for transport in part.transports.values():
            await transport.aclose()


async def lacking(providers: Sequence[Provider]) -> list[str]:
    """The names of the providers that have no key in this worker's environment."""
    credentials = Credentials()
    return [provider.name for provider in providers if not credentials.has_key(provider)]


def _heard(run_id: str, token: str) -> Part | None:
    """The part of a client that speaks; ``None`` when it was silent for so long that it has given this worker up."""
    part, now = PARTS.get(run_id), time.monotonic()
    if part is None or part.token != token or now > part.heard_at + part.silence:
        return None
    part.heard_at = now
    return part

"""The worker's side of a run: it sends requests, and keeps each response until the client has saved it.

Dask calls the functions below in the worker's event loop. They must not raise: Dask would log their arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llmkit.errors import Code
from llmkit.providers.credentials import Credentials
from llmkit.providers.transport import Transport
from llmkit.providers.wires import Wire
from llmkit.records import Failure, Provider, Request
from llmkit.runs.remote import Kept, Place


class Parcel(NamedTuple):
    """A request for a worker; ``how`` holds keyword arguments of :meth:`llmkit.providers.transport.Transport.send`."""

    place: Place
    provider: Provider
    wire: Wire
    request: Request
    how: Mapping[str, Any]


@dataclass(slots=True)
class Part:
    """A worker's state for one run. ``token`` identifies the client, and only its calls are accepted. After ``silence``
    seconds without a call, the client must have given this worker up.
    """

    token: str
    silence: float
    transport: Transport
    heard_at: float = field(default_factory=time.monotonic)
    answers: dict[Place, asyncio.Task[Kept]] = field(default_factory=dict)
    untold: list[Place] = field(default_factory=list)
    arrival: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, parcel: Parcel) -> None:
        """Send a request and keep the response."""
        self.answers[parcel.place] = asyncio.create_task(self._fly(parcel))

    async def _fly(self, parcel: Parcel) -> Kept:
        began = time.monotonic()
        try:
            response = await self.transport.send(parcel.provider, parcel.wire, parcel.request, **parcel.how)
        except Exception as error:  # noqa: BLE001 - the client must be informed
            message = f"The worker failed: {type(error).__name__}: {error}"
            response = Failure(code=Code.UNKNOWN, message=message, scope="probe", maybe_billed=True)
        self.untold.append(parcel.place)
        self.arrival.set()
        return Kept(response, time.monotonic() - began)

    def kept(self, places: Iterable[Place]) -> dict[Place, Kept]:
        """Those of the responses that have arrived and are still here."""
        answers = {place: self.answers[place] for place in places if place in self.answers}
        return {place: answer.result() for place, answer in answers.items() if answer.done()}

    async def news(self, wait: float) -> dict[Place, Kept]:
        """What has arrived since the last call; waits for it up to ``wait`` seconds."""
        if not self.untold:
            self.arrival.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.arrival.wait(), wait)
        places, self.untold = self.untold, []
        return self.kept(places)

    def forget(self, places: Iterable[Place]) -> None:
        """Drop these: the client has saved their responses, or does not want them any more."""
        for place in places:
            if (answer := self.answers.pop(place, None)) is not None:
                answer.cancel()

    async def close(self) -> None:
        """Cancel all requests in flight, and end a long poll: Dask reports one when its cluster closes."""
        self.arrival.set()
        self.forget(tuple(self.answers))
        await self.transport.aclose()


PARTS: dict[str, Part] = {}
"""By run. They outlive the client, so that a resumed run can collect the responses."""


async def begin(
    run_id: str, token: str, silence: float, providers: Sequence[Provider], simulators: Mapping[str, str]
) -> list[Provider]:
    """Start serving a client's run, unless keys are lacking: returns the providers without one. It sends to these
    providers' addresses, which the client has checked, or in a rehearsal to the simulators that stand in for them.
    """
    if without := await lacking(providers):
        return without
    origins = {provider.name: [provider.base_url] for provider in providers}
    credentials = Credentials(shipped=lambda name: origins.get(name, []))
    part = Part(token, silence, Transport(credentials, simulator=lambda provider: simulators[provider.name]))
    before, PARTS[run_id] = PARTS.get(run_id), part
    if before is not None:  # the client counts what was still in flight as lost
        part.answers = {place: answer for place, answer in before.answers.items() if answer.done()}
        await before.close()
    return []


async def exchange(run_id: str, token: str, done: Sequence[Place], parcels: bytes, wait: float) -> bytes | None:
    """Forget what is ``done``, send these requests, and return what has arrived, waiting up to ``wait`` seconds.

    Returns ``None`` and sends nothing if the client must have given this worker up in the meantime.
    """
    part, now = PARTS.get(run_id), time.monotonic()
    if part is None or part.token != token or now > part.heard_at + part.silence:
        return None
    part.heard_at = now
    part.forget(done)
    for parcel in pickle.loads(parcels):
        part.send(parcel)
    return pickle.dumps(await part.news(wait))


async def arrived(run_id: str) -> bytes:
    """All responses kept for a run, for a client that has lost this worker."""
    part = PARTS.get(run_id)
    return pickle.dumps({} if part is None else part.kept(tuple(part.answers)))


async def leftovers(run_id: str, wait: float) -> bytes:
    """All responses kept for a run whose client died, including those that arrive within ``wait`` seconds."""
    if (part := PARTS.get(run_id)) is not None:
        part.token = ""
        if part.answers:
            await asyncio.wait(part.answers.values(), timeout=wait)
    return await arrived(run_id)


async def end(run_id: str, token: str) -> None:
    """Forget the run: it has ended."""
    if (part := PARTS.get(run_id)) is not None and part.token == token:
        del PARTS[run_id]
        await part.close()


async def lacking(providers: Sequence[Provider]) -> list[Provider]:
    """The providers without a key in this worker's own environment, the only place that keys are read from."""
    credentials = Credentials()
    return [provider for provider in providers if not credentials.has_key(provider)]

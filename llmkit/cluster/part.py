"""The worker's side of a run: it sends requests, and keeps each response until the client has saved it.

Dask calls the functions below in the worker's event loop, and names the worker. They must not raise: Dask would log
their arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio

from llmkit.errors import Code
from llmkit.providers.credentials import Credentials
from llmkit.providers.transport import Transport
from llmkit.providers.wires import Wire
from llmkit.records import Failure, Provider, Request
from llmkit.runs.remote import Kept, Place

LOOK = 0.1
"""Seconds between looks at whether a worker that leaves has delivered everything."""
HUNG = 5
"""Seconds after which a worker that does not answer its nanny is not awaited any more."""


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
    seconds without a call, the client must have given this worker up. ``is_over``: nothing more is sent.
    """

    token: str
    silence: float
    transport: Transport
    heard_at: float = field(default_factory=time.monotonic)
    answers: dict[Place, asyncio.Task[Kept]] = field(default_factory=dict)
    untold: list[Place] = field(default_factory=list)
    arrival: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    @property
    def patience(self) -> float:
        """Seconds for which the client may still be silent."""
        return self.heard_at + self.silence - time.monotonic()

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

    async def news(self, wait: float) -> dict[Place, Kept]:
        """What has arrived since the last call; waits for it up to ``wait`` seconds."""
        if not self.untold:
            self.arrival.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.arrival.wait(), wait)
        places, self.untold = self.untold, []
        return {place: self.answers[place].result() for place in places if place in self.answers}

    def forget(self, places: Iterable[Place]) -> None:
        """Drop these: the client has saved their responses, or does not want them any more."""
        for place in places:
            if (answer := self.answers.pop(place, None)) is not None:
                answer.cancel()

    async def leave(self) -> None:
        """Send nothing more, end a long poll, and wait until the client has collected what was in flight."""
        self.is_over = True
        self.arrival.set()
        while self.answers and self.patience > 0:
            if any(answer.cancelling() for answer in self.answers.values()):
                return  # without a nanny, a signal ends the whole loop
            await asyncio.sleep(LOOK)

    async def close(self) -> None:
        """Cancel all requests in flight, and end a long poll: Dask reports one when its cluster closes."""
        self.arrival.set()
        self.forget(tuple(self.answers))
        await self.transport.aclose()


class Parts(dict[str, Part]):
    """A worker's parts, by run. They outlive the client, so that a resumed run can collect the responses. Kept as an
    extension of the worker, which Dask closes, and awaits, when the worker is told to leave.
    """

    is_leaving = False

    @classmethod
    def of(cls, worker: Any) -> Parts:
        """Those of a worker: a process may have several."""
        parts: Parts = worker.extensions.setdefault("llmkit", cls())
        return parts

    async def close(self) -> None:
        """Wait until clients have what was in flight."""
        self.is_leaving = True
        await asyncio.gather(*(part.leave() for part in self.values()))


class Patience:
    """A plugin of a worker's nanny, which would kill it some seconds after it was told to leave."""

    async def teardown(self, nanny: Any) -> None:
        """Called by Dask before that, and awaited."""
        with contextlib.suppress(OSError, TimeoutError):
            while nanny.is_alive():
                async with nanny.rpc(nanny.worker_address) as worker:
                    if (await asyncio.wait_for(worker.run(function=pickle.dumps(has_left)), HUNG))["result"]:
                        return


async def has_left(dask_worker: Any) -> bool:
    """Called by the nanny: have the worker leave; whether it needs no more than a second for that."""
    with anyio.move_on_after(1) as scope:
        await Parts.of(dask_worker).close()
    return not scope.cancelled_caught


async def be_patient(dask_worker: Any) -> None:
    """Called in the nanny."""
    dask_worker.plugins["llmkit"] = Patience()


async def begin(
    run_id: str, token: str, silence: float, providers: Sequence[Provider], urls: Mapping[str, str], dask_worker: Any
) -> list[Provider] | None:
    """Start serving a client's run, unless keys are lacking: returns the providers without one; ``None`` if the worker
    is told to leave. It sends to these providers' addresses, which the client has checked, or in a rehearsal to the
    ``urls`` of simulators that stand in for them.
    """
    if (parts := Parts.of(dask_worker)).is_leaving:
        return None
    if without := await lacking(providers):
        return without
    origins = {provider.name: [provider.base_url] for provider in providers}
    credentials = Credentials(shipped=lambda name: origins.get(name, []))
    part = Part(token, silence, Transport(credentials, simulator=lambda provider: urls[provider.name]))
    before, parts[run_id] = parts.get(run_id), part
    if before is not None:  # the client counts what was still in flight as lost
        part.answers = {place: answer for place, answer in before.answers.items() if answer.done()}
        await before.close()
    if dask_worker.nanny:
        with contextlib.suppress(Exception):  # its worker would leave less orderly
            async with dask_worker.rpc(dask_worker.nanny) as nanny:
                await nanny.run(function=pickle.dumps(be_patient))
    return []


async def exchange(
    run_id: str, token: str, done: Sequence[Place], parcels: bytes, wait: float, dask_worker: Any
) -> bytes | None:
    """Forget what is ``done``, send these requests, and return what has arrived, waiting up to ``wait`` seconds.

    Returns ``None`` and sends nothing if the worker is told to leave, or the client must have given it up meanwhile.
    """
    part = Parts.of(dask_worker).get(run_id)
    if part is None or part.token != token or part.is_over or part.patience < 0:
        return None
    part.heard_at = time.monotonic()
    part.forget(done)
    for parcel in pickle.loads(parcels):
        part.send(parcel)
    return pickle.dumps(await part.news(wait))


async def leftovers(run_id: str, token: str | None, wait: float, dask_worker: Any) -> bytes | None:
    """All responses kept for a run, and ``None`` for each that does not arrive within ``wait`` seconds; nothing more is
    sent. For a client that gives this worker up, or without a token for one that resumes the run of a dead one.

    Returns ``None`` if it has not asked this worker.
    """
    part = Parts.of(dask_worker).get(run_id)
    if part is None or token not in (None, part.token):
        return None
    part.is_over, part.heard_at = True, time.monotonic()
    if part.answers:
        await asyncio.wait(part.answers.values(), timeout=wait)
    answers = part.answers.items()
    return pickle.dumps({place: answer.result() if answer.done() else None for place, answer in answers})


async def end(run_id: str, token: str, dask_worker: Any) -> bool:
    """Forget the run: it has ended, or has everything from here."""
    parts = Parts.of(dask_worker)
    if (part := parts.get(run_id)) is not None and part.token == token:
        del parts[run_id]
        await part.close()
    return True


async def lacking(providers: Sequence[Provider]) -> list[Provider]:
    """The providers without a key in this worker's own environment, the only place that keys are read from."""
    credentials = Credentials()
    return [provider for provider in providers if not credentials.has_key(provider)]

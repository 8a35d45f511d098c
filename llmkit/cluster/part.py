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
from typing import Any

import anyio

from llmkit.errors import Code
from llmkit.providers.credentials import Credentials
from llmkit.providers.transport import Transport
from llmkit.records import Failure, Provider
from llmkit.runs.remote import Kept, Place

LOOK = 0.1
"""Seconds between looks at whether a worker has left."""
HUNG = 5
"""Seconds after which a worker that does not answer is not awaited when it leaves, or its run ends."""

Parcel = Mapping[str, Any]
"""A request for a worker: arguments of :meth:`llmkit.providers.transport.Transport.send`."""


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
    untold: dict[Place, Kept] = field(default_factory=dict)
    arrival: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    @property
    def is_given_up(self) -> bool:
        """Whether the client must have given this worker up."""
        return time.monotonic() > self.heard_at + self.silence

    async def fly(self, place: Place, parcel: Parcel) -> Kept:
        """Send a request; the task that does so keeps the response."""
        began = time.monotonic()
        try:
            response = await self.transport.send(**parcel)
        except Exception as error:  # noqa: BLE001 - the client must be informed
            message = f"The worker failed: {type(error).__name__}: {error}"
            response = Failure(code=Code.UNKNOWN, message=message, scope="probe", maybe_billed=True)
        kept = self.untold[place] = Kept(response, time.monotonic() - began)
        self.arrival.set()
        return kept

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

    def leave(self) -> bool:
        """Send nothing more, and end long polls; whether all clients have what was in flight, and have ended."""
        self.is_leaving = True
        for part in self.values():
            part.is_over = True
            part.arrival.set()
        cut_off = asyncio.Task.cancelled  # without a nanny, a signal ends the whole loop
        return all(part.is_given_up or any(map(cut_off, part.answers.values())) for part in self.values())

    async def close(self) -> None:
        """Leave, and wait for that."""
        while not self.leave():
            await asyncio.sleep(LOOK)


class Patience:
    """A plugin of a worker's nanny, which would kill it some seconds after it was told to leave."""

    async def teardown(self, nanny: Any) -> None:
        """Called by Dask before that, and awaited."""
        with contextlib.suppress(OSError, TimeoutError):
            while nanny.is_alive():
                async with nanny.rpc(nanny.worker_address) as worker:
                    if (await asyncio.wait_for(worker.run(function=pickle.dumps(leave)), HUNG))["result"]:
                        return
                await asyncio.sleep(LOOK)


def leave(dask_worker: Any) -> bool:
    """Called by the nanny, until the worker has left."""
    return Parts.of(dask_worker).leave()


def be_patient(dask_worker: Any) -> None:
    """Called in the nanny."""
    dask_worker.plugins["llmkit"] = Patience()


async def begin(run_id: str, token: str, silence: float, urls: Mapping[str, str], dask_worker: Any) -> bool | None:
    """Start serving a client's run; ``None`` if the worker is told to leave. ``urls`` are those of providers, which the
    client has checked, or in a rehearsal of the simulators that stand in for them.
    """
    if (parts := Parts.of(dask_worker)).is_leaving:
        return None
    credentials = Credentials(shipped=lambda name: [urls[name]])
    part = Part(token, silence, Transport(credentials, simulator=lambda provider: urls[provider.name]))
    before, parts[run_id] = parts.get(run_id), part
    if before is not None:  # the client counts what was still in flight as lost
        part.answers = {place: answer for place, answer in before.answers.items() if answer.done()}
        await before.close()
    if dask_worker.nanny:
        with contextlib.suppress(Exception):  # its worker would leave less orderly
            async with dask_worker.rpc(dask_worker.nanny) as nanny:
                await nanny.run(function=pickle.dumps(be_patient))
    return True


async def exchange(
    run_id: str, token: str, done: Iterable[Place], parcels: Mapping[Place, Parcel], wait: float, dask_worker: Any
) -> dict[Place, Kept] | None:
    """Forget what is ``done``, send these requests, and return what has arrived, waiting up to ``wait`` seconds; the
    next call ends the wait.

    Returns ``None`` and sends nothing if the worker is told to leave, or the client must have given it up meanwhile.
    """
    part = Parts.of(dask_worker).get(run_id)
    if part is None or part.token != token or part.is_over or part.is_given_up:
        return None
    part.heard_at = time.monotonic()
    part.forget(done)
    part.arrival.set()
    part.arrival = asyncio.Event()
    part.answers |= {place: asyncio.create_task(part.fly(place, parcel)) for place, parcel in parcels.items()}
    if not part.untold:
        with anyio.move_on_after(wait):
            await part.arrival.wait()
    answers, part.untold = part.untold, {}
    return answers


async def leftovers(run_id: str, token: str | None, wait: float, dask_worker: Any) -> dict[Place, Kept | None] | None:
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
    return {place: answer.result() if answer.done() else None for place, answer in part.answers.items()}


async def end(run_id: str, token: str, dask_worker: Any) -> bool:
    """Forget the run: it has ended, or has everything from here."""
    parts = Parts.of(dask_worker)
    if (part := parts.get(run_id)) is not None and part.token == token:
        del parts[run_id]
        await part.close()
    return True


async def lacking(providers: Sequence[Provider]) -> set[str]:
    """The providers without a key in this worker's own environment, the only place that keys are read from."""
    credentials = Credentials()
    return {provider.name for provider in providers if not credentials.has_key(provider)}

"""The client's side of a run on a cluster: it hands requests to workers, and notices when one is lost.

In each exchange with a worker, it sends the requests gathered so far and receives the responses that have arrived. One
exchange is a long poll; a second one overtakes it with requests that would wait too long. A worker that does not answer
in time is lost: requests that may be in flight there count as perhaps billed, and are made again elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from llmkit.cluster import part
from llmkit.cluster.link import Link, Lost
from llmkit.cluster.part import Parcel
from llmkit.errors import Code, MissingApiKey, refuse
from llmkit.providers.wires import Wire
from llmkit.records import Failure, HttpResponse, Provider, Request
from llmkit.runs import RunEvent, background
from llmkit.runs.checking import Reach
from llmkit.runs.remote import Kept, Place

T = TypeVar("T")

log = logging.getLogger("llmkit.cluster")

GATHER = 0.003
"""Seconds, per worker, for which requests and answers are batched: too many exchanges would take all the CPU."""
WATCH = 1.0
"""Seconds between checks of which workers are there."""
LINGER = 1.0
"""Minimum seconds for which providers are assumed to continue with the requests of a lost worker."""

NOBODY = Failure(code=Code.NETWORK_ERROR, message="No worker of the cluster answers, so it was not sent.")


class Local(Reach, Protocol):
    """How this process itself reaches providers."""

    def simulator_for(self, provider: Provider) -> str:
        """The URL at which the simulator stands in for a provider."""


@dataclass(eq=False, slots=True)
class Mate:
    """A worker from the client's view. ``flights`` are the requests handed to it and not yet answered."""

    address: str
    token: str = field(default_factory=lambda: secrets.token_hex(4))
    outbox: list[Parcel] = field(default_factory=list)
    flights: dict[Place, asyncio.Future[HttpResponse | Failure]] = field(default_factory=dict)
    done: list[Place] = field(default_factory=list)
    wake: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def waits_for(self, place: Place) -> bool:
        """Whether the answer is still wanted."""
        return place in self.flights and not self.flights[place].done()

    def answer(self, place: Place, response: HttpResponse | Failure) -> None:
        """Deliver a response, if it is still wanted."""
        if self.waits_for(place):
            self.flights[place].set_result(response)
        self.flights.pop(place, None)

    def take(self, parcel: Parcel, answer: asyncio.Future[HttpResponse | Failure]) -> None:
        """Queue a request for this worker."""
        self.flights[parcel.place] = answer
        self.outbox.append(parcel)
        self.wake.set()

    def gathered(self) -> list[Parcel]:
        """Take the queued requests that are still wanted."""
        parcels = [parcel for parcel in self.outbox if self.waits_for(parcel.place)]
        self.outbox = []
        return parcels


class Crew:
    """The workers that send the requests of one run; also answers the checks before it.

    Used on the background loop, except for the checks and ``kept``.
    """

    is_remote = True

    def __init__(self, link: Link, local: Local) -> None:
        self._link = link
        self._local = local
        self.simulating = local.simulating
        self._run_id = ""
        self._asked: Sequence[Provider] = ()
        self._simulators: Mapping[str, str] = {}
        self._mates: dict[str, Mate] = {}
        self._joining: set[str] = set()
        self._holders: dict[tuple[str, int], tuple[Mate, Place]] = {}
        self._joined = anyio.Event()
        self._longest = LINGER
        self._tasks: TaskGroup

    def has_key(self, provider: Provider) -> bool:
        """Whether the client or any worker has the provider's key; :meth:`check` names the workers that lack it."""
        return self._local.has_key(provider) or not all(self._lacking([provider]).values())

    def check(self, providers: Sequence[Provider]) -> None:
        """Refuse addresses that were not approved, and workers without a key.

        Raises:
            LlmkitError: the one problem; :class:`RunRefused` for several.
        """
        self._local.check(providers)
        if self.simulating:
            self._simulators = {provider.name: self._local.simulator_for(provider) for provider in providers}
        else:
            self._asked = tuple(providers)
        lacking = self._lacking(providers)
        where = "in the environment in which it is started."
        refuse(
            [
                MissingApiKey(f"Worker {address} has no key of {each.display_name}: set {each.api_key_env} {where}")
                for address, names in sorted(lacking.items())
                for each in providers
                if each.name in names
            ]
        )

    def _lacking(self, providers: Sequence[Provider]) -> Mapping[str, Collection[str]]:
        """The names of the providers for which a worker has no key, by worker."""
        asked = () if self.simulating else providers
        return background.start(self._link.call_all, part.lacking, asked).result()

    def kept(self, run_id: str) -> dict[Place, Kept]:
        """The responses that workers have kept for a run whose client died; waits for requests still in flight."""
        wait = self._link.timeout / 2
        answers = background.start(self._link.call_all, part.leftovers, run_id, wait).result()
        return {place: kept for data in answers.values() for place, kept in pickle.loads(data).items()}

    @contextlib.asynccontextmanager
    async def sending(self, run_id: str) -> AsyncIterator[None]:
        """Keep track of workers, as they come and go, for the requests of a run."""
        self._run_id = run_id
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._watch)
        try:
            yield
        finally:  # not a with statement: an error of the run is not an error of these tasks
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
            async with anyio.create_task_group() as leaving:
                for mate in self._mates.values():
                    leaving.start_soon(self._leave, mate)

    async def _leave(self, mate: Mate) -> None:
        with contextlib.suppress(Lost):
            await self._tell(mate, part.end)

    async def _watch(self) -> None:
        """Add workers that join or return, and give up those that are gone."""
        while True:
            there = set(self._mates)
            with contextlib.suppress(Lost):  # of the scheduler; each worker has its own time-out
                there = await self._link.addresses()
            for address in self._mates.keys() - there:
                self._mates[address].scope.cancel()
            for address in there - self._mates.keys() - self._joining:
                self._joining.add(address)
                self._tasks.start_soon(self._serve, Mate(address))
            await anyio.sleep(WATCH)

    def hear(self, event: RunEvent) -> None:
        """Note that a response is saved, so that the worker can forget it."""
        if event.kind in ("answered", "failed_attempt"):
            mate, place = self._holders.pop((str(event.probe_id), event.turn or 0), (None, None))
            if mate is not None and place is not None:
                mate.flights.pop(place, None)
                mate.done.append(place)

    async def send(
        self,
        provider: Provider,
        wire: Wire,
        request: Request,
        *,
        simulated: bool,
        timeout: float,
        trace: Mapping[str, str],
    ) -> HttpResponse | Failure:
        """Have the least busy worker send a request."""
        if not self._mates:
            with anyio.move_on_after(self._link.patience):
                await self._joined.wait()
        if not self._mates:
            return NOBODY
        how = {"simulated": simulated, "timeout": timeout, "trace": trace}
        parcel = Parcel(Place.traced(trace), provider, wire, request, how)
        answer: asyncio.Future[HttpResponse | Failure] = asyncio.get_running_loop().create_future()
        self._hand_out(parcel, answer)
        return await answer

    def _hand_out(self, parcel: Parcel, answer: asyncio.Future[HttpResponse | Failure]) -> None:
        mate = min(self._mates.values(), key=lambda mate: len(mate.flights))
        self._holders[parcel.place.probe_id, parcel.place.turn] = mate, parcel.place
        mate.take(parcel, answer)

    async def _serve(self, mate: Mate) -> None:
        """Work with a worker from its arrival to its loss."""
        reason = "it is gone"
        try:
            if await self._link.call(mate.address, part.lacking, self._asked, is_first=True):
                log.warning("worker without a key", extra={"run": self._run_id, "reason": mate.address})
                await anyio.sleep_forever()
            await self._tell(mate, part.begin, self._link.timeout / 2, self._asked, self._simulators)
            self._mates[mate.address] = mate
            self._joined.set()
            with mate.scope:
                async with anyio.create_task_group() as loops:
                    loops.start_soon(self._hurry, mate)
                    while True:
                        await self._exchange(mate, self._link.timeout / 4)
                        await self._gather()
        except* Lost as lost:
            reason = str(lost.exceptions[0])
        finally:
            self._joining.discard(mate.address)
        if self._mates.pop(mate.address, None) is not None:
            if not self._mates:
                self._joined = anyio.Event()
            log.warning("worker lost", extra={"run": self._run_id, "reason": reason, "requests": len(mate.flights)})
            await self._lose(mate)

    async def _hurry(self, mate: Mate) -> None:
        while True:
            await mate.wake.wait()
            mate.wake = anyio.Event()
            await self._gather()
            if mate.outbox:
                await self._exchange(mate, 0.0)

    async def _gather(self) -> None:
        await anyio.sleep(GATHER * len(self._mates))

    async def _exchange(self, mate: Mate, wait: float) -> None:
        parcels, done, mate.done = mate.gathered(), mate.done, []
        data = await self._tell(mate, part.exchange, done, pickle.dumps(parcels), wait)
        if data is None:
            mate.outbox += parcels
            raise Lost(f"{mate.address}: it was silent for too long, and has sent nothing")
        for place, kept in pickle.loads(data).items():
            self._longest = max(self._longest, kept.latency_s)
            mate.answer(place, kept.response)

    async def _tell(self, mate: Mate, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await self._link.call(mate.address, function, self._run_id, mate.token, *args)

    async def _lose(self, mate: Mate) -> None:
        """Hand undelivered requests to other workers; report the rest as perhaps billed once they must be over."""
        for parcel in mate.outbox:
            if self._mates and mate.waits_for(parcel.place):
                self._hand_out(parcel, mate.flights.pop(parcel.place))
            mate.answer(parcel.place, NOBODY)
        # providers continue for a while with abandoned requests, so their slots stay taken
        await anyio.sleep(min(self._longest, self._link.timeout))
        message = f"Worker {mate.address} was lost while this request was in flight; it may have been billed."
        for place in tuple(mate.flights):
            mate.answer(place, Failure(code=Code.NETWORK_ERROR, message=message, maybe_billed=True))

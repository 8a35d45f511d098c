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
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from llmkit.cluster import part
from llmkit.cluster.link import Link, Lost, unfit_words
from llmkit.cluster.part import Parcel
from llmkit.errors import Code, MissingApiKey, refuse
from llmkit.providers.wires import Wire
from llmkit.records import Failure, HttpResponse, Provider, Request
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


class Local(Reach, Protocol):
    """How this process itself reaches providers."""

    def simulator_for(self, provider: Provider) -> str:
        """The URL at which the simulator stands in for a provider."""


@dataclass(eq=False, slots=True)
class Mate:
    """A worker from the client's view. ``flights`` are the requests handed to it and not yet answered, ``outbox`` those
    of them that it has not been sent, and ``done`` the ones whose responses it can forget. ``unfit``: why it is not
    used.
    """

    address: str
    unfit: Sequence[str] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(4))
    outbox: list[Parcel] = field(default_factory=list)
    flights: dict[Place, asyncio.Future[HttpResponse | Failure | None]] = field(default_factory=dict)
    done: list[Place] = field(default_factory=list)
    wake: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def take(self, parcel: Parcel) -> asyncio.Future[HttpResponse | Failure | None]:
        """Queue a request; the result is its response, or ``None`` if this worker was lost before it was sent."""
        answer = self.flights[parcel.place] = asyncio.get_running_loop().create_future()
        self.outbox.append(parcel)
        self.wake.set()
        return answer

    def answer(self, place: Place, response: HttpResponse | Failure | None) -> None:
        """Deliver a response, if it is still wanted."""
        if (answer := self.flights.pop(place, None)) is not None and not answer.done():
            answer.set_result(response)


class Crew:
    """The workers that send the requests of one run; also answers the checks before it.

    Used on the background loop, except for the checks and ``kept``.
    """

    is_remote = True

    def __init__(self, link: Link, local: Local, providers: Collection[Provider]) -> None:
        self._link = link
        self._local = local
        self.simulating = local.simulating
        self._providers = providers
        self._run_id = ""
        self._asked: tuple[Sequence[Provider], Mapping[str, str]] = (), {}
        self._mates: dict[str, Mate] = {}
        self._served: dict[str, Mate] = {}
        self._received: dict[asyncio.Task[Any] | None, tuple[Mate, Place]] = {}
        self._joined = anyio.Event()
        self._until = 0.0
        self._longest = LINGER
        self._tasks: TaskGroup

    @property
    def holdup(self) -> str | None:
        """What requests wait for, when there is no worker to send them."""
        if self._mates:
            return None
        left = max(0, round(self._until - time.monotonic()))
        return f"{self._unfit() or 'no worker of the cluster answers'}; waiting for one, {left} s"

    def has_key(self, provider: Provider) -> bool:
        """Whether the client or any worker has the provider's key; :meth:`check` names the workers that lack it."""
        return self._local.has_key(provider) or any(provider.name not in each for each in self._keyless_at.values())

    def check(self, providers: Sequence[Provider]) -> None:
        """Refuse addresses that were not approved, and workers without a key."""
        self._local.check(providers)
        simulators = {each.name: self._local.simulator_for(each) for each in providers} if self.simulating else {}
        self._asked = () if self.simulating else tuple(providers), simulators
        lacking = {at: [each for each in providers if each.name in names] for at, names in self._keyless_at.items()}
        told = (words for at, without in sorted(lacking.items()) for words in _told(at, without))
        refuse([MissingApiKey(f"{words}.") for words in told])

    @cached_property
    def _keyless_at(self) -> Mapping[str, Collection[str]]:
        """The providers for which a worker has no key, by worker. All are asked once: a silent one takes its time."""
        answers = self._link.call_all(part.lacking, () if self.simulating else tuple(self._providers))
        return {address: {each.name for each in without} for address, without in answers.items()}

    def kept(self, run_id: str) -> dict[Place, Kept]:
        """The responses that workers have kept for a run whose client died; waits for requests still in flight."""
        answers = filter(None, self._link.call_all(part.leftovers, run_id, None, self._link.timeout / 2).values())
        return {place: kept for data in answers for place, kept in pickle.loads(data).items() if kept is not None}

    @contextlib.asynccontextmanager
    async def sending(self, run_id: str) -> AsyncIterator[None]:
        """Keep track of workers, as they come and go, for the requests of a run."""
        self._run_id = run_id
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._watch)
        ended: Collection[Mate] = ()
        try:
            yield
            ended = self._mates.values()  # after a failure they keep what could not be saved, as on a full disk
        finally:  # not a with statement: an error of the run is not an error of these tasks
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
            telling = (self._tell(mate, part.end) for mate in ended)
            await asyncio.gather(*telling, return_exceptions=True)  # whoever is lost just now has ended anyway
            await self._link.close()

    async def _watch(self) -> None:
        """Add workers that join or return, and give up those that are gone."""
        before: set[str] = set()
        self._await_worker()
        while True:
            with contextlib.suppress(Lost):  # of the scheduler; each worker has its own time-out
                there = await self._link.addresses()
                if there - before:  # who joins must load llmkit
                    self._await_worker()
                before = there
                for address in self._served.keys() - there:
                    self._served.pop(address).scope.cancel()
                for address in there - self._served.keys():
                    mate = self._served[address] = Mate(address)
                    self._tasks.start_soon(self._serve, mate)
            await anyio.sleep(WATCH)

    def _await_worker(self) -> None:
        """From now on, wait as long as a worker may take to join; without one, the run is stopped after that."""
        self._until = time.monotonic() + self._link.patience

    async def ready(self) -> None:
        """Wait for a worker, as long as one may take to join."""
        if not self._mates:
            with anyio.move_on_after(self._until - time.monotonic()):
                await self._joined.wait()

    async def send(
        self, provider: Provider, wire: Wire, request: Request, *, trace: Mapping[str, str], **how: Any
    ) -> HttpResponse | Failure:
        """Have the least busy worker send a request. A task that sends another one has saved its previous response."""
        task = asyncio.current_task()
        if (received := self._received.pop(task, None)) is not None:
            received[0].done.append(received[1])
        parcel = Parcel(Place.traced(trace), provider, wire, request, {"trace": trace, **how})
        while True:
            await self.ready()
            if not self._mates:
                return self._nobody()
            mate = min(self._mates.values(), key=lambda mate: len(mate.flights))
            if (response := await mate.take(parcel)) is not None:
                self._received[task] = mate, parcel.place
                return response

    def _nobody(self) -> Failure:
        why = f" ({unfit})" if (unfit := self._unfit()) else ""
        message = (
            f"No worker of the cluster could be used for {self._link.patience} s{why}, so the run was stopped. Start "
            f"workers (cluster.scale(2) starts two), then kit.resume({self._run_id!r}, on=client) asks the rest."
        )
        return Failure(code=Code.CANCELLED, message=message, scope="run")

    def _unfit(self) -> str:
        """Which workers are not used, and why, in words."""
        return "; ".join(words for mate in tuple(self._served.values()) for words in mate.unfit)

    async def _serve(self, mate: Mate) -> None:
        """Work with a worker from its arrival to its loss."""
        reason, may_return = "it is gone", True
        try:
            with mate.scope:
                lacking = await self._tell(mate, part.begin, self._link.timeout / 2, *self._asked, is_first=True)
                mate.unfit = _told(mate.address, lacking)
                if mate.unfit:
                    log.warning("worker without a key", extra={"run": self._run_id, "reason": mate.address})
                    await anyio.sleep_forever()
                self._mates[mate.address] = mate
                self._joined.set()
                async with anyio.create_task_group() as loops:
                    loops.start_soon(self._hurry, mate)
                    while True:
                        await self._exchange(mate, self._link.timeout / 4)
                        await self._gather()
        except* Lost as lost:
            reason = str(lost.exceptions[0])
        except* Exception as errors:  # noqa: BLE001 - whatever another version of llmkit may raise or answer
            reason, may_return = unfit_words(mate.address, errors.exceptions[0]), False
            mate.unfit = [reason]
        if self._mates.pop(mate.address, None) is not None:
            if not self._mates:
                self._joined = anyio.Event()
                self._await_worker()
            log.warning("worker lost", extra={"run": self._run_id, "reason": reason, "requests": len(mate.flights)})
            await self._lose(mate)
        if may_return and self._served.get(mate.address) is mate:
            del self._served[mate.address]

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
        parcels = [parcel for parcel in mate.outbox if not mate.flights[parcel.place].done()]  # done: cut off
        done, mate.done, mate.outbox = mate.done, [], []
        data = await self._tell(mate, part.exchange, done, pickle.dumps(parcels), wait)
        self._receive(mate, pickle.loads(data))

    def _receive(self, mate: Mate, answers: Mapping[Place, Kept | None]) -> None:
        for place, kept in answers.items():
            if kept is not None:
                self._longest = max(self._longest, kept.latency_s)
                mate.answer(place, kept.response)

    async def _tell(
        self, mate: Mate, function: Callable[..., Awaitable[T | None]], *args: Any, is_first: bool = False
    ) -> T:
        answer = await self._link.call(mate.address, function, self._run_id, mate.token, *args, is_first=is_first)
        if answer is None:
            raise Lost(f"{mate.address}: it leaves, or was silent for too long, and sends nothing more")
        return answer

    async def _lose(self, mate: Mate) -> None:
        """Have undelivered requests sent by other workers, and take what arrives at this one, while it answers: it may
        be leaving, or the client was suspended. Report the rest as perhaps billed once they must be over.
        """
        for parcel in mate.outbox:
            mate.answer(parcel.place, None)
        # providers continue for a while with abandoned requests, so their slots stay taken
        within = min(self._longest, self._link.timeout)
        with anyio.move_on_after(within) as scope:
            with contextlib.suppress(Exception):  # whatever else it is, it is lost
                while mate.flights:
                    answers = pickle.loads(await self._tell(mate, part.leftovers, within / 2))
                    for place in mate.flights.keys() - answers.keys():  # it never sent these
                        mate.answer(place, None)
                    self._receive(mate, answers)
                    scope.deadline = anyio.current_time() + within
                with anyio.move_on_after(within, shield=True):  # it may leave at last, even if the run is over
                    await self._tell(mate, part.end)
            if mate.flights:
                await anyio.sleep_forever()
        message = f"Worker {mate.address} was lost while this request was in flight; it may have been billed."
        for place in tuple(mate.flights):
            mate.answer(place, Failure(code=Code.NETWORK_ERROR, message=message, maybe_billed=True))


def _told(address: str, lacking: Sequence[Provider]) -> list[str]:
    """A sentence, without its full stop, for each key that a worker lacks."""
    where = "in the environment in which it is started"
    return [f"Worker {address} has no key of {each.display_name}: set {each.api_key_env} {where}" for each in lacking]

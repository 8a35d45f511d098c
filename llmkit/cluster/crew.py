"""The client's side of a run on a cluster: it hands requests to workers, and notices when one is lost.

In each exchange with a worker, it sends the requests gathered so far and receives the responses that have arrived. One
exchange is a long poll; a second one overtakes it with requests that would wait too long. A worker that does not answer
in time is lost: requests that may be in flight there count as perhaps billed, and are made again elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import anyio
from anyio.abc import TaskGroup

from llmkit.cluster import part
from llmkit.cluster.link import Link, unfit_words
from llmkit.cluster.part import Parcel
from llmkit.errors import Code, MissingApiKey, refuse
from llmkit.providers.wires import Wire
from llmkit.records import MAYBE_BILLED, Failure, HttpResponse, Provider, Request
from llmkit.runs import background
from llmkit.runs.checking import Reach
from llmkit.runs.remote import Kept, Place

log = logging.getLogger("llmkit.cluster")

GATHER = 0.003
"""Seconds, per worker, for which requests and answers are batched: too many exchanges would take all the CPU."""
WATCH = 1.0
"""Seconds between checks of which workers are there."""
LINGER = 1.0
"""Minimum seconds for which providers are assumed to continue with the requests of a lost worker."""


@dataclass(eq=False, slots=True)
class Mate:
    """A worker from the client's view. ``flights`` are the requests handed to it and not yet answered, ``outbox`` those
    of them that it has not been sent, and ``done`` the ones whose responses it can forget. ``unfit``: why it is not
    used, as long as it is there.
    """

    address: str
    unfit: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(4))
    outbox: dict[Place, Parcel] = field(default_factory=dict)
    flights: dict[Place, asyncio.Future[HttpResponse | Failure | None]] = field(default_factory=dict)
    done: list[Place] = field(default_factory=list)
    wake: anyio.Event = field(default_factory=anyio.Event)

    def take(self, place: Place, parcel: Parcel) -> asyncio.Future[HttpResponse | Failure | None]:
        """Queue a request; the result is its response, or ``None`` if this worker was lost before it was sent."""
        answer = self.flights[place] = asyncio.get_running_loop().create_future()
        self.outbox[place] = parcel
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

    def __init__(
        self, link: Link, local: Reach, simulator_for: Callable[[Provider], str], providers: Collection[Provider]
    ) -> None:
        self._link, self._local, self._simulator_for = link, local, simulator_for
        self.simulating = local.simulating
        self._keyed = () if self.simulating else tuple(providers)
        self._asked: Sequence[Provider] = ()
        self._urls: Mapping[str, str] = {}
        self._mates: dict[str, Mate] = {}
        self._used: list[Mate] = []
        self._joined = anyio.Event()
        self._received: dict[asyncio.Task[Any] | None, tuple[Mate, Place]] = {}
        self._run_id, self._until, self._longest = "", 0.0, LINGER

    @property
    def holdup(self) -> str | None:
        """What requests wait for, when there is no worker to send them."""
        if self._used:
            return None
        left = max(0, round(self._until - time.monotonic()))
        return f"{self._unfit() or 'no worker of the cluster answers'}; waiting for one, {left} s"

    def has_key(self, provider: Provider) -> bool:
        """Whether the client or any worker has the provider's key; :meth:`check` names the workers that lack it."""
        return self._local.has_key(provider) or any(provider.name not in each for each in self._keyless_at.values())

    def check(self, providers: Sequence[Provider]) -> None:
        """Refuse addresses that were not approved, and workers without a key."""
        self._local.check(providers)
        self._asked = providers
        self._urls = {each.name: self._simulator_for(each) if self.simulating else each.base_url for each in providers}
        told = (words for address, names in sorted(self._keyless_at.items()) for words in self._told(address, names))
        refuse([MissingApiKey(f"{words}.") for words in told])

    @cached_property
    def _keyless_at(self) -> Mapping[str, Collection[str]]:
        """The providers for which a worker has no key, by worker. All are asked once: a silent one takes its time."""
        return self._link.call_all(part.lacking, self._keyed)

    def _told(self, address: str, names: Collection[str]) -> list[str]:
        """A sentence, without its full stop, for each key that a worker lacks."""
        lacks, where = f"Worker {address} has no key of", "in the environment in which it is started"
        lacking = (each for each in self._asked if each.name in names)
        return [f"{lacks} {each.display_name}: set {each.api_key_env} {where}" for each in lacking]

    def kept(self, run_id: str) -> dict[Place, Kept]:
        """The responses that workers have kept for a run whose client died; waits for requests still in flight."""
        told = self._link.call_all(part.leftovers, run_id, None, self._link.timeout / 2).values()
        return {place: kept for answers in told if answers for place, kept in answers.items() if kept is not None}

    @contextlib.asynccontextmanager
    async def sending(self, run_id: str) -> AsyncIterator[None]:
        """Keep track of workers, as they come and go, for the requests of a run."""
        self._run_id, ended = run_id, tuple[Mate, ...]()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, tasks)
                yield
                # not after a failure: they keep what could not be saved, as on a full disk
                ended = tuple(self._mates.values())
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise (error := background.first_error(group)) from error.__cause__
        finally:
            with anyio.move_on_after(part.HUNG):
                await asyncio.gather(*(self._tell(mate, part.end) for mate in ended), return_exceptions=True)
            await self._link.close()

    async def _watch(self, tasks: TaskGroup) -> None:
        """Add workers that join or return, and forget why those that are gone were of no use."""
        before: set[str] = set()
        self._await_worker()
        while True:
            with contextlib.suppress(OSError):  # of the scheduler; each worker has its own time-out
                there = await self._link.addresses()
                if there - before:  # who joins must load llmkit
                    self._await_worker()
                before = there
                self._mates = {at: mate for at, mate in self._mates.items() if at in there or not mate.unfit}
                for address in there - self._mates.keys():
                    mate = self._mates[address] = Mate(address)
                    tasks.start_soon(self._serve, mate)
            await anyio.sleep(WATCH)

    def _await_worker(self) -> None:
        """From now on, wait as long as a worker may take to join; without one, the run is stopped after that."""
        self._until = time.monotonic() + self._link.patience

    async def ready(self) -> None:
        """Wait for a worker, as long as one may take to join."""
        while not self._used and (left := self._until - time.monotonic()) > 0:
            with anyio.move_on_after(left):
                await self._joined.wait()

    async def send(self, provider: Provider, wire: Wire, request: Request, **how: Any) -> HttpResponse | Failure:
        """Have the least busy worker send a request. A task that sends another one has saved its previous response."""
        task, place = asyncio.current_task(), Place.traced(how["trace"])
        if (received := self._received.pop(task, None)) is not None:
            received[0].done.append(received[1])
        parcel = {"provider": provider, "wire": wire, "request": request, **how}
        while True:
            await self.ready()
            if not self._used:
                return self._nobody()
            mate = min(self._used, key=lambda mate: len(mate.flights))
            if (response := await mate.take(place, parcel)) is not None:
                self._received[task] = mate, place
                return response

    def _nobody(self) -> Failure:
        message = (
            f"No worker of the cluster could be used for {self._link.patience} s ({self._unfit() or 'none answers'}), "
            f"so the run was stopped. Start workers (cluster.scale(2) starts two), then kit.resume({self._run_id!r}, "
            "on=client) asks the rest."
        )
        return Failure(code=Code.CANCELLED, message=message, scope="run")

    def _unfit(self) -> str:
        """Why workers that are there are not used."""
        return "; ".join(mate.unfit for mate in tuple(self._mates.values()) if mate.unfit)

    async def _serve(self, mate: Mate) -> None:
        """Work with a worker from its arrival to its loss."""
        try:
            lacking = await self._link.call(mate.address, part.lacking, self._keyed, is_first=True)
            mate.unfit = "; ".join(self._told(mate.address, lacking))
            if mate.unfit:
                log.warning("worker without a key", extra={"run": self._run_id, "reason": mate.address})
                return
            await self._tell(mate, part.begin, self._link.timeout / 2, self._urls)
            self._used.append(mate)
            self._joined.set()
            async with anyio.create_task_group() as polls:
                while True:
                    mate.wake = anyio.Event()
                    polls.start_soon(self._exchange, mate, mate.wake)
                    await mate.wake.wait()
                    await anyio.sleep(GATHER * len(self._used))
        except* OSError as errors:
            reason = f"{mate.address}: {errors.exceptions[0]!r}"
        except* Exception as errors:  # noqa: BLE001 - whatever another version of llmkit may raise or answer
            reason = mate.unfit = unfit_words(mate.address, errors.exceptions[0])
        if mate in self._used:
            self._used.remove(mate)
            if not self._used:
                self._joined = anyio.Event()
                self._await_worker()
            log.warning("worker lost", extra={"run": self._run_id, "reason": reason, "requests": len(mate.flights)})
            await self._lose(mate)
        if not mate.unfit:
            del self._mates[mate.address]

    async def _exchange(self, mate: Mate, over: anyio.Event) -> None:
        """Hand over what has gathered, and receive what arrives; the next exchange ends this one."""
        parcels = {place: parcel for place, parcel in mate.outbox.items() if not mate.flights[place].done()}
        done, mate.done, mate.outbox = mate.done, [], {}
        self._receive(mate, await self._tell(mate, part.exchange, done, parcels, self._link.timeout / 4))
        over.set()

    def _receive(self, mate: Mate, answers: Mapping[Place, Kept | None]) -> None:
        for place, kept in answers.items():
            if kept is not None:
                self._longest = max(self._longest, kept.latency_s)
                mate.answer(place, kept.response)

    async def _tell(self, mate: Mate, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        answer = await self._link.call(mate.address, function, self._run_id, mate.token, *args)
        if answer is None:
            raise ConnectionError("it leaves, or heard nothing for too long, and sends nothing more")
        return answer

    async def _lose(self, mate: Mate) -> None:
        """Have undelivered requests sent by other workers, and take what arrives at this one, while it answers: it may
        be leaving, or the client was suspended. Report the rest as perhaps billed once they must be over.
        """
        for place in mate.outbox:
            mate.answer(place, None)
        # providers continue for a while with abandoned requests, so their slots stay taken
        within = min(self._longest, self._link.timeout)
        with anyio.move_on_after(within) as scope:
            with contextlib.suppress(Exception):  # whatever else it is, it is lost
                while mate.flights:
                    answers = await self._tell(mate, part.leftovers, within / 2)
                    for place in mate.flights.keys() - answers.keys():  # it never sent these
                        mate.answer(place, None)
                    self._receive(mate, answers)
                    scope.deadline = anyio.current_time() + within
                with anyio.move_on_after(within, shield=True):  # it may leave at last, even if the run is over
                    await self._tell(mate, part.end)
            if mate.flights:
                await anyio.sleep_forever()
        message = f"Worker {mate.address} was lost while this request was in flight{MAYBE_BILLED}."
        for place in tuple(mate.flights):
            mate.answer(place, Failure(code=Code.NETWORK_ERROR, message=message, maybe_billed=True))

"""Where a run's requests wait for a batch: submitted together, found again after a crash, answered one by one.

To an attempt the desk is a slow way of sending. Everything before and after is the same as for a live request: money,
intent, parsing, price, outcome, retries, the next turn. A batch therefore holds whatever has gathered once every
conversation is waiting: first turns, later turns, and retries.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from llmkit.limiter import Admission, Purse
from llmkit.providers.transport import RetryPolicy, apart, retrying
from llmkit.providers.wires import EXPIRED, LOST, BatchApi, BatchItem, BatchState, Listed
from llmkit.records import Failure, HttpResponse, Request
from llmkit.runs.tickets import KEPT, LOOKS, PAGES, SKEW, Batch, Key, Ticket
from llmkit.store import Store, events

log = logging.getLogger("llmkit.runs")

T = TypeVar("T")

Sender = Callable[[Request], Awaitable[HttpResponse | Failure]]


@dataclass(eq=False, slots=True, kw_only=True)
class BatchDesk:
    """The batches of one model in one run; lives on the background loop.

    ``queue`` holds probes not yet begun, ``moving`` counts conversations that are neither waiting here nor over.
    ``earlier`` are the rows of :func:`~llmkit.store.run_rows.without_outcome` that an earlier process left. ``trouble``
    is why the provider's last reply about a batch was of no use, if it was not.
    """

    run_id: str
    prefix: str
    api: BatchApi
    store: Store
    send: Sender
    policy: RetryPolicy
    queue: deque[int]
    looks: tuple[float, float] = LOOKS
    kept: timedelta = KEPT
    earlier: dict[Key, Mapping[str, Any]] = field(default_factory=dict)
    moving: int = 0
    handed_in: int = 0
    back: int = 0
    open: dict[str, Batch] = field(default_factory=dict)
    trouble: str = ""
    _waiting: list[Ticket] = field(default_factory=list)
    _stirred: anyio.Event = field(default_factory=anyio.Event)
    _named: int = 0
    _foreign: set[str] = field(default_factory=set)
    _is_closed: bool = False

    # --- for attempts ---

    @contextlib.contextmanager
    def conversing(self) -> Iterator[None]:
        """Count a conversation as moving while the block lasts."""
        self.moving += 1
        try:
            yield
        finally:
            self._rest()

    @contextlib.asynccontextmanager
    async def admit(self, key: Key, model: str, purse: Purse, worst_case: Decimal | None) -> AsyncGenerator[Admission]:
        """Reserve the money of a request; rate limits do not apply in batches."""
        began = time.time()
        before = self.earlier.get(key)
        self._rest()
        try:
            if before is not None and before["worst_case"] is not None:
                purse.recall(before["worst_case"], before["started_at"])
            else:
                await purse.reserve(worst_case)
        finally:
            self.moving += 1
        now = time.time()
        yield Admission(model=model, started_at=now, waited_s=now - began, purse=purse)

    async def ask(self, ticket: Ticket) -> HttpResponse | Failure:
        """Wait for the reply to a request; cancelling the wait does not withdraw the request."""
        before = self.earlier.pop(ticket.key, None)
        if before is None:
            self._waiting.append(ticket)
        else:
            name, started_at = before["batch"], before["started_at"]
            ticket.begin(started_at)
            ticket.saved()  # by an earlier process
            batch = self.open.setdefault(name, Batch(name, started_at, is_doubtful=True))
            batch.batch_id = before["batch_id"]
            batch.tickets[self._custom_id(ticket.key)] = ticket
        self._rest()
        try:
            await ticket.answered.wait()
        except anyio.get_cancelled_exc_class():
            if ticket.reply is None:
                raise
        assert ticket.reply is not None  # a reply that arrives at the moment of cancellation is saved
        return ticket.reply

    def stir(self) -> None:
        """Check again whether a batch can be submitted."""
        self._stirred.set()

    # --- the life of a batch ---

    async def serve(self) -> None:
        """Submit what has gathered whenever no conversation is moving, and follow every batch to its end."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._stirred.wait()
                self._stirred = anyio.Event()
                if self.moving or self.queue or self._is_closed:
                    continue
                for batch in self.open.values():
                    if not batch.is_followed:  # an earlier process submitted it
                        batch.is_followed = True
                        tasks.start_soon(self._see_to, batch)
                for batch in self._gathered():
                    tasks.start_soon(self._hand_in, batch)

    async def cancel(self) -> None:
        """Cancel all batches at the provider, and return once their answers have arrived."""
        self._is_closed = True
        told: set[str] = set()
        while some := [batch for batch in self.open.values() if batch.batch_id is not None or batch.is_followed]:
            for batch_id in {batch.batch_id for batch in some if batch.batch_id is not None} - told:
                reply = await self.send(self.api.cancel(batch_id))
                told |= {batch_id} if isinstance(reply, HttpResponse) and reply.status < 429 else set()
            await anyio.sleep(self._pause(0))  # by then, one that was just being submitted has its id

    def _gathered(self) -> list[Batch]:
        """The waiting requests, in as many batches as they need."""
        tickets = {self._custom_id(ticket.key): ticket for ticket in self._waiting}
        self._waiting = []
        batches = []
        for part in self.api.split([BatchItem(name, ticket.request) for name, ticket in tickets.items()]):
            self._named += 1
            batch = Batch(f"{self.prefix}-{self._named}", datetime.now(UTC), is_followed=True)
            batch.tickets = {item.custom_id: tickets[item.custom_id] for item in part}
            self.open[batch.name] = batch
            self.handed_in += len(part)
            batches.append(batch)
        return batches

    async def _hand_in(self, batch: Batch) -> None:
        """Write the intents to the journal, then submit the batch."""
        for ticket in batch.tickets.values():
            ticket.begin(batch.started_at)
        await self.store.append([ticket.line(batch.name) for ticket in batch.tickets.values()])
        for ticket in batch.tickets.values():
            ticket.saved()
        await self._see_to(batch)

    async def _see_to(self, batch: Batch) -> None:
        """Follow a batch to its end."""
        while batch.tickets:
            if batch.batch_id is None and not await self._created(batch):
                break
            state = await self._ended(batch)
            if isinstance(state, BatchState):
                await self._collected(batch, state)
            else:
                await self._deliver(batch, dict.fromkeys(batch.tickets, state))
        del self.open[batch.name]

    async def _created(self, batch: Batch) -> bool:
        """Create the batch at the provider, never twice: one that may exist is looked for first."""
        while True:
            result = await retrying(lambda: self._create(batch), self.policy, retry_unknown=True)
            is_known = not batch.is_doubtful
            if isinstance(result, Failure) and not is_known and not result.maybe_billed:  # a last look before giving up
                found = await self._find(batch)
                is_known, result = found is None, found or result
            if isinstance(result, BatchState):
                batch.batch_id = result.batch_id
                await self.store.append([events.batch(run_id=self.run_id, batch=batch.name, batch_id=result.batch_id)])
                log.info("batch", extra={"run": self.run_id, "batch": result.batch_id, "requests": len(batch.tickets)})
                return True
            if is_known or result.status == 404:
                await self._deliver(batch, dict.fromkeys(batch.tickets, result if is_known else LOST))
                return False
            await anyio.sleep(self._pause(9))

    async def _create(self, batch: Batch) -> BatchState | Failure:
        if batch.is_doubtful and (same := await self._find(batch)) is not None:
            return same
        items = [BatchItem(name, ticket.request) for name, ticket in batch.tickets.items()]
        upload = self.api.upload(items)
        file_id = "" if upload is None else await self._asked(upload, self.api.read_upload)
        if isinstance(file_id, Failure):
            return replace(file_id, maybe_billed=False)  # only the batch is billed
        batch.is_doubtful = True
        state = await self._asked(self.api.create(batch.name, items, file_id), self.api.read)
        # a server that reports an error of its own may have created it all the same
        batch.is_doubtful = isinstance(state, Failure) and (state.maybe_billed or (state.status or 0) >= 500)
        return state

    async def _find(self, batch: Batch) -> BatchState | Failure | None:
        """The batch in the provider's list, by its name, else by size and time; ``None`` if it is not there."""
        request: Request | None = self.api.listing()
        for _ in range(PAGES):
            if request is None:
                break
            listed = await self._asked(request, self.api.read_list)
            if not isinstance(listed, Listed):
                return listed
            for state in listed.states:
                if self._is_same(batch, state):
                    return state
            request = listed.more
        return None

    def _is_same(self, batch: Batch, state: BatchState) -> bool:
        if state.name is not None:
            return state.name == batch.name
        known = {other.batch_id for other in self.open.values() if other is not batch} | self._foreign
        is_later = state.created_at is None or state.created_at >= batch.started_at - SKEW
        return is_later and state.total == len(batch.tickets) and state.batch_id not in known

    async def _ended(self, batch: Batch) -> BatchState | HttpResponse | Failure:
        """Poll a batch until it has ended; returns its state, or what all of its requests got instead of an answer."""
        looks = 0
        while True:
            state = await self._asked(self.api.poll(batch.batch_id or ""), self.api.read)
            if isinstance(state, BatchState) and state.ended:
                return state.rejection or state
            is_old = datetime.now(UTC) - batch.started_at > self.kept
            if isinstance(state, Failure) and state.status == 404 and is_old:  # else another account's key may be set
                return LOST if self.kept else EXPIRED  # a simulator that has ended has billed nothing
            await anyio.sleep(self._pause(looks))
            looks += 1

    async def _collected(self, batch: Batch, state: BatchState) -> None:
        """Deliver all results, page by page; requests without one count as unanswered."""
        requests, is_ours = list(self.api.results(state)), not batch.is_doubtful
        while requests:
            results = await self._asked(requests[0], partial(self.api.read_results, state))
            if isinstance(results, Failure) and results.status == 404:  # results are kept for some weeks only
                return await self._deliver(batch, dict.fromkeys(batch.tickets, LOST))
            if isinstance(results, Failure):
                await anyio.sleep(self._pause(9))
                continue
            requests[:1] = [] if results.more is None else [results.more]
            is_ours = is_ours or not batch.tickets.keys().isdisjoint(results.replies)
            await self._deliver(batch, results.replies)
        if state.name is None and not is_ours:  # another batch of the same size
            self._foreign.add(state.batch_id)
            batch.batch_id, batch.is_doubtful = None, True
        else:
            await self._deliver(batch, dict.fromkeys(batch.tickets, state.unanswered))
        return None

    async def _deliver(self, batch: Batch, replies: Mapping[str, HttpResponse | Failure]) -> None:
        for number, (name, reply) in enumerate(replies.items()):
            if (ticket := batch.tickets.pop(name, None)) is not None:
                ticket.reply = reply
                self.moving += 1
                self.back += 1
                ticket.answered.set()
            if number % 100 == 0:
                await anyio.lowlevel.checkpoint()  # thousands at once would block the loop

    # --- helpers ---

    async def _asked(self, request: Request, read: Callable[[HttpResponse], T | Failure]) -> T | Failure:
        response = await self.send(request)
        result = response if isinstance(response, Failure) else await apart(response.body, read, response)
        known, self.trouble = self.trouble, result.message if isinstance(result, Failure) else ""
        if isinstance(result, Failure) and known != self.trouble:
            log.warning("batch not read", extra={"run": self.run_id, "code": result.code})
        return result

    def _custom_id(self, key: Key) -> str:
        return "-".join([self.run_id, *map(str, key)])

    def _pause(self, looks: int) -> float:
        first, longest = self.looks
        return min(first * 1.5 ** min(looks, 50), longest) * self.policy.scale

    def _rest(self) -> None:
        self.moving -= 1
        self.stir()

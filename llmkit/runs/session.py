"""A run from its first request to its last row: its workers and queues, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import anyio.to_thread

from llmkit.catalog.budget_settings import budgets_of
from llmkit.errors import LlmkitError
from llmkit.records import Failure, Model
from llmkit.records.checks.texts import counted
from llmkit.runs.attempt import STOPPED, Attempt
from llmkit.runs.background import first_error
from llmkit.runs.circuit_breaker import affected
from llmkit.runs.context import RunContext, is_undeducted
from llmkit.runs.conversation import Conversation
from llmkit.runs.following import set_limits, withdrawn
from llmkit.runs.progress import Progress, Tracker
from llmkit.runs.remote import LateAnswer
from llmkit.runs.turns import ask_turn
from llmkit.store import CatalogState, events

log = logging.getLogger("llmkit.runs")

REFRESH = 1.0
"""Seconds between looks at the catalog."""
SYNC_AFTER = 5.0
"""Seconds before the first projection into the database; readers bring it up to date anyway."""
SYNC_SHARE = 0.05
"""The largest share of a run's time that projections may take."""


@dataclass(slots=True)
class Session:
    """One run, from its first request to its last row. Lives on the background loop; made by ``Runner``."""

    context: RunContext
    queues: dict[str, deque[int]]
    conversations: Mapping[int, Conversation] = field(default_factory=dict)
    """Conversations already begun, in a resumed run or by reused answers, by position."""
    late: Mapping[int, LateAnswer] = field(default_factory=dict)
    """Replies that arrived while a resumed run was dead, by position."""
    catalog: CatalogState | None = None
    """The catalog to heed in a resumed run before anything is sent."""
    _scope: anyio.CancelScope | None = None
    _workers: Counter[str] = field(default_factory=Counter)
    _drained: defaultdict[str, anyio.Event] = field(default_factory=lambda: defaultdict(anyio.Event))
    _sizes: Mapping[str, int] = field(default_factory=dict)
    _next_sync: float = field(default_factory=lambda: time.monotonic() + SYNC_AFTER)
    _cancelled: bool = False
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.context.run_id

    @property
    def tracker(self) -> Tracker:
        """The tracker of its events."""
        return self.context.tracker

    def progress(self) -> Progress:
        """A snapshot for people and panels."""
        return self.tracker.snapshot(self.context.waiting(self.queues))

    async def cancel(self, grace: float, *, keeps_batches: bool) -> None:
        """Send nothing more; after ``grace`` seconds cut off what is in flight. Batches may be kept for ``resume``."""
        self._cancelled = True
        if not keeps_batches:
            await self.context.cancel_batches(grace)
        self.context.is_stopped = True
        if self._scope is not None:
            self._scope.cancel()
        with anyio.move_on_after(grace):
            await self._over.wait()  # else the process would wait for this at its end
        self.context.cut()

    async def main(self) -> None:
        """Ask everything, then write how it ended.

        Raises:
            JournalError: an answer could not be saved, so nothing more was sent.
            LlmkitError: nothing more could be sent.
        """
        self.tracker.emit("started")
        started = time.monotonic()
        log.info("run started", extra={"run": self.run_id, "probes": sum(map(len, self.queues.values()))})
        problem: BaseException | None = None
        try:
            with anyio.CancelScope() as self._scope:
                async with anyio.create_task_group() as everything:
                    if self.catalog is not None:
                        await self._heed(self.catalog)
                    everything.start_soon(self._refresh_forever)
                    for desk in self.context.desks.values():
                        everything.start_soon(desk.serve)
                    async with anyio.create_task_group() as asking:
                        for provider in self.queues:
                            asking.start_soon(self._serve, provider)
                    everything.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            problem = first_error(group)
        with anyio.CancelScope(shield=True):
            problem = await self._end(problem)
        code = problem.code if isinstance(problem, LlmkitError) else None
        fields = {"run": self.run_id, "status": self.tracker.status, "code": code}
        log.info("run ended", extra={**fields, "seconds": round(time.monotonic() - started, 3)})
        if problem is not None:
            raise problem

    # --- workers ---

    async def _serve(self, provider: str) -> None:
        """Keep as many workers as the provider's limit can use, even when it is raised during the run."""
        # conversations in batches all wait together
        gathering = {reference.partition(":")[0] for reference in self.context.desks}
        async with anyio.create_task_group() as workers:
            while self.queues[provider] and not self.context.is_stopped:
                limit = self.context.services.gate.queue(provider).limits.max_parallel
                everybody = len(self.queues[provider]) + self._workers[provider]
                target = everybody if provider in gathering else min(limit + min(limit, 8), everybody)
                for _ in range(target - self._workers[provider]):
                    self._workers[provider] += 1
                    workers.start_soon(self._work, provider)
                    await anyio.lowlevel.checkpoint()  # a hundred starts at once would block the loop
                with anyio.move_on_after(REFRESH):
                    await self._drained[provider].wait()

    async def _work(self, provider: str) -> None:
        queue = self.queues[provider]
        try:
            with anyio.CancelScope() as guard:
                while queue and not self.context.is_stopped:
                    position = queue.popleft()
                    if not queue:
                        self.context.stir()
                    with self.context.conversing(self.context.spec.plan.model_of(position)):
                        await self._converse(position, guard)
            self._drained[provider].set()
        finally:
            self._workers[provider] -= 1

    async def _converse(self, position: int, guard: anyio.CancelScope) -> None:
        """Ask all turns of one probe and write its final row. ``guard`` is the worker's scope."""
        begun = self.conversations.get(position)
        conversation = begun or Conversation.of(self.run_id, self.context.spec.plan, position)
        conversation.guard = guard
        failure: Failure | None = None
        try:
            if (late := self.late.get(position)) is not None:
                await Attempt.of(self.context, conversation).take(late)
            while failure is None and not conversation.finished:
                async with self.context.warmed(conversation.probe):
                    failure = await ask_turn(self.context, conversation)
        except anyio.get_cancelled_exc_class():
            if conversation.turn_attempts and conversation.status is None:  # what it has cost so far must be counted
                await self.context.write([self.context.end_probe(conversation, STOPPED)])
            raise
        except LlmkitError:
            raise
        except OSError as error:  # from the files that processes share: replies never raise it
            raise LlmkitError(
                f"The limits of {conversation.probe.model.provider} cannot be recorded on the disk: "
                f"{error.strerror or error}. Free some space or check the catalog's folder, then resume the run."
            ) from error
        except Exception as error:  # noqa: BLE001 - it concerns this probe only, and the others continue
            failure = self.context.unforeseen(conversation, error)
        finally:
            if conversation.purse is not None:
                conversation.purse.release()
        if conversation.status is None:
            await self.context.write([self.context.end_probe(conversation, failure)])
        code = conversation.failure.code if conversation.failure else None
        self.context.emit("probe_done", conversation, status=conversation.status, code=code)
        await self._affect_others(conversation, failure)

    async def _affect_others(self, conversation: Conversation, failure: Failure | None) -> None:
        """Apply what the end of a probe means for the others."""
        if self.context.stop_check is not None and self.context.stop_check.is_over(conversation):
            for queue in self.queues.values():  # requests in flight still finish
                queue.clear()
        if failure is not None and failure.scope == "run":
            raise LlmkitError(failure.message, code=failure.code)
        if conversation.status == "failed":
            await self._skip_rest(conversation.probe.model)

    async def _skip_rest(self, model: Model) -> None:
        """Skip the rest of a model or its provider, if either is closed, but what an earlier process paid for."""
        refusal, plan = self.context.breaker.refusal(model), self.context.spec.plan
        if refusal is None:
            return
        reference, queue = affected(model, refusal), self.queues.get(model.provider, deque())
        asked = {*self.late, *(position for desk in self.context.desks.values() for position, _, _ in desk.earlier)}
        rest = [p for p in queue if p not in asked and reference in (model.provider, plan.model_of(p).reference)]
        if not rest:
            return
        others = set(queue).difference(rest)
        kept = [position for position in queue if position in others]
        queue.clear()
        queue.extend(kept)
        told = {"reference": reference, "code": refusal.code, "message": refusal.message}
        await self.context.write([events.skip(run_id=self.run_id, session=self.context.session, **told)])
        for position in rest:
            skipped = Conversation.of(self.run_id, plan, position)
            self.context.emit("probe_done", skipped, status="skipped", code=refusal.code)
        names = {"provider": model.provider, "model": None if reference == model.provider else reference}
        log.warning("skipped", extra={"run": self.run_id, **names, "code": refusal.code, "probes": len(rest)})

    async def _heed(self, catalog: CatalogState) -> None:
        """Follow the catalog: send nothing more to a provider that was disabled or a model that was deprecated."""
        for model in self.context.spec.plan.models:
            refusal = withdrawn(model, catalog)
            if refusal is not None and self.context.breaker.refusal(model) is None:
                self.context.breaker.trip(model, refusal)
                await self._skip_rest(model)

    # --- the journal, the database, the end ---

    async def _refresh_forever(self) -> None:
        while True:
            await anyio.sleep(REFRESH)
            if holdup := self.context.services.transport.holdup:
                self.tracker.emit("waiting", reason=holdup)
            catalog = await anyio.to_thread.run_sync(self._refresh)
            if catalog is not None:
                await self._heed(catalog)

    def _refresh(self) -> CatalogState | None:
        """Bring the database up to date, and apply limits and budgets edited since; returns the catalog if anything was
        written, here or elsewhere."""
        store, gate = self.context.services.store, self.context.services.gate
        try:
            if store.journal.sizes() == self._sizes:
                return None
            if is_due := (began := time.monotonic()) >= self._next_sync:
                self._deduct()
                store.sync()
                self._next_sync = began + (time.monotonic() - began) / SYNC_SHARE
            catalog = store.catalog()
        except LlmkitError as error:  # held by another program, or a full disk: the journal has everything
            log.info("database not brought up to date", extra={"run": self.run_id, "reason": str(error)})
            return None
        self._sizes = store.journal.sizes()
        if (money := self.context.budget.shared) is not None:
            how = {"simulated": self.context.spec.simulated, "anew": is_due and store.peers.are_elsewhere}
            self.context.services.spending.follow(money, budgets_of(catalog), **how)
        set_limits(gate, {name: catalog.providers[name] for name in self.queues}, catalog.models)
        return catalog

    async def _end(self, problem: BaseException | None) -> BaseException | None:
        """Write how the run ended; returns the problem that made it fail, if any."""
        left = not self.tracker.is_complete  # the last answers may have come since
        enough = self.context.stop_check.outcome if left and self.context.stop_check is not None else None
        cancelled = enough or (left and self._cancelled)
        status = "failed" if problem is not None else "cancelled" if cancelled else "completed"
        message = str(problem) if problem else enough
        if status == "completed" and self.context.refusal is not None:
            status, message = "budget", self._stopped_by(self.context.refusal)
        try:
            await self.context.write([self.context.state_line(self.context.session + 1, status, message)])
            self.context.forget()
            await self._project()
        except Exception as error:  # noqa: BLE001 - the end is not saved: the run will be found interrupted
            log.warning("end not saved", extra={"run": self.run_id, "reason": str(error)})
            status, message = "failed", str(problem := problem or error)
        finally:  # whatever went wrong, the run is over, and its listeners must be told
            self.context.services.store.release_run(self.run_id)
            if message:
                self.tracker.note(message)
            self.tracker.emit("ended", status=status, reason=message)
            self._over.set()
        return problem

    async def _project(self) -> None:
        try:
            await anyio.to_thread.run_sync(self.context.services.store.sync)
        except Exception as error:  # noqa: BLE001 - the journal has it, and the next reader applies that
            log.info("database not brought up to date", extra={"run": self.run_id, "reason": str(error)})

    def _stopped_by(self, refusal: str) -> str:
        count = self.tracker.refused()
        asked = f"{counted(count, 'probe')} of {len(self.context.spec.plan):,} ended without an answer"
        raised = "" if self.context.budget.refused_by else ", budget=..."  # another budget is not raised by resuming
        return f"{refusal} So {asked}; kit.resume({self.run_id!r}{raised}) asks them."

    def _deduct(self) -> None:
        """Deduct what was spent from the balances, during the run."""
        if not self.context.spec.simulated and is_undeducted(self.context.spent, self.context.deducted):
            line = self.context.state_line(self.context.session, "running")
            self.context.services.store.append([line]).result()

"""What all requests of one run share: its spec, the services it uses, its money, and how it tells what happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
import warnings
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anyio

from llmkit.errors import Code
from llmkit.limiter import Budget, Gate, Purse
from llmkit.money import pricing
from llmkit.records import Failure, Model
from llmkit.runs.batch_desk import BatchDesk
from llmkit.runs.circuit_breaker import CircuitBreaker
from llmkit.runs.conversation import Conversation
from llmkit.runs.plan import Probe
from llmkit.runs.progress import EventKind, Tracker
from llmkit.runs.remote import Sender
from llmkit.runs.spec import RunSpec
from llmkit.runs.spending import Spending
from llmkit.runs.stop_rules import Watch
from llmkit.runs.targets import Target
from llmkit.runs.tickets import waiting_words
from llmkit.store import Event, Store, events

log = logging.getLogger("llmkit.runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What runs work with; shared by all runs of a kit."""

    store: Store
    gate: Gate
    transport: Sender
    spending: Spending
    learn_rejected: Callable[[str, str], object]
    """Remembers that a model (reference) takes no such parameter (name)."""
    actor: str
    """Whose runs they are."""


@dataclass(slots=True, kw_only=True)
class RunContext:
    """One run as its requests see it.

    ``spent`` is what was billed, by provider, and by an earlier process of the run and not deducted from balances any
    more; ``deducted`` the part of it that was.
    """

    run_id: str
    spec: RunSpec
    services: Services
    budget: Budget
    tracker: Tracker
    watch: Watch | None = None
    """Says when the run has heard enough."""
    session: int = 0
    """The number of the state that the run was resumed with."""
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    spent: dict[str, Decimal] = field(default_factory=dict)
    deducted: Mapping[str, Decimal] = field(default_factory=dict)
    is_stopped: bool = False
    refusal: str | None = None
    """Why a budget refused the first of the requests that it refused."""
    dearer: dict[str, Decimal] = field(default_factory=dict)
    """By model, how many times its worst case a request has cost."""
    has_passed: bool = False
    in_flight: set[asyncio.Task[Any]] = field(default_factory=set)
    """The tasks that wait for an answer."""
    _warm: dict[Hashable, anyio.Event] = field(default_factory=dict)
    _logged: set[tuple[str, str, int | None]] = field(default_factory=set)
    desks: dict[str, BatchDesk] = field(default_factory=dict)
    """Of the models that are asked in batches."""
    batched: tuple[int, int] = (0, 0)
    """Requests of earlier processes of the run that had come back from batches, and how many were handed in."""
    targets: dict[str, Target] = field(default_factory=dict)
    reused_versions: dict[str, set[str | None]] = field(default_factory=dict)
    """Of each model (reference) the versions whose answers were reused, until it gives its first new answer."""

    def target(self, model: Model) -> Target:
        """How a model is asked now."""
        target = self.targets.get(model.reference)
        if target is None:
            provider, in_batches = self.spec.providers[model.provider], model.reference in self.spec.batched
            target = self.targets[model.reference] = Target.of(model, provider, in_batches=in_batches)
        return target

    def conversing(self, model: Model) -> contextlib.AbstractContextManager[None]:
        """While a conversation with a model goes on."""
        desk = self.desks.get(model.reference)
        return contextlib.nullcontext() if desk is None else desk.conversing()

    def warmed(self, probe: Probe) -> contextlib.AbstractAsyncContextManager[None]:
        """Let the first of those that share a beginning fill the provider's cache before the others come."""
        key = None if probe.model.reference in self.desks else self.spec.plan.warmed_by(probe.position)
        return contextlib.nullcontext() if key is None else self._warmed(key)

    @contextlib.asynccontextmanager
    async def _warmed(self, key: Hashable) -> AsyncGenerator[None]:
        if (warm := self._warm.get(key)) is not None:
            await warm.wait()
            yield
            return
        self._warm[key] = anyio.Event()
        try:
            yield
        finally:
            self._warm[key].set()

    def stir(self) -> None:
        """Nobody is left to begin, so that batches may be handed in."""
        for desk in self.desks.values():
            desk.stir()

    @property
    def status(self) -> str:
        """How the run stands; while it waits for batches, how many requests are back."""
        desks, (back, total) = self.desks.values(), self.batched
        back, total = back + sum(desk.back for desk in desks), total + sum(desk.handed_in for desk in desks)
        return waiting_words(back, total) if self.batching else self.tracker.status

    @property
    def batching(self) -> set[str]:
        """The providers whose batches are waited for."""
        running = self.tracker.status == "running"
        return {reference.partition(":")[0] for reference, desk in self.desks.items() if running and desk.open}

    async def cancel_batches(self, grace: float) -> None:
        """Cancel all batches at their providers, and wait as many seconds for what they had answered."""
        with anyio.move_on_after(grace):
            async with anyio.create_task_group() as cancelling:
                for desk in self.desks.values():
                    cancelling.start_soon(desk.cancel)

    def purse(self, conversation: Conversation) -> Purse | None:
        """What a conversation has set aside; ``None`` where nothing limits what may be spent."""
        provider = conversation.probe.model.provider
        if conversation.purse is None and self.budget.limits(provider):
            probe = conversation.probe
            conversation.purse = Purse(self.budget, provider, (probe.model.reference, len(probe.scenario.prompts)))
            conversation.purse.begun = bool(conversation.turn_attempts)
        return conversation.purse

    def to_deduct(self) -> dict[str, Decimal]:
        """What was spent by provider since this was asked before."""
        if self.spec.simulated:
            return {}
        before, self.deducted = self.deducted, dict(self.spent)
        left = {name: amount - before.get(name, 0) for name, amount in sorted(self.deducted.items())}
        return {name: min(amount, pricing.LARGEST) for name, amount in left.items()}

    def learn_dearer(self, model: str, cost: Decimal, worst_case: Decimal) -> None:
        """A request has cost more than it could: from now on its model is reckoned with at that."""
        news = model not in self.dearer or bool(self.budget.passed) > self.has_passed
        self.has_passed = bool(self.budget.passed)
        self.dearer[model] = max(cost / worst_case, self.dearer.get(model, Decimal(1)))
        passed = " and ".join(
            f"the budget{' ' + key if key else ''} is passed by {pricing.dollars(amount)}"
            for key, amount in self.budget.passed.items()
        )
        if news:
            self.note(
                f"A request to {model} has cost {pricing.dollars(cost)}, where at most {pricing.dollars(worst_case)} "
                f"was to be expected{': ' + passed if passed else ''}. Its next requests are reckoned with at that."
            )

    def note(self, sentence: str) -> None:
        """Say something that whoever pays should know, once: in the run's progress, and as a warning."""
        self.tracker.note(sentence)
        with contextlib.suppress(UserWarning):  # where warnings are errors
            warnings.warn(sentence, UserWarning, stacklevel=2)

    def end_probe(self, conversation: Conversation, failure: Failure | None) -> Event:
        """Decide how a probe ends. The event is written with its last answer: no crash comes between the two."""
        self.decide_end(conversation, failure)
        return self.probe_line(conversation)

    def probe_line(self, conversation: Conversation) -> Event:
        """How a probe has ended."""
        return events.probe(
            run_id=self.run_id, position=conversation.probe.position, session=self.session, **conversation.row()
        )

    def decide_end(self, conversation: Conversation, failure: Failure | None) -> None:
        """Decide how a probe ends."""
        refusal = self.breaker.refusal(conversation.probe.model)
        conversation.end(
            failure,
            refused=failure is not None and failure is refusal,
            check=self.spec.plan.check_of(conversation.probe, self.spec.check_answer),
        )

    def compare_version(self, conversation: Conversation, version: str | None) -> None:
        """Say so when a model answers in another version than the answers that were reused beside."""
        reference = conversation.probe.model.reference
        reused = self.reused_versions.pop(reference, {version})
        if version not in reused:
            before = sorted(filter(None, reused))
            log.warning("version changed", extra=self.log_fields(conversation, version=version, reused=before))

    def cut(self) -> None:
        """Give up the requests on their way, and send no more."""
        self.is_stopped = True
        for flight in tuple(self.in_flight):
            flight.cancel()

    async def write(self, lines: list[Event]) -> None:
        """Return when the lines are on the disk. What has begun is written whatever is cancelled."""
        with anyio.CancelScope(shield=True):
            await self.services.store.append(lines)

    def emit(self, kind: EventKind, conversation: Conversation, *, turn: int | None = None, **details: Any) -> None:
        """Tell the listeners of the run."""
        model = conversation.probe.model
        names = {"provider": model.provider, "model": model.reference, "probe_id": conversation.probe_id}
        self.tracker.emit(kind, **names, turn=turn or conversation.turn, **details)

    def unforeseen(self, conversation: Conversation, error: Exception, *, maybe_billed: bool = False) -> Failure:
        """An error of llmkit's own: it ends the probe and not the run. Its traceback is logged, once of each place."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        key = (type(error).__name__, place.filename, place.lineno)
        fields = self.log_fields(conversation, code=Code.UNKNOWN, error=key[0])
        log.error("unforeseen error", extra=fields, exc_info=None if key in self._logged else error)
        self._logged.add(key)
        message = f"llmkit met an error that it did not foresee: {key[0]}. Its log has the traceback; please report it."
        return Failure(code=Code.UNKNOWN, message=message, scope="probe", maybe_billed=maybe_billed)

    def log_fields(self, conversation: Conversation, **fields: Any) -> dict[str, Any]:
        """The ``extra`` of a log record about a probe."""
        model = conversation.probe.model
        names = {"provider": model.provider, "model": model.reference}
        return {"run": self.run_id, "probe": conversation.probe_id, **names, **fields}

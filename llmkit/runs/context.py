"""What all requests of one run share: its spec, services, money and events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anyio

from llmkit.errors import Code
from llmkit.limiter import BUDGET, Budget, Gate
from llmkit.money import pricing
from llmkit.money.amounts import dollars
from llmkit.money.tariffs import FindTariff
from llmkit.records import Failure, Model
from llmkit.records.user_warnings import warn
from llmkit.runs.batch_desk import BatchDesk
from llmkit.runs.circuit_breaker import CircuitBreaker
from llmkit.runs.conversation import Conversation
from llmkit.runs.following import words
from llmkit.runs.plan import Probe
from llmkit.runs.progress import EventKind, Tracker
from llmkit.runs.remote import Sender
from llmkit.runs.spec import RunSpec
from llmkit.runs.spending import Spending
from llmkit.runs.stop_rules import StopCheck
from llmkit.runs.targets import Target
from llmkit.runs.tickets import Key, waiting_words
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
    """Remembers that a model (reference) rejects a parameter (name)."""
    actor: str
    """Whose runs they are."""


@dataclass(slots=True, kw_only=True)
class RunContext:
    """One run as its requests see it.

    ``spent`` is the amount billed by provider, also to earlier processes of the run; ``deducted`` is the part of it
    deducted from the balances.
    """

    run_id: str
    spec: RunSpec
    services: Services
    budget: Budget
    tracker: Tracker
    stop_check: StopCheck | None = None
    """Decides when the run has enough answers."""
    session: int = 0
    """The number of the state with which the run was resumed; 0 in a new run."""
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    spent: dict[str, Decimal] = field(default_factory=dict)
    deducted: Mapping[str, Decimal] = field(default_factory=dict)
    is_stopped: bool = False
    refusal: str | None = None
    """Why a budget refused the first request that it refused."""
    dearer: dict[str, Decimal] = field(default_factory=dict)
    """By model, the most that a request has cost as a multiple of its worst case."""
    has_passed: bool = False
    in_flight: set[asyncio.Task[Any]] = field(default_factory=set)
    """The tasks that wait for a reply."""
    _warm: dict[Hashable, anyio.Event] = field(default_factory=dict)
    _logged: set[tuple[str, str, int | None]] = field(default_factory=set)
    desks: dict[str, BatchDesk] = field(default_factory=dict)
    """By model reference, for models that run in batches."""
    batched: tuple[int, int] = (0, 0)
    """The requests that earlier processes of the run got back from batches, and those that they submitted."""
    targets: dict[str, Target] = field(default_factory=dict)
    tariff: FindTariff | None = None
    """The prices by when a request was made, in a resumed run whose prices have changed."""
    since: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    """Then when it was resumed, and later than all that it had asked, even if the clock was set back."""
    reused_versions: dict[str, set[str | None]] = field(default_factory=dict)
    """By model reference, the versions whose answers were reused, until the model gives its first new answer."""

    def target(self, model: Model) -> Target:
        """How a model is asked now."""
        target = self.targets.get(model.reference)
        if target is None:
            provider, in_batches = self.spec.providers[model.provider], model.reference in self.spec.batched
            target = self.targets[model.reference] = Target.of(model, provider, in_batches=in_batches)
        return target

    def priced(self, target: Target, at: datetime) -> Target:
        """The same target at the prices of a request made at a time: an earlier process may have sent it."""
        if self.tariff is None:
            return target
        tariff = self.tariff(target.model.reference, at)
        return replace(target, price=tariff.price, fallback=tariff.fallback)

    def refused(self, model: Model, key: Key) -> Failure | None:
        """Why a request may not be sent, if so; one whose answer only has to be fetched from a batch is sent."""
        desk = self.desks.get(model.reference)
        return None if desk is not None and key in desk.earlier else self.breaker.refusal(model)

    def conversing(self, model: Model) -> contextlib.AbstractContextManager[None]:
        """Have the model's batch desk, if any, count a conversation while the block lasts."""
        desk = self.desks.get(model.reference)
        return contextlib.nullcontext() if desk is None else desk.conversing()

    def forget(self) -> None:
        """Let go of what was asked: the journal has it, and the run's handle lives as long as its kit."""
        self.spec = replace(self.spec, plan=replace(self.spec.plan, scenarios=(), order="sequential"))
        self.stop_check = None

    def warmed(self, probe: Probe) -> contextlib.AbstractAsyncContextManager[None]:
        """Let the first of the probes that share a beginning fill the provider's cache before the others are sent."""
        keys = () if probe.model.reference in self.desks else self.spec.plan.warmed_by(probe.position)
        return self._warmed(keys) if keys else contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def _warmed(self, keys: Iterable[Hashable]) -> AsyncGenerator[None]:
        own: list[anyio.Event] = []
        try:
            for key in keys:
                if (warm := self._warm.get(key)) is not None:
                    await warm.wait()
                else:
                    self._warm[key] = anyio.Event()
                    own.append(self._warm[key])
            yield
        finally:
            for warm in own:
                warm.set()

    def stir(self) -> None:
        """Have the desks check whether batches can be submitted, when no probe is left to begin."""
        for desk in self.desks.values():
            desk.stir()

    @property
    def status(self) -> str:
        """The run's status; while it waits for batches, how many requests are back."""
        desks, (back, total) = self.desks.values(), self.batched
        back, total = back + sum(desk.back for desk in desks), total + sum(desk.handed_in for desk in desks)
        return waiting_words(back, total) if self.batching else self.tracker.status

    @property
    def batching(self) -> set[str]:
        """The providers with open batches."""
        running = self.tracker.status == "running"
        return {reference.partition(":")[0] for reference, desk in self.desks.items() if running and desk.open}

    def waiting(self, providers: Collection[str]) -> dict[str, str]:
        """What each of these providers waits for, in a few words, if it does."""
        if self.tracker.status != "running":
            return {}
        if holdup := self.services.transport.holdup:
            return dict.fromkeys(providers, holdup)
        waits = dict.fromkeys(self.budget.waiting().intersection(providers), BUDGET)
        waits |= {name: words(block) for name, block in self.services.gate.waiting().items() if name in providers}
        waits |= dict.fromkeys(self.batching, self.status)
        troubles = {reference.partition(":")[0]: desk.trouble for reference, desk in self.desks.items() if desk.trouble}
        return waits | {name: f"{self.status}. {troubles[name]}" for name in self.batching & troubles.keys()}

    async def cancel_batches(self, grace: float) -> None:
        """Cancel all batches at their providers, and wait at most ``grace`` seconds for their answers."""
        with anyio.move_on_after(grace):
            async with anyio.create_task_group() as cancelling:
                for desk in self.desks.values():
                    cancelling.start_soon(desk.cancel)

    def state_line(self, number: int, status: str, message: str | None = None) -> Event:
        """The journal line of the run's state, which deducts what was spent since the one before."""
        before, spent = self.deducted, {} if self.spec.simulated else self.spent
        self.deducted = {name: min(amount, pricing.LARGEST) for name, amount in sorted(spent.items())}
        state: dict[str, Any] = {"number": number, "status": status, "message": message}
        return events.run_state(run_id=self.run_id, **state, spent=self.deducted, deducted=before)

    def learn_dearer(self, model: str, cost: Decimal, worst_case: Decimal) -> None:
        """Raise the worst cases of a model after one of its requests has cost more than its worst case."""
        news = model not in self.dearer or bool(self.budget.passed) > self.has_passed
        self.has_passed = bool(self.budget.passed)
        self.dearer[model] = max(cost / worst_case, self.dearer.get(model, Decimal(1)))
        passed = " and ".join(
            f"the budget{' ' + key if key else ''} is exceeded by {dollars(amount)}"
            for key, amount in self.budget.passed.items()
        )
        if news:
            self.note(
                f"A request to {model} cost {dollars(cost)}, but at most {dollars(worst_case)} was "
                f"expected{': ' + passed if passed else ''}. Its next requests are budgeted accordingly."
            )

    def note(self, sentence: str) -> None:
        """Show a sentence to whoever pays, in the run's progress and as a warning."""
        self.tracker.note(sentence)
        with contextlib.suppress(UserWarning):  # where warnings are errors
            warn(sentence)

    def end_probe(self, conversation: Conversation, failure: Failure | None) -> Event:
        """Decide how a probe ends, and return its journal line."""
        self.decide_end(conversation, failure)
        return self.probe_line(conversation)

    def probe_line(self, conversation: Conversation) -> Event:
        """The journal line that says how a probe ended."""
        return events.probe(
            run_id=self.run_id, position=conversation.probe.position, session=self.session, **conversation.row()
        )

    def decide_end(self, conversation: Conversation, failure: Failure | None) -> None:
        """Set how a probe ended: by its failure, or by the check of its last answer."""
        refusal = self.breaker.refusal(conversation.probe.model)
        conversation.end(
            failure,
            refused=failure is not None and failure is refusal,
            check=self.spec.plan.check_of(conversation.probe.position, self.spec.check_answer),
        )

    def compare_version(self, conversation: Conversation, version: str | None) -> None:
        """Log when a model answers in another version than its reused answers."""
        reference = conversation.probe.model.reference
        reused = self.reused_versions.pop(reference, {version})
        if version not in reused:
            before = sorted(filter(None, reused))
            log.warning("version changed", extra=self.log_fields(conversation, version=version, reused=before))

    def cut(self) -> None:
        """Abandon the requests in flight, and send no more."""
        self.is_stopped = True
        for flight in tuple(self.in_flight):
            flight.cancel()

    async def write(self, lines: list[Event]) -> None:
        """Return once the lines are on disk. Cancellation does not interrupt the write."""
        with anyio.CancelScope(shield=True):
            await self.services.store.append(lines)

    def emit(self, kind: EventKind, conversation: Conversation, *, turn: int | None = None, **details: Any) -> None:
        """Count an event of a conversation, and tell the run's listeners."""
        model = conversation.probe.model
        names = {"provider": model.provider, "model": model.reference, "probe_id": conversation.probe_id}
        self.tracker.emit(kind, **names, turn=turn or conversation.turn, **details)

    def unforeseen(self, conversation: Conversation, error: Exception, *, maybe_billed: bool = False) -> Failure:
        """The failure for an error of llmkit's own: it ends the probe, not the run. Each place logs one traceback."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        key = (type(error).__name__, place.filename, place.lineno)
        fields = self.log_fields(conversation, code=Code.UNKNOWN, error=key[0])
        log.error("unforeseen error", extra=fields, exc_info=None if key in self._logged else error)
        self._logged.add(key)
        message = f"Unexpected error in llmkit: {key[0]}. Its log has the traceback; please report it."
        return Failure(code=Code.UNKNOWN, message=message, scope="probe", maybe_billed=maybe_billed)

    def log_fields(self, conversation: Conversation, **fields: Any) -> dict[str, Any]:
        """The ``extra`` of a log record about a probe."""
        model = conversation.probe.model
        names = {"provider": model.provider, "model": model.reference}
        return {"run": self.run_id, "probe": conversation.probe_id, **names, **fields}


def is_undeducted(spent: Mapping[str, Decimal], deducted: Mapping[str, Decimal]) -> bool:
    """Whether anything that was spent, by provider, is still to be deducted from the balances; what is free is not."""
    return any(amount > deducted.get(name, 0) for name, amount in spent.items())

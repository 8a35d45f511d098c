"""What all requests of one run share: its spec, the services it uses, its money, and how it tells what happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from llmkit.limiter import Budget, Gate
from llmkit.money import pricing
from llmkit.providers.transport import Transport
from llmkit.providers.wires import Wire, wire_for
from llmkit.records import Failure, Model, Provider, Rates
from llmkit.runs.circuit_breaker import CircuitBreaker
from llmkit.runs.conversation import Conversation
from llmkit.runs.progress import RunEvent, Tracker
from llmkit.runs.spec import RunSpec
from llmkit.store import Event, Store, events


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What runs work with; shared by all runs of a kit."""

    store: Store
    gate: Gate
    transport: Transport
    learn_rejected: Callable[[str, str], object]
    """Remembers that a model (reference) takes no such parameter (name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model with all that is the same for each of its requests.

    ``rejects`` are parameters that the model has refused in this run, so that its requests go without them.
    """

    model: Model
    provider: Provider
    wire: Wire
    fallback: Rates | None
    rejects: frozenset[str] = frozenset()

    def without(self, parameter: str) -> Target:
        """The same, asked without a parameter from now on."""
        config = self.model.api_config
        learned = sorted({*config.get("learned_rejects", ()), parameter})
        model = replace(self.model, api_config={**config, "learned_rejects": learned})
        return replace(self, model=model, rejects=self.rejects | {parameter})


@dataclass(slots=True, kw_only=True)
class RunContext:
    """One run as its requests see it. ``spent`` is what was billed, by provider."""

    run_id: str
    spec: RunSpec
    services: Services
    budget: Budget | None
    tracker: Tracker
    session: int = 0
    """The number of the state that the run was resumed with."""
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    spent: Counter[str] = field(default_factory=Counter)
    is_cut: bool = False
    in_flight: set[anyio.CancelScope] = field(default_factory=set)
    targets: dict[str, Target] = field(default_factory=dict)

    def target(self, model: Model) -> Target:
        """How a model is asked now."""
        target = self.targets.get(model.reference)
        if target is None:
            provider = self.spec.providers[model.provider]
            target = self.targets[model.reference] = Target(
                model=model,
                provider=provider,
                wire=wire_for(provider, model),
                fallback=pricing.default_rates(provider),
            )
        return target

    def end_probe(self, conversation: Conversation, failure: Failure | None) -> Event:
        """Decide how a probe ends. The event is written with its last answer: no crash comes between the two."""
        refusal = self.breaker.refusal(conversation.probe.model)
        conversation.end(failure, refused=failure is not None and failure is refusal, check=self.spec.check_answer)
        return events.probe(
            run_id=self.run_id, position=conversation.probe.position, session=self.session, **conversation.row()
        )

    def cut(self) -> None:
        """Give up the requests on their way, and send no more."""
        self.is_cut = True
        for flight in tuple(self.in_flight):
            flight.cancel()

    async def write(self, lines: list[Event]) -> None:
        """Return when the lines are on the disk. What has begun is written whatever is cancelled."""
        with anyio.CancelScope(shield=True):
            await asyncio.wrap_future(self.services.store.append(lines))

    def emit(self, kind: Any, conversation: Conversation, *, turn: int | None = None, **details: Any) -> None:
        """Tell the listeners of the run."""
        model = conversation.probe.model
        self.tracker.emit(
            RunEvent(
                kind=kind,
                run_id=self.run_id,
                provider=model.provider,
                model=model.reference,
                probe_id=conversation.probe_id,
                turn=turn or conversation.turn,
                **details,
            )
        )

    def log_fields(self, conversation: Conversation, **fields: Any) -> dict[str, Any]:
        """The ``extra`` of a log record about a probe."""
        model = conversation.probe.model
        names = {"provider": model.provider, "model": model.reference}
        return {"run": self.run_id, "probe": conversation.probe_id, **names, **fields}

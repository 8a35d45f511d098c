"""Asking one turn: call → gate → wire → transport → wire → price → journal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from llmkit.errors import BudgetExceeded, Code, LlmkitError
from llmkit.limiter import Admission, Budget, Gate
from llmkit.money import pricing
from llmkit.providers.transport import Delay, RetryPolicy, Transport, retrying
from llmkit.providers.wires import Wire, wire_for
from llmkit.records import Call, Completion, Failure, HttpResponse, Model, Provider, Request
from llmkit.runs.circuit_breaker import CircuitBreaker
from llmkit.runs.conversation import Conversation
from llmkit.runs.journal_rows import answer_fields, outcome_fields
from llmkit.runs.plan import Plan, most_input_tokens, most_output_tokens
from llmkit.runs.progress import RunEvent, Tracker
from llmkit.store import Event, Store, events

log = logging.getLogger("llmkit.runs")

STOPPED_MESSAGE = "The run was cancelled before every prompt was answered."
CUT_MESSAGE = "The run was cancelled while this was on its way; it may have been billed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a run is carried out, apart from what it asks."""

    policy: RetryPolicy
    retry_unknown: bool
    adaptive: bool = False
    simulated: bool = False
    check_answer: Callable[[str], Any] | None = None
    """Parses the last answer; raises ``ValueError`` with a sentence when it is not as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run works with; shared by all runs of a kit."""

    store: Store
    gate: Gate
    transport: Transport
    learn_rejected: Callable[[str, str], object]
    """Remembers that a model (reference) takes no such parameter (name)."""


@dataclass(slots=True, kw_only=True)
class Asker:
    """Asks the turns of one run's conversations, and settles how a probe ends.

    ``spent`` is what was billed by provider.
    """

    run_id: str
    plan: Plan
    providers: Mapping[str, Provider]
    parts: Parts
    settings: Settings
    budget: Budget | None
    tracker: Tracker
    closures: CircuitBreaker = field(default_factory=CircuitBreaker)
    spent: Counter[str] = field(default_factory=Counter)
    _rejected: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _flights: set[anyio.CancelScope] = field(default_factory=set)
    _grounded: bool = False

    async def ask_turn(self, conversation: Conversation) -> Failure | None:
        """Ask until there is an answer or no retry is left; drop a parameter that the model turns out not to take."""
        while True:
            result = await retrying(
                lambda _: self._attempt(conversation),
                self.settings.policy,
                retry_unknown=self.settings.retry_unknown,
                on_wait=lambda failure, delay, _: self._wait(conversation, failure, delay),
            )
            if isinstance(result, Completion):
                return None
            reference, name = conversation.probe.model.reference, result.rejected_param
            if name is None or self.plan.params.strict or name in conversation.dropped:
                return result
            if name in self._rejected[reference]:
                continue  # another probe learnt it while this one was on its way
            self._rejected[reference].add(name)
            log.info("parameter dropped", extra={"run": self.run_id, "model": reference, "parameter": name})
            if not self.settings.simulated:  # a simulator's guess must not change what real studies ask
                await anyio.to_thread.run_sync(self._remember, reference, name)

    def cut(self) -> None:
        """Give up the requests on their way, and send none any more."""
        self._grounded = True
        for flight in tuple(self._flights):
            flight.cancel()

    def _remember(self, reference: str, name: str) -> None:
        try:
            self.parts.learn_rejected(reference, name)
        except LlmkitError as error:  # the run knows it anyway; only the next run would have to learn it again
            log.warning("not remembered", extra={"model": reference, "parameter": name, "reason": str(error)})

    async def _wait(self, conversation: Conversation, failure: Failure, delay: Delay) -> None:
        provider = conversation.probe.model.provider
        if delay.pauses_provider:
            self.parts.gate.pause(provider, delay.seconds)
        self.emit("waiting", conversation, code=failure.code, reason=failure.message, seconds=delay.seconds)

    async def _attempt(self, conversation: Conversation) -> Completion | Failure:
        """One request: admitted, written down, sent, parsed, priced, written down again, and only then counted."""
        await anyio.lowlevel.checkpoint_if_cancelled()  # where nothing has to be waited for, nothing else would stop it
        if (closed := self.closures.of(conversation.probe.model)) is not None:
            return closed
        model = self._model(conversation.probe.model)
        conversation.dropped = frozenset(self._rejected[model.reference])
        provider = self.providers[model.provider]
        call = self.plan.call(replace(conversation.probe, model=model), conversation.answers)
        wire = wire_for(provider, model)
        request = wire.build(call)
        most_input = most_input_tokens(call, request)
        most = self._worst_case(provider, call, request, most_input)
        try:
            async with self.parts.gate.admit(
                model.provider,
                run_id=self.run_id,
                model=model.reference,
                tokens=most_input // 4 + (call.params.max_tokens or 1_000),
                budget=self.budget,
                worst_case=most,
                adaptive=self.settings.adaptive,
            ) as admission:
                if (closed := self.closures.of(conversation.probe.model)) is not None:
                    admission.waive()
                    return closed
                with anyio.CancelScope(shield=True):
                    result = await self._send(conversation, provider, wire, call, request, admission, most)
        except BudgetExceeded as error:
            return Failure(code=Code.BUDGET_EXCEEDED, message=str(error), scope="probe")
        return result

    async def _send(
        self,
        conversation: Conversation,
        provider: Provider,
        wire: Wire,
        call: Call,
        request: Request,
        admission: Admission,
        most: Decimal | None,
    ) -> Completion | Failure:
        turn, number, prompt = conversation.turn, conversation.next_attempt(), call.messages[-1].content
        conversation.queued_s += admission.waited_s
        conversation.left_out.update(request.left_out)
        identity: dict[str, Any] = {
            "attempt_id": f"{conversation.probe_id}.{turn}.{number}",
            "run_id": self.run_id,
            "probe_id": conversation.probe_id,
            "turn": turn,
            "attempt": number,
            "provider": provider.name,
            "model": call.model.reference,
        }
        asked_at = datetime.now(UTC)  # decides which hour's price holds, so it is written down
        await self.write(
            [
                events.intent(
                    **identity,
                    started_at=asked_at.isoformat(),
                    waited_s=round(admission.waited_s, 6),
                    wait_reason=admission.wait_reason,
                    request=dict(request.body or {}),
                    worst_case=None if most is None else format(most, "f"),
                )
            ]
        )
        self.emit("asked", conversation)
        admission.sent()
        clock = time.monotonic()
        response = await self._fly(provider, wire, request, conversation, turn)
        latency = time.monotonic() - clock
        result = response if isinstance(response, Failure) else wire.parse(call, response)
        cost = pricing.cost(result.usage, call.model.price, asked_at, fallback=pricing.default_rates(provider))
        conversation.add(result, cost, latency)
        if isinstance(result, Failure):
            self.closures.note(call.model, result)  # before the slot is free for the next
        lines = [
            events.outcome(
                **identity,
                **outcome_fields(result, response, cost, latency),
                turn_answered=answer_fields(result, cost, prompt) if isinstance(result, Completion) else None,
            )
        ]
        if isinstance(result, Completion) and conversation.finished:
            lines.append(self.final(conversation, None))
        await self.write(lines)
        self._settle(provider, wire, call.model.reference, response, result, cost, admission)
        kind = "answered" if isinstance(result, Completion) else "failed_attempt"
        code = None if isinstance(result, Completion) else result.code
        self.emit(kind, conversation, turn=turn, code=code, cost=cost.amount if result.usage else None)
        return result

    async def _fly(
        self, provider: Provider, wire: Wire, request: Request, conversation: Conversation, turn: int
    ) -> HttpResponse | Failure:
        """The request on its way: shielded from the run's cancellation, cut only when the grace is over."""
        trace = {
            "x-llmkit-probe": conversation.probe_id,
            "x-llmkit-turn": str(turn),
            "x-llmkit-sample": str(conversation.probe.sample),
        }
        if self._grounded:
            return Failure(code=Code.CANCELLED, message=STOPPED_MESSAGE, scope="probe")
        with anyio.CancelScope(shield=True) as flight:
            self._flights.add(flight)
            try:
                return await self.parts.transport.send(
                    provider,
                    wire,
                    request,
                    simulated=self.settings.simulated,
                    timeout=self.settings.policy.timeout_s,
                    trace=trace,
                )
            finally:
                self._flights.discard(flight)
        return Failure(code=Code.CANCELLED, message=CUT_MESSAGE, scope="probe", maybe_billed=True)

    def _settle(
        self,
        provider: Provider,
        wire: Wire,
        reference: str,
        response: HttpResponse | Failure,
        result: Completion | Failure,
        cost: pricing.Cost,
        admission: Admission,
    ) -> None:
        usage = result.usage
        # the worst case counts for what may have been billed
        unknown = usage is None and (isinstance(result, Completion) or result.maybe_billed)
        tokens = usage.input_tokens + usage.output_tokens if usage else None if unknown else 0
        billed = cost.amount if usage else None if unknown else Decimal(0)
        refused = isinstance(result, Failure) and result.code is Code.RATE_LIMITED
        ok = not refused if isinstance(response, HttpResponse) else None  # a wrong question is served too
        admission.settle(tokens=tokens, cost=billed, ok=ok)
        self.spent[provider.name] += billed or 0  # type: ignore[assignment]  # a Counter of Decimals
        if isinstance(response, HttpResponse) and (info := wire.rate_info(response)) is not None:
            # providers count per model (OpenAI, Anthropic), so what one is told says nothing about the others
            self.parts.gate.observe(provider.name, info, model=reference, sent_at=admission.started_at)

    def _worst_case(self, provider: Provider, call: Call, request: Request, most_input: int) -> Decimal | None:
        most_output = most_output_tokens(request, call.model)
        if most_output is None:
            return None
        return pricing.worst_case(
            call.model.price,
            input_tokens=most_input,
            max_output_tokens=most_output,
            fallback=pricing.default_rates(provider),
        )

    def _model(self, model: Model) -> Model:
        """The model with what this run has learnt about it."""
        rejected = self._rejected.get(model.reference)
        if not rejected:
            return model
        learned = sorted({*model.api_config.get("learned_rejects", ()), *rejected})
        return replace(model, api_config={**model.api_config, "learned_rejects": learned})

    def final(self, conversation: Conversation, failure: Failure | None) -> Event:
        """Settle how a probe ends; written with its last answer, so that no crash comes between the two."""
        if failure is None and self.settings.check_answer is not None:
            failure = self._checked(conversation, self.settings.check_answer)
        conversation.failure = failure
        conversation.status = self._status(conversation, failure)
        return events.probe(probe_id=conversation.probe_id, run_id=self.run_id, **conversation.row())

    def _status(self, conversation: Conversation, failure: Failure | None) -> str:
        if failure is None:
            return "ok"
        if failure.code is Code.CANCELLED:
            return "cancelled"
        asked = conversation.turn_attempts and failure is not self.closures.of(conversation.probe.model)
        return "failed" if asked else "skipped"

    def _checked(self, conversation: Conversation, check: Callable[[str], Any]) -> Failure | None:
        try:
            conversation.answer = check(conversation.answers[-1])
        except ValueError as error:
            return Failure(code=Code.INVALID_RESPONSE, message=str(error), scope="probe")
        except Exception as error:  # noqa: BLE001 - whatever a schema makes of it, the answer is paid for: save it
            message = f"The answer could not be checked: {type(error).__name__}: {error}"
            return Failure(code=Code.INVALID_RESPONSE, message=message, scope="probe")
        return None

    async def write(self, lines: list[Event]) -> None:
        """Return when the lines are on the disk. What has begun is written whatever is cancelled."""
        with anyio.CancelScope(shield=True):
            await asyncio.wrap_future(self.parts.store.append(lines))

    def emit(self, kind: Any, conversation: Conversation, *, turn: int | None = None, **details: Any) -> None:
        """Tell the listeners of the run."""
        probe = conversation.probe
        self.tracker.emit(
            RunEvent(
                kind=kind,
                run_id=self.run_id,
                provider=probe.model.provider,
                model=probe.model.reference,
                probe_id=conversation.probe_id,
                turn=turn or conversation.turn,
                **details,
            )
        )

"""The orchestrator: call → gate → wire → transport → wire → price → journal, for every probe of a run."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anyio
import anyio.to_thread

from llmkit import pricing
from llmkit.errors import BudgetExceeded, CatalogBusy, Code, JournalError, LlmkitError
from llmkit.gate import Admission, Budget, Gate, Wait
from llmkit.limits import Limits
from llmkit.plan import Plan, most_input_tokens, most_output_tokens
from llmkit.records import Call, Failure, Model, Provider, Reply, Request, Response
from llmkit.runner.conversation import TOKENS, Conversation
from llmkit.runner.progress import Progress, RunEvent, Tracker
from llmkit.store import Event, Store, events
from llmkit.transport import Delay, RetryPolicy, Transport, retrying
from llmkit.wires import Wire, wire_for

log = logging.getLogger("llmkit.runner")

REFRESH = 1.0
"""Seconds between projections into the database and looks at the catalog's limits."""

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


@dataclass(slots=True)
class Session:
    """One run, from its first request to its last row. Lives on the background loop; made by ``Runner``."""

    run_id: str
    plan: Plan
    providers: Mapping[str, Provider]
    parts: Parts
    settings: Settings
    budget: Budget | None
    tracker: Tracker
    queues: dict[str, deque[int]]
    resumed: Mapping[int, Conversation] = field(default_factory=dict)
    unsettled: Mapping[str, Decimal] = field(default_factory=dict)
    """What an earlier process of this run spent by provider and could not deduct from the balances any more."""
    _closed: dict[str, Failure] = field(default_factory=dict)
    _rejected: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _spent: Counter[str] = field(default_factory=Counter)
    _scope: anyio.CancelScope | None = None
    _flights: set[anyio.CancelScope] = field(default_factory=set)
    _workers: Counter[str] = field(default_factory=Counter)
    _drained: defaultdict[str, anyio.Event] = field(default_factory=lambda: defaultdict(anyio.Event))
    _sizes: Mapping[str, int] = field(default_factory=dict)
    _cancelled: bool = False
    _ended: bool = False

    def progress(self) -> Progress:
        """A snapshot for people and panels."""
        waiting = {} if self._ended else self.parts.gate.waiting()
        return self.tracker.snapshot({p: _words(wait) for p, wait in waiting.items() if p in self.queues})

    async def cancel(self, grace: float) -> None:
        """Stop asking; after ``grace`` seconds stop waiting for what is on its way too."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()
        await anyio.sleep(grace)
        for flight in tuple(self._flights):
            flight.cancel()

    async def main(self) -> None:
        """Ask everything, then write how it ended.

        Raises:
            JournalError: an answer could not be saved, so nothing more was asked.
        """
        self.tracker.emit(RunEvent(kind="started", run_id=self.run_id))
        problem: BaseException | None = None
        try:
            with anyio.CancelScope() as self._scope:
                async with anyio.create_task_group() as everything:
                    everything.start_soon(self._refresh_forever)
                    async with anyio.create_task_group() as asking:
                        for provider in self.queues:
                            asking.start_soon(self._serve, provider)
                    everything.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            problem = _first(group)
        with anyio.CancelScope(shield=True):
            await self._end(problem)
        if problem is not None:
            raise problem

    # --- workers ---

    async def _serve(self, provider: str) -> None:
        """Keep as many workers as the provider's limit can use, also when the limit is raised meanwhile."""
        async with anyio.create_task_group() as workers:
            while self.queues[provider]:
                limit = self.parts.gate.limits(provider).max_parallel
                wanted = min(limit + min(limit, 8), len(self.queues[provider]) + self._workers[provider])
                for _ in range(wanted - self._workers[provider]):
                    self._workers[provider] += 1
                    workers.start_soon(self._work, provider)
                with anyio.move_on_after(REFRESH):
                    await self._drained[provider].wait()

    async def _work(self, provider: str) -> None:
        queue = self.queues[provider]
        try:
            while queue:
                await self._converse(queue.popleft())
            self._drained[provider].set()
        finally:
            self._workers[provider] -= 1

    async def _converse(self, position: int) -> None:
        """Ask all turns of one probe and write its final row."""
        conversation = self.resumed.get(position) or self._new(position)
        failure: Failure | None = None
        while failure is None and not conversation.finished:
            failure = await self._ask_turn(conversation)
        if conversation.status is None:
            await self._write([self._final(conversation, failure)])
        code = conversation.failure.code if conversation.failure else None
        self._emit("probe_done", conversation, status=conversation.status, code=code)
        if failure is not None and conversation.status == "failed" and failure.scope in ("provider", "model"):
            await self._skip_rest(conversation.probe.model, failure)

    def _final(self, conversation: Conversation, failure: Failure | None) -> Event:
        """Settle how a probe ends; written with its last answer, so that no crash comes between the two."""
        if failure is None and self.settings.check_answer is not None:
            failure = self._checked(conversation, self.settings.check_answer)
        asked = conversation.turn_attempts and failure is not self._is_closed(conversation)
        conversation.failure = failure
        conversation.status = "ok" if failure is None else "failed" if asked else "skipped"
        return events.probe(probe_id=conversation.probe_id, run_id=self.run_id, **conversation.row())

    def _new(self, position: int) -> Conversation:
        return Conversation(probe=self.plan.probe(position), probe_id=events.probe_id(self.run_id, position))

    def _checked(self, conversation: Conversation, check: Callable[[str], Any]) -> Failure | None:
        try:
            conversation.answer = check(conversation.answers[-1])
        except ValueError as error:
            return Failure(code=Code.INVALID_RESPONSE, message=str(error), scope="probe")
        return None

    # --- one turn ---

    async def _ask_turn(self, conversation: Conversation) -> Failure | None:
        """Ask until there is an answer or no retry is left; drop a parameter that the model turns out not to take."""
        while True:
            result = await retrying(
                lambda _: self._attempt(conversation),
                self.settings.policy,
                retry_unknown=self.settings.retry_unknown,
                on_wait=lambda failure, delay, _: self._wait(conversation, failure, delay),
            )
            if isinstance(result, Reply):
                return None
            reference, name = conversation.probe.model.reference, result.rejected_param
            if name is None or self.plan.params.strict or name in conversation.dropped:
                return result
            if name in self._rejected[reference]:
                continue  # another probe learnt it while this one was on its way
            self._rejected[reference].add(name)
            log.info("parameter dropped", extra={"run": self.run_id, "model": reference, "parameter": name})
            await anyio.to_thread.run_sync(self._remember, reference, name)

    def _remember(self, reference: str, name: str) -> None:
        try:
            self.parts.learn_rejected(reference, name)
        except LlmkitError as error:  # the run knows it anyway; only the next run would have to learn it again
            log.warning("not remembered", extra={"model": reference, "parameter": name, "reason": str(error)})

    async def _wait(self, conversation: Conversation, failure: Failure, delay: Delay) -> None:
        provider = conversation.probe.model.provider
        if delay.pauses_provider:
            self.parts.gate.pause(provider, delay.seconds)
        self._emit("waiting", conversation, code=failure.code, reason=failure.message, seconds=delay.seconds)

    async def _attempt(self, conversation: Conversation) -> Reply | Failure:
        """One request: admitted, written down, sent, parsed, priced, written down again, and only then counted."""
        if (closed := self._is_closed(conversation)) is not None:
            return closed
        model = self._model(conversation.probe.model)
        conversation.dropped = frozenset(self._rejected[model.reference])
        provider = self.providers[model.provider]
        call = self.plan.call(replace(conversation.probe, model=model), conversation.answers)
        wire = wire_for(provider, model)
        request = wire.build(call)
        most = self._worst_case(provider, call, request)
        try:
            async with self.parts.gate.admit(
                model.provider,
                run_id=self.run_id,
                model=model.reference,
                tokens=most_input_tokens(call) // 4 + (call.params.max_tokens or 1_000),
                budget=self.budget,
                worst_case=most,
                adaptive=self.settings.adaptive,
            ) as admission:
                if (closed := self._is_closed(conversation)) is not None:
                    admission.settle(tokens=0, cost=Decimal(0), ok=None)
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
    ) -> Reply | Failure:
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
        await self._write(
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
        self._emit("asked", conversation)
        clock = time.monotonic()
        response = await self._fly(provider, wire, request, conversation, turn)
        latency = time.monotonic() - clock
        result = response if isinstance(response, Failure) else wire.parse(call, response)
        cost = pricing.cost(result.usage, call.model.price, asked_at, fallback=pricing.default_rates(provider))
        conversation.add(result, cost, latency)
        if isinstance(result, Failure):
            self._close(call.model, result)  # before the slot is free for the next
        lines = [
            events.outcome(
                **identity,
                **_outcome(result, response, cost, latency),
                turn_answered=_answer(result, cost, prompt) if isinstance(result, Reply) else None,
            )
        ]
        if isinstance(result, Reply) and conversation.finished:
            lines.append(self._final(conversation, None))
        await self._write(lines)
        self._settle(provider, wire, call.model.reference, response, result, cost, admission)
        kind = "answered" if isinstance(result, Reply) else "failed_attempt"
        code = None if isinstance(result, Reply) else result.code
        self._emit(kind, conversation, turn=turn, code=code, cost=cost.amount if result.usage else None)
        return result

    async def _fly(
        self, provider: Provider, wire: Wire, request: Request, conversation: Conversation, turn: int
    ) -> Response | Failure:
        """The request on its way: shielded from the run's cancellation, cut only when the grace is over."""
        trace = {
            "x-llmkit-probe": conversation.probe_id,
            "x-llmkit-turn": str(turn),
            "x-llmkit-sample": str(conversation.probe.sample),
        }
        with anyio.CancelScope(shield=True) as flight:
            self._flights.add(flight)
            try:
                return await self.parts.transport.send(
                    provider, wire, request, timeout=self.settings.policy.timeout_s, trace=trace
                )
            finally:
                self._flights.discard(flight)
        return Failure(code=Code.CANCELLED, message=CUT_MESSAGE, scope="probe", maybe_billed=True)

    def _settle(
        self,
        provider: Provider,
        wire: Wire,
        reference: str,
        response: Response | Failure,
        result: Reply | Failure,
        cost: pricing.Cost,
        admission: Admission,
    ) -> None:
        usage = result.usage
        unknown = isinstance(result, Failure) and result.maybe_billed
        tokens = usage.input_tokens + usage.output_tokens if usage else None if unknown else 0
        billed = cost.amount if usage else None if unknown else Decimal(0)
        ok = True if isinstance(result, Reply) else False if result.code is Code.RATE_LIMITED else None
        if isinstance(result, Failure) and result.code is not Code.RATE_LIMITED and isinstance(response, Response):
            ok = True  # the provider answers; only what was asked was wrong
        admission.settle(tokens=tokens, cost=billed, ok=ok)
        self._spent[provider.name] += billed or 0  # type: ignore[assignment]  # a Counter of Decimals
        if isinstance(response, Response) and (info := wire.rate_info(response)) is not None:
            # providers count per model (OpenAI, Anthropic), so what one is told says nothing about the others
            self.parts.gate.observe(provider.name, info, model=reference, sent_at=admission.started_at)

    def _worst_case(self, provider: Provider, call: Call, request: Request) -> Decimal | None:
        most_output = most_output_tokens(request, call.model)
        if most_output is None:
            return None
        return pricing.worst_case(
            call.model.price,
            input_tokens=most_input_tokens(call),
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

    # --- what ends a provider's part ---

    def _is_closed(self, conversation: Conversation) -> Failure | None:
        model = conversation.probe.model
        return self._closed.get(model.provider) or self._closed.get(model.reference)

    def _close(self, model: Model, failure: Failure) -> None:
        """From this moment on nothing more is sent to an account that refuses, or to a model that is not there."""
        if not failure.code.retryable and failure.scope in ("provider", "model"):
            reference = _affected(model, failure)
            message = f"Not asked, since {reference} refused: {failure.message}"
            self._closed.setdefault(reference, replace(failure, message=message, usage=None, maybe_billed=False))

    async def _skip_rest(self, model: Model, failure: Failure) -> None:
        """Mark what is left for a closed provider or model as skipped."""
        reference = _affected(model, failure)
        queue = self.queues[model.provider]
        left = [p for p in queue if reference in (model.provider, self.plan.probe(p).model.reference)]
        if reference not in self._closed or not left:
            return
        kept = set(queue).difference(left)
        rest = [position for position in queue if position in kept]
        queue.clear()
        queue.extend(rest)
        closed = self._closed[reference]
        await self._write(
            [
                events.skip(
                    run_id=self.run_id,
                    scope="model" if failure.scope == "model" else "provider",
                    reference=reference,
                    code=closed.code,
                    message=closed.message,
                )
            ]
        )
        for position in left:
            self._emit("probe_done", self._new(position), status="skipped", code=closed.code)
        log.warning("skipped", extra={"run": self.run_id, "reference": reference, "code": closed.code})

    # --- the journal, the database, the end ---

    async def _write(self, lines: list[Event]) -> None:
        """Return when the lines are on the disk. What has begun is written whatever is cancelled."""
        with anyio.CancelScope(shield=True):
            await asyncio.wrap_future(self.parts.store.append(lines))

    async def _refresh_forever(self) -> None:
        while True:
            await anyio.sleep(REFRESH)
            await anyio.to_thread.run_sync(self._refresh)

    def _refresh(self) -> None:
        """Bring the database up to date, and take over limits that were edited meanwhile, here or elsewhere."""
        sizes = self.parts.store.journal.sizes()
        if sizes == self._sizes:
            return
        try:
            self.parts.store.sync()
            state = self.parts.store.catalog()
        except CatalogBusy as error:
            log.info("database busy", extra={"run": self.run_id, "pid": error.pid})
            return
        self._sizes = self.parts.store.journal.sizes()
        set_limits(self.parts.gate, {name: state.providers[name] for name in self.queues}, state.models)

    async def _end(self, problem: BaseException | None) -> None:
        status = "failed" if problem is not None else "cancelled" if self._cancelled else "completed"
        line = events.run_state(
            run_id=self.run_id, status=status, message=str(problem) if problem else None, spent=self._to_deduct()
        )
        try:
            await self._write([line])
            await anyio.to_thread.run_sync(self.parts.store.sync)
        except (JournalError, CatalogBusy) as error:
            log.warning("end not saved", extra={"run": self.run_id, "reason": str(error)})
        self.parts.store.release_run(self.run_id)
        self._ended = True
        self.tracker.emit(RunEvent(kind="ended", run_id=self.run_id, status=status, reason=line["message"]))

    def _to_deduct(self) -> dict[str, Decimal]:
        if self.settings.simulated:
            return {}
        names = {*self._spent, *self.unsettled}
        return {name: Decimal(self._spent[name]) + self.unsettled.get(name, 0) for name in sorted(names)}

    def _emit(self, kind: Any, conversation: Conversation, *, turn: int | None = None, **details: Any) -> None:
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


def set_limits(gate: Gate, providers: Mapping[str, Provider], models: Mapping[str, Model]) -> None:
    """Tell the gate the catalog's limits; a model may have its own in ``api_config["limits"]``, named as the
    provider's.
    """
    for name, provider in providers.items():
        own = {
            model.reference: Limits.of(replace(provider, **model.api_config["limits"]))
            for model in models.values()
            if model.provider == name and model.api_config.get("limits")
        }
        gate.set_limits(name, Limits.of(provider), own)


def _affected(model: Model, failure: Failure) -> str:
    return model.reference if failure.scope == "model" else model.provider


def _outcome(
    result: Reply | Failure, response: Response | Failure, cost: pricing.Cost, latency: float
) -> dict[str, Any]:
    failed = isinstance(result, Failure)
    return {
        "status_code": response.status,
        "error_code": result.code if isinstance(result, Failure) else None,
        "error_message": result.message if isinstance(result, Failure) else None,
        "latency_s": round(latency, 6),
        "request_id": result.request_id,
        "maybe_billed": isinstance(result, Failure) and result.maybe_billed,
        "reply": None if isinstance(response, Failure) else response.body.decode("utf-8", "replace"),
        "usage": result.usage.to_row() if result.usage else None,
        "cost": None if cost.amount is None or not result.usage else format(cost.amount, "f"),
        "cost_source": cost.source if result.usage or not failed else None,
    }


def _answer(reply: Reply, cost: pricing.Cost, prompt: str) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "response": reply.text,
        "finish_reason": reply.finish_reason,
        "model_version": reply.model_version,
        **{name: getattr(reply.usage, name) if reply.usage else None for name in TOKENS},
        **cost.rates.to_row(),
    }


def _words(wait: Wait) -> str:
    seconds = "" if wait.until is None else f", {max(0, round(wait.until - time.time()))} s"
    return f"{wait.reason}{seconds}"


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the run; the others are its consequences."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in leaves if isinstance(error, LlmkitError)), leaves[0])

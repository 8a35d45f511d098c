"""One request of a turn: gate → intent → transport → wire → price → outcome → settlement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate, islice
from typing import Any, cast

from llmkit.errors import BudgetExceeded, Code
from llmkit.limiter import Admission, Purse
from llmkit.money import pricing
from llmkit.money.pricing import Cost
from llmkit.providers.transport import apart, one_at_a_time
from llmkit.providers.wires import rate_info
from llmkit.records import MAYBE_BILLED, Call, Completion, Failure, HttpResponse, Request
from llmkit.runs.batch_desk import BatchDesk
from llmkit.runs.context import RunContext
from llmkit.runs.conversation import Conversation
from llmkit.runs.journal_rows import answer_fields, outcome_fields
from llmkit.runs.plan import most_input_tokens
from llmkit.runs.progress import EventKind
from llmkit.runs.remote import LateAnswer, Place
from llmkit.runs.targets import Target
from llmkit.runs.tickets import Ticket
from llmkit.store import Event, events
from llmkit.store.apply_runs import untold

log = logging.getLogger("llmkit.runs")

STOPPED = Failure(code=Code.CANCELLED, message="The run was cancelled before every prompt was answered.", scope="probe")
CUT = Failure(
    code=Code.CANCELLED,
    message=f"The run was cancelled while this request was in flight{MAYBE_BILLED}.",
    scope="probe",
    maybe_billed=True,
)
ANSWER_BYTES = 4
"""Typical bytes per token of an answer that is sent back."""
ANSWER_GUESS = 1_000
"""Tokens assumed for an answer without a limit on its length."""


@dataclass(slots=True)
class Attempt:
    """One request for the next turn of a conversation, from building it to settling its cost."""

    run: RunContext
    conversation: Conversation
    target: Target
    call: Call
    request: Request
    most_input: int
    worst_case: Decimal | None
    factor: Decimal
    """The factor in ``worst_case``: above 1 for a model that has exceeded its worst case before."""
    identity: dict[str, Any] = field(default_factory=dict)
    """Its place in the run, once it has begun."""
    started_at: datetime = field(init=False)

    @classmethod
    def of(cls, run: RunContext, conversation: Conversation) -> Attempt:
        """Build the request for the next turn, without sending it."""
        target = run.target(conversation.probe.model)
        call = run.spec.plan.call(conversation.probe, conversation.answers, target.model, in_batches=target.in_batches)
        request = target.wire.build(call)
        most_input = most_input_tokens(call, request)
        worst_case = target.bound(conversation.probe.config, request).worst_case(most_input)
        factor = run.dearer.get(target.model.reference, Decimal(1))
        if worst_case is not None and factor != 1:
            worst_case = pricing.times(worst_case, factor)
        return cls(run, conversation, target, call, request, most_input, worst_case, factor)

    async def make(self) -> Completion | Failure:
        """Wait until it may be sent, send it, and return the result once that is on disk."""
        model, run, guard = self.target.model, self.run, self.conversation.guard
        desk = run.desks.get(model.reference)
        try:
            async with self._admitted(desk) as admission:
                if (refusal := STOPPED if run.is_stopped else run.refused(model, self.key)) is not None:
                    admission.waive()
                    return refusal
                sent = await self._ready(desk, admission)
                guard.shield = True
                return await self._conclude(*(sent or await self._exchange(admission)), admission)
        except BudgetExceeded as error:
            run.refusal = run.refusal or str(error)
            return Failure(code=Code.BUDGET_EXCEEDED, message=str(error), scope="probe")
        finally:
            guard.shield = False

    def _admitted(self, desk: BatchDesk | None) -> AbstractAsyncContextManager[Admission]:
        model, run = self.target.model, self.run
        if desk is not None:
            return desk.admit(self.key, model.reference, self._purse(), self.worst_case)
        return run.services.gate.admit(
            model.provider,
            run_id=run.run_id,
            model=model.reference,
            tokens=self.most_input // 4 + (self.call.params.max_tokens or ANSWER_GUESS),
            purse=self._purse(),
            worst_case=self.worst_case,
            adaptive=run.spec.adaptive,
        )

    @property
    def key(self) -> tuple[int, int, int]:
        """Position, turn, and the number of the next attempt."""
        conversation = self.conversation
        return conversation.probe.position, conversation.turn, conversation.turn_attempts.get(conversation.turn, 0) + 1

    def _purse(self) -> Purse:
        """The conversation's purse, updated with the worst case of its later turns."""
        conversation, model = self.conversation, self.conversation.probe.model
        prompts = conversation.probe.scenario.prompts
        if conversation.purse is None:
            conversation.purse = Purse(self.run.budget, model.provider, (model.reference, len(prompts)))
            conversation.purse.begun = bool(conversation.turn_attempts)
        later = () if self.worst_case is None else prompts[conversation.turn :]
        conversation.purse.rest = self._worst_of(later) if later else Decimal(0)
        return conversation.purse

    def _worst_of(self, prompts: Sequence[str]) -> Decimal:
        """Roughly the most that these turns can cost, if every answer before them is as long as possible."""
        bound = self.target.bound(self.conversation.probe.config, self.request)
        growth = (len(prompt.encode()) + ANSWER_BYTES * (bound.max_output_tokens or 0) for prompt in prompts)
        sizes = islice(accumulate(growth, initial=self.most_input), 1, None)
        return pricing.total(map(bound.worst_case, sizes))

    async def take(self, late: LateAnswer) -> None:
        """Process the late reply to an attempt that is on disk, as if it arrived now."""
        began = late.started_at.timestamp()
        admission = Admission(model=self.target.model.reference, started_at=began, waited_s=late.waited_s)
        self._begin(late.started_at, admission)
        self.run.emit("asked", self.conversation)
        await self._conclude(late.kept.response, late.kept.latency_s, admission)

    async def _exchange(self, admission: Admission) -> tuple[HttpResponse | Failure, float]:
        """Send it; returns the reply and its duration in seconds."""
        self._begin(max(datetime.now(UTC), self.run.since), admission)
        await self.run.services.store.append([self._intent(admission)])
        self.run.emit("asked", self.conversation)
        admission.sent()
        clock = time.monotonic()
        response = STOPPED if self.run.is_stopped else await self._send()
        return response, time.monotonic() - clock

    async def _ready(self, desk: BatchDesk | None, admission: Admission) -> tuple[HttpResponse | Failure, float] | None:
        """Wait until it can be sent; with a batch it is sent meanwhile, and its reply and duration are returned."""
        try:
            return await (self.run.services.transport.ready() if desk is None else self._in_batch(desk, admission))
        except BaseException:  # such as a cancellation; begun, it may be on its way in a batch
            self.conversation.maybe_billed += bool(self.identity)
            admission.settle(tokens=0, cost=None if self.identity else Decimal(0), ok=None)
            raise

    async def _in_batch(self, desk: BatchDesk, admission: Admission) -> tuple[HttpResponse | Failure, float]:
        ticket = Ticket(
            self.key,
            self.request,
            begin=lambda started_at: self._begin(started_at, admission),
            line=lambda batch: self._intent(admission, batch),
            saved=lambda: self.run.emit("asked", self.conversation),
        )
        response = await desk.ask(ticket)
        return response, (datetime.now(UTC) - self.started_at).total_seconds()

    async def _conclude(
        self, response: HttpResponse | Failure, latency: float, admission: Admission
    ) -> Completion | Failure:
        """Parse, price and count a reply, and write it to disk before anyone is told."""
        run, conversation, turn, latency = self.run, self.conversation, self.conversation.turn, round(latency, 6)
        body = response.body if isinstance(response, HttpResponse) else b""
        async with one_at_a_time(body):
            result, cost = await apart(body, self._understood, response)
            conversation.add(result, cost, latency)
            if isinstance(result, Failure):
                run.breaker.note(self.target.model, result)  # before the slot is free for the next request
                run.is_stopped = run.is_stopped or result.scope == "run"
            elif run.reused_versions:
                run.compare_version(conversation, result.model_version)
            await self._write_outcome(response, result, cost, latency)
        billed = self._settle(response, result, cost, admission)
        code = None if isinstance(result, Completion) else result.code
        if log.isEnabledFor(logging.DEBUG):
            fields = {"turn": turn, "status": response.status, "code": code, "seconds": round(latency, 3)}
            log.debug("sent", extra=run.log_fields(conversation, **fields))
        kind: EventKind = "answered" if code is None else "failed_attempt"
        run.emit(kind, conversation, turn=turn, code=code, cost=billed, cost_source=cost.source, seconds=latency)
        return result

    def _begin(self, started_at: datetime, admission: Admission) -> None:
        """Count the attempt; the time decides the price in force."""
        conversation, turn = self.conversation, self.conversation.turn
        self.target = self.run.priced(self.target, started_at)
        number = conversation.begin_attempt(started_at, admission.waited_s, self.request.left_out)
        place = {"position": conversation.probe.position, "turn": turn, "attempt": number}
        self.started_at, self.identity = started_at, {"run_id": self.run.run_id, **place}

    def _intent(self, admission: Admission, batch: str | None = None) -> Event:
        """The journal line of what is about to be sent."""
        return events.intent(
            **self.identity,
            started_at=self.started_at.isoformat(),
            waited_s=round(admission.waited_s, 6),
            wait_reason=admission.wait_reason,
            body=self.request.question_json,
            dropped=sorted(self.target.rejects) or None,
            worst_case=None if self.worst_case is None else format(self.worst_case, "f"),
            batch=batch,
        )

    async def _send(self) -> HttpResponse | Failure:
        """Send the request; only the end of the grace period cuts it off."""
        run, conversation = self.run, self.conversation
        place = Place.of(run.run_id, self.identity)
        trace = {**place.trace, "x-llmkit-sample": str(conversation.probe.sample)}
        flight = cast("asyncio.Task[Any]", asyncio.current_task())
        run.in_flight.add(flight)
        try:
            return await run.services.transport.send(
                self.target.provider,
                self.target.wire,
                self.request,
                simulated=run.spec.simulated,
                timeout=run.spec.policy.timeout_s,
                trace=trace,
            )
        except asyncio.CancelledError:
            if not run.is_stopped:  # the event loop is closing
                raise
            flight.uncancel()
            return CUT
        except Exception as error:  # noqa: BLE001 - ends the probe, and its attempt as one that may have been billed
            return run.unforeseen(conversation, error, maybe_billed=True)
        finally:
            run.in_flight.discard(flight)

    def _understood(self, response: HttpResponse | Failure) -> tuple[Completion | Failure, Cost]:
        """The parsed result and its cost. Whatever goes wrong here, the reply is still saved."""
        price, fallback, started_at = self.target.price, self.target.fallback, self.started_at
        try:
            result = response if isinstance(response, Failure) else self.target.wire.parse(self.call, response)
            if isinstance(result, Failure):
                result = self.run.spec.policy.judged(result)
            if isinstance(result, Completion) or result.usage is not None:
                tier = self.target.served_tier(self.request, result)
                result = result if tier == result.service_tier else replace(result, service_tier=tier)
            cost = pricing.cost(result.usage, price, started_at, tier=result.service_tier, fallback=fallback)
        except Exception as error:  # noqa: BLE001 - the wire did not foresee this reply
            result = self.run.unforeseen(self.conversation, error, maybe_billed=True)
            cost = pricing.cost(None, price, started_at, fallback=fallback)
        if isinstance(result, Failure) and result.maybe_billed and cost.amount == 0:  # whatever happened, it is free
            result = result.unbilled
        return result, cost

    async def _write_outcome(
        self, response: HttpResponse | Failure, result: Completion | Failure, cost: Cost, latency: float
    ) -> None:
        """Write the outcome; a last answer's goes with the probe's end, so that no crash comes between the two."""
        run, conversation = self.run, self.conversation
        body = None if isinstance(response, Failure) else response.body
        if is_last := isinstance(result, Completion) and conversation.finished:
            run.decide_end(conversation, None)
        is_short = is_last and conversation.is_plain
        lines = await apart(
            body or b"",
            events.outcome,
            **self.identity,
            **outcome_fields(result, response, cost, latency),
            reply=body,
            answer=answer_fields(result, cost) if isinstance(result, Completion) else None,
            probe=untold({"session": run.session, **conversation.row()}) if is_short else None,
        )
        await run.services.store.append([*lines, run.probe_line(conversation)] if is_last and not is_short else lines)

    def _settle(
        self, response: HttpResponse | Failure, result: Completion | Failure, cost: Cost, admission: Admission
    ) -> Decimal | None:
        """Settle the reserved limits and money with the gate; returns what was billed."""
        usage, provider, reference = result.usage, self.target.provider, self.target.model.reference
        unknown = usage is None and (isinstance(result, Completion) or result.maybe_billed)  # counts at its worst case
        tokens = usage.total_tokens if usage else None if unknown else 0
        billed = cost.amount if usage or isinstance(result, Completion) else None if unknown else Decimal(0)
        refused = isinstance(result, Failure) and result.code is Code.RATE_LIMITED
        ok = not refused if isinstance(response, HttpResponse) else None  # a rejected request was served too
        admission.settle(tokens=tokens, cost=None if cost.source == "partly unpriced" else billed, ok=ok)
        if billed and self.worst_case and billed > self.worst_case and self.run.budget.keys(provider.name):
            self.run.learn_dearer(reference, billed, self.worst_case / self.factor)
        self.run.spent[provider.name] = self.run.spent.get(provider.name, Decimal(0)) + (billed or 0)
        if isinstance(response, HttpResponse) and (info := rate_info(response)) is not None:
            # providers count per model (OpenAI, Anthropic), so the headers for one say nothing about the others
            self.run.services.gate.queue(provider.name).observe(info, model=reference, sent_at=admission.started_at)
        return billed

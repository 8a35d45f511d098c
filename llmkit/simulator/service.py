"""The processing of a request, from the key to the answer: the simulator without its HTTP layer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, isinf
from random import Random
from typing import Any, get_args

from llmkit.simulator.answers import Answers, input_tokens
from llmkit.simulator.batches import Batches
from llmkit.simulator.behaviour import Behaviour
from llmkit.simulator.faults import NO_FAULT, OF_CONNECTIONS, Delivery, Fault, Faults, damaged, outcome
from llmkit.simulator.formats.body_values import json_object
from llmkit.simulator.formats.routes import Route, route, server_of, unknown_url
from llmkit.simulator.formats.served_batches import Item
from llmkit.simulator.formats.served_format import decoded, encoded
from llmkit.simulator.limiter import Limiter
from llmkit.simulator.prompt_caches import PromptCaches
from llmkit.simulator.questions import Answer, ProblemKind, Question, Rejected, number
from llmkit.simulator.stats import Received, Stats

_JSON = {"content-type": "application/json"}
_BATCH_HEADERS = {"anthropic-version": "2023-06-01"}
_USUAL_RPM = 60  # stated in the error of an injected rate limit
_PROBLEMS: Mapping[str | None, ProblemKind] = {k: k for k in get_args(ProblemKind)} | {"error_200": "server_error"}


@dataclass(slots=True)
class Visit:
    """A request being processed, with the fault that it meets."""

    route: Route
    received: Received
    request_id: str
    in_batch: bool = False
    fault: Fault = NO_FAULT


class Service:
    """Answers requests and counts them. Runs on one event loop; only ``stats`` may be read from elsewhere."""

    def __init__(self, behaviour: Behaviour, faults: Faults, stats: Stats, *, seed: int) -> None:
        self.faults, self.stats = faults, stats
        self.behaviour, self._seed, self._changed = behaviour, seed, asyncio.Event()
        # seconds since the epoch, immune to clock adjustments
        self._epoch = time.time() - time.monotonic()
        self._begin()

    def _begin(self) -> None:
        self.answers, self._caches, self.batches = Answers(self._seed), PromptCaches(), Batches(self._answer_in_batch)
        self._limiters: dict[str, Limiter] = {}
        self._arrivals = 0

    def behave(self, behaviour: Behaviour) -> None:
        """Change the behaviour from now on; unchanged limits keep their state."""
        self.behaviour = behaviour
        self._changed.set()
        self._changed = asyncio.Event()
        for provider, limiter in self._limiters.items():
            self._limiters[provider] = limiter.changed(behaviour.limits(provider), self.now())

    def clear(self) -> None:
        """Forget everything except requests in flight."""
        self._begin()
        self.faults.clear()
        self.stats.clear()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._epoch + time.monotonic()

    # --- requests -------------------------------------------------------------------------------------------------

    async def respond(self, route: Route, received: Received, raw: bytes, *, has_key: bool) -> Delivery:
        """The response to a request, which is counted as ended before the client can see the end of the answer."""
        visit, delivery = self._visit(route, received), None
        if route.action == "answer":
            self.stats.arrived(route.provider, received.at)
        try:
            if not has_key:
                raise Rejected(kind="auth")
            delivery = await self._answered(visit) if route.action == "answer" else self._managed(visit, raw)
        except Rejected as rejected:
            delivery = self._error(visit, rejected)
        finally:
            self._count(visit, delivery)
        return delivery

    def _visit(self, route: Route, received: Received, *, in_batch: bool = False) -> Visit:
        self._arrivals += 1
        return Visit(route, received, f"{number(self._seed, 'request', self._arrivals):016x}", in_batch)

    def _managed(self, visit: Visit, raw: bytes) -> Delivery:
        """The response to a request for a list of models, or about batches."""
        route = visit.route
        if route.action == "list_models":
            models = self.behaviour.known_models(route.provider)
            content: Any = route.server.model_list(server_of(route.provider).models if models is None else models)
        else:
            content = self.batches.serve(route, visit.received, raw, self.behaviour.batch_delay)
        return self._good(visit, *(content if isinstance(content, list) else [content]))

    async def _answered(self, visit: Visit) -> Delivery:
        """The response to a request for an answer, which passes all limits first."""
        question, provider = self._read(visit), visit.route.provider
        in_flight = self.stats.count("in_flight", provider)
        self._limiter(provider).admit(input_tokens(question), self.now(), in_flight, question.model)
        with self.stats.in_flight(provider):
            visit.fault = self.faults.draw(visit.received)
            await self._work(visit)
            return self._concluded(visit, question)

    def _answer_in_batch(self, provider: str, item: Item) -> None:
        """Process a request of a batch like any other, but without limits and cut connections."""
        target = route("POST", f"/{provider}{item.url}", {})
        if target is None or target.action != "answer":
            item.outcome, item.status, item.reply = "refused", 404, unknown_url(item.url)
            return
        received = Received(
            provider=provider,
            path=item.url,
            method="POST",
            headers=_BATCH_HEADERS,
            body=item.body,
            at=self.now(),
            probe=item.custom_id,
        )
        self.stats.arrived(provider, None)
        visit, delivery = self._visit(target, received, in_batch=True), None
        visit.fault = self.faults.draw(received)
        if visit.fault.kind in OF_CONNECTIONS:
            visit.fault = Fault(kind="server_error")
        if visit.fault.kind == "expired":
            item.outcome = "expired"
        else:
            try:
                delivery = self._concluded(visit, self._read(visit))
            except Rejected as rejected:
                delivery = self._error(visit, rejected)
            item.outcome = "answered" if delivery.status < 300 else "refused"
            item.status, item.reply = delivery.status, decoded(delivery.body)
        self._count(visit, delivery)

    def _read(self, visit: Visit) -> Question:
        route, received = visit.route, visit.received
        body = json_object(received.body)
        try:
            question = route.format.read(route.reference, body, received.headers)
        except RecursionError:
            raise Rejected("The JSON body of your request is nested too deeply.") from None
        if body.get("stream"):
            raise Rejected("Invalid value for 'stream': it must be false, since answers come in one piece.", "stream")
        known = self.behaviour.known_models(route.provider)
        if known is not None and question.model not in known:
            raise Rejected(kind="not_found", model=question.model)
        return replace(question, sample=received.sample, held=self._caches.held(question, received.at))

    async def _work(self, visit: Visit) -> None:
        """Wait for as long as an answer takes; forever if the fault is a timeout."""
        rng = Random(number(self._seed, "latency", visit.request_id))
        while isinf(delay := self.behaviour.delay(visit.received, rng)):
            await self._changed.wait()
        if visit.fault.kind == "slow":
            delay += visit.fault.seconds
        if visit.fault.kind == "timeout":
            await asyncio.Event().wait()
        await asyncio.sleep(delay)

    def _concluded(self, visit: Visit, question: Question) -> Delivery:
        """The billed answer, or the outcome of the fault."""
        fault, kind = visit.fault, visit.fault.kind
        if kind == "raw":
            return Delivery(status=fault.status, body=fault.body.encode(), headers={**_JSON, **fault.headers})
        if kind == "disconnect_before":
            return Delivery(status=0, body=b"", headers={}, cut_after=0)
        if kind in _PROBLEMS and not (kind == "blocked" and visit.route.format.blocks_prompts):
            limit = self._limiter(question.provider).limits.rpm or _USUAL_RPM
            wait = fault.retry_after if kind == "rate_limit" else None
            rejected = Rejected(kind=_PROBLEMS[kind], retry_after=wait, limit=limit, model=question.model)
            delivery = self._error(visit, rejected)
            return replace(delivery, status=200) if kind == "error_200" else delivery
        answer = self._answer_to(question, kind)
        self.stats.billed(visit.received, answer.input_tokens, answer.output_tokens)
        if not visit.in_batch:
            self._limiter(question.provider).spend(answer.output_tokens, self.now())
        return damaged(self._good(visit, visit.route.format.write(question, answer, visit.request_id)), kind)

    def _answer_to(self, question: Question, kind: str | None) -> Answer:
        answer = self.answers.answer(question, kind)
        if kind == "blocked":
            return replace(answer, text="", text_tokens=0, reasoning_tokens=0, blocked=True)
        cached = min(question.held, answer.input_tokens)
        written = min(self._caches.keep(question, self.now()), answer.input_tokens - cached)
        return replace(answer, cached=cached, written=written)

    def _count(self, visit: Visit, delivery: Delivery | None) -> None:
        """Record how a request ended; ``None`` if the client disconnected first, or its batch expired."""
        status = None if delivery is None or delivery.cut_after is not None else delivery.status
        if visit.route.action == "answer":
            ended = "unknown" if delivery is None else outcome(status, visit.fault.kind)
            self.stats.served(visit.received, ended, status, visit.fault.kind)
        elif visit.route.action == "list_models":
            self.stats.served(visit.received, None, status, None)

    # --- responses ------------------------------------------------------------------------------------------------

    def _good(self, visit: Visit, *lines: Any) -> Delivery:
        return Delivery(status=200, body=b"\n".join(map(encoded, lines)), headers=self._headers(visit, {}))

    def _error(self, visit: Visit, rejected: Rejected) -> Delivery:
        """The provider's own error."""
        server, asked = visit.route.server, {}
        status, body = server.error(rejected, visit.request_id)
        if (wait := rejected.retry_after) is not None:  # in whole seconds and in milliseconds, rounded up
            waits = {"retry-after": max(1, ceil(wait - 1e-6)), "retry-after-ms": ceil(wait * 1000)}
            asked = {name: str(waits[name]) for name in server.wait_headers}
        return Delivery(status=status, body=encoded(body), headers=self._headers(visit, asked))

    def _headers(self, visit: Visit, more: Mapping[str, str]) -> dict[str, str]:
        """The provider's headers, overridden by those of a fault."""
        server = visit.route.server
        limits = server.limit_headers(self._limiter(server.provider), self.now())
        usual = {**_JSON, **dict.fromkeys(server.id_headers, f"req_{visit.request_id}"), **limits}
        return {**usual, **more, **visit.fault.headers}

    def _limiter(self, provider: str) -> Limiter:
        if provider not in self._limiters:
            self._limiters[provider] = Limiter(self.behaviour.limits(provider), self.now())
        return self._limiters[provider]

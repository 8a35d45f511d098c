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
from llmkit.simulator.faults import UNDELIVERED, Delivery, Fault, Faults, damaged, outcome
from llmkit.simulator.formats.body_values import json_object
from llmkit.simulator.formats.routes import Route, route, server_of
from llmkit.simulator.formats.served_batches import Batch, Item, Result
from llmkit.simulator.formats.served_format import decoded, encoded
from llmkit.simulator.limiter import Limiter
from llmkit.simulator.problems import ProblemKind, Rejected
from llmkit.simulator.prompt_caches import PromptCaches
from llmkit.simulator.questions import Answer, Question, number
from llmkit.simulator.stats import Received, Stats

_BATCH_HEADERS = {"anthropic-version": "2023-06-01"}
_USUAL_RPM = 60  # stated in the error of an injected rate limit
_PROBLEMS: Mapping[str, ProblemKind] = {kind: kind for kind in get_args(ProblemKind)} | {"error_200": "server_error"}


@dataclass(slots=True)
class Visit:
    """A request being processed; set along the way: ``fault``, ``admitted``, ``held`` (tokens in the prompt cache)."""

    route: Route
    received: Received
    request_id: str
    has_key: bool
    fault: Fault | None = None
    admitted: bool = False
    held: int = 0

    @property
    def kind(self) -> str | None:
        """The kind of its fault."""
        return None if self.fault is None else self.fault.kind

    def check_key(self) -> None:
        """Reject a request without a key that the provider accepts."""
        if not self.has_key:
            raise Rejected(kind="auth")


class Service:
    """Answers requests and counts them. Runs on one event loop; only ``stats`` may be read from elsewhere."""

    def __init__(self, behaviour: Behaviour, faults: Faults, stats: Stats, *, seed: int) -> None:
        self.faults, self.stats = faults, stats
        self.behaviour, self._seed, self._changed = behaviour, seed, asyncio.Event()
        self._begin()
        # seconds since the epoch, immune to clock adjustments
        self._epoch = time.time() - time.monotonic()

    def behave(self, behaviour: Behaviour) -> None:
        """Change the behaviour from now on; unchanged limits keep their state."""
        self.behaviour = behaviour
        self._changed.set()
        self._changed = asyncio.Event()
        for provider, limiter in self._limiters.items():
            self._limiters[provider] = limiter.changed(behaviour.limits(provider), self.now())

    def _begin(self) -> None:
        self.answers, self._caches, self.batches = Answers(self._seed), PromptCaches(), Batches(self._answer_in_batch)
        self._limiters: dict[str, Limiter] = {}
        self._arrivals = 0

    def clear(self) -> None:
        """Forget everything except requests in flight."""
        self._begin()
        self.faults.clear()
        self.stats.clear()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._epoch + time.monotonic()

    def visit(self, route: Route, received: Received, *, has_key: bool = True) -> Visit:
        """A request that has just arrived."""
        self._arrivals += 1
        return Visit(route, received, f"{number(self._seed, 'request', self._arrivals):016x}", has_key)

    def manage(self, visit: Visit, raw: bytes) -> Delivery:
        """The response to a request for a list of models, or about batches."""
        route = visit.route
        try:
            visit.check_key()
            if route.action == "list_models":
                models = self.behaviour.known_models(route.provider)
                content: Any = route.server.model_list(server_of(route.provider).models if models is None else models)
            else:
                content = self.batches.serve(route, visit.received, raw, self.behaviour.batch_delay)
            delivery = self._good(visit, *(content if isinstance(content, list) else [content]))
        except Rejected as rejected:
            delivery = self.error(visit, rejected)
        except LookupError:
            delivery = self.error(visit, Rejected(kind="not_found", model=route.reference))
        if route.action == "list_models":
            self.stats.served(visit.received, None, delivery.status, None)
        return delivery

    def _answer_in_batch(self, batch: Batch, item: Item) -> Result:
        """Process a request of a batch like any other, but without limits and cut connections."""
        target = route("POST", f"/{batch.provider}{item.url}", {})
        received = Received(
            provider=batch.provider,
            path=item.url,
            method="POST",
            headers=_BATCH_HEADERS,
            body=item.body,
            at=self.now(),
            probe=item.custom_id,
        )
        if target is None or target.action != "answer":
            return Result(404, {"error": {"message": f"Unknown request URL: {item.url}.", "code": None}})
        self.stats.arrived(batch.provider, None)
        visit = self.visit(target, received)
        fault = self.faults.draw(received)
        visit.fault = Fault(kind="server_error") if fault is not None and fault.kind in UNDELIVERED else fault
        if visit.kind == "expired":
            self._count(visit, None)
            return Result(given_up="expired")
        try:
            delivery = self.conclude(visit, self._read(visit))
        except Rejected as rejected:
            delivery = self.error(visit, rejected)
        self._count(visit, delivery)
        return Result(delivery.status, decoded(delivery.body))

    def admit(self, visit: Visit) -> Question:
        """The question, let through all limits, or raise ``Rejected``."""
        visit.check_key()
        question = self._read(visit)
        in_flight = self.stats.count("in_flight", question.provider)
        self._limiter(question.provider).admit(input_tokens(question), self.now(), in_flight, question.model)
        visit.admitted = True
        self.stats.began(question.provider)
        visit.fault = self.faults.draw(visit.received)
        return question

    async def work(self, visit: Visit) -> None:
        """Wait for as long as an answer takes; forever if the fault is a timeout."""
        rng = Random(number(self._seed, "latency", visit.request_id))
        while isinf(delay := self.behaviour.delay(visit.received, rng)):
            await self._changed.wait()
        if visit.fault is not None and visit.kind == "slow":
            delay += visit.fault.seconds
        if visit.kind == "timeout":
            await asyncio.Event().wait()
        await asyncio.sleep(delay)

    def conclude(self, visit: Visit, question: Question) -> Delivery:
        """The billed answer, or the outcome of the fault."""
        fault, kind = visit.fault, visit.kind
        if fault is not None and kind == "raw":
            return Delivery(status=fault.status, body=fault.body.encode(), headers=fault.headers)
        if kind == "disconnect_before":
            return Delivery(status=0, body=b"", cut_after=0)
        if fault is not None and kind in _PROBLEMS and not (kind == "blocked" and visit.route.format.blocks_prompts):
            limit = self._limiter(question.provider).limits.rpm or _USUAL_RPM
            wait = fault.retry_after if kind == "rate_limit" else None
            rejected = Rejected(kind=_PROBLEMS[fault.kind], retry_after=wait, limit=limit, model=question.model)
            delivery = self.error(visit, rejected)
            return replace(delivery, status=200) if kind == "error_200" else delivery
        answer = self._answer_to(question, visit.held, kind)
        self.stats.billed(visit.received, answer.input_tokens, answer.output_tokens)
        self._limiter(question.provider).spend(answer.output_tokens, self.now())
        return damaged(self._good(visit, visit.route.format.write(question, answer, visit.request_id)), kind)

    def leave(self, visit: Visit, delivery: Delivery | None) -> None:
        """Count how the visit ended; ``None`` if the client disconnected first."""
        if visit.admitted:
            self.stats.ended(visit.route.provider)
        self._count(visit, delivery)

    def _count(self, visit: Visit, delivery: Delivery | None) -> None:
        status = None if delivery is None or delivery.cut_after is not None else delivery.status
        ended = "unknown" if delivery is None else outcome(status, visit.kind)
        self.stats.served(visit.received, ended, status, visit.kind)

    def _read(self, visit: Visit) -> Question:
        route, received = visit.route, visit.received
        body = json_object(received.body)
        question = route.format.read(route.reference, body, received.headers)
        if body.get("stream"):
            raise Rejected("Invalid value for 'stream': it must be false, since answers come in one piece.", "stream")
        known = self.behaviour.known_models(route.provider)
        if known is not None and question.model not in known:
            raise Rejected(kind="not_found", model=question.model)
        visit.held = self._caches.held(question, received.at)
        return replace(question, sample=received.sample)

    def _answer_to(self, question: Question, held: int, kind: str | None) -> Answer:
        answer = self.answers.answer(question, kind)
        if kind == "blocked":
            return replace(answer, text="", text_tokens=0, reasoning_tokens=0, blocked=True)
        cached = min(held, answer.input_tokens)
        written = min(self._caches.keep(question, held, self.now()), answer.input_tokens - cached)
        return replace(answer, cached=cached, written=written)

    def _good(self, visit: Visit, *lines: Any) -> Delivery:
        return Delivery(status=200, body=b"\n".join(map(encoded, lines)), headers=self._headers(visit, {}))

    def error(self, visit: Visit, rejected: Rejected) -> Delivery:
        """The provider's own error."""
        server, asked = visit.route.server, {}
        status, body = server.error(rejected, visit.request_id)
        if (wait := rejected.retry_after) is not None:  # in whole seconds and in milliseconds, rounded up
            waits = {"retry-after": max(1, ceil(wait - 1e-6)), "retry-after-ms": ceil(wait * 1000)}
            asked = {name: str(waits[name]) for name in server.wait_headers}
        return Delivery(status=status, body=encoded(body), headers=self._headers(visit, asked))

    def _headers(self, visit: Visit, more: Mapping[str, str]) -> dict[str, str]:
        """The provider's headers, overridden by those of a fault."""
        server, of_fault = visit.route.server, {} if visit.fault is None else visit.fault.headers
        limits = server.limit_headers(self._limiter(server.provider), self.now())
        return {**dict.fromkeys(server.id_headers, f"req_{visit.request_id}"), **limits, **more, **of_fault}

    def _limiter(self, provider: str) -> Limiter:
        if provider not in self._limiters:
            self._limiters[provider] = Limiter(self.behaviour.limits(provider), self.now())
        return self._limiters[provider]

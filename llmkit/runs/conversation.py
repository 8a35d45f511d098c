"""One probe in progress: its answers and cost so far, which become the probe's row at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

import anyio

from llmkit.errors import Code
from llmkit.limiter import Purse
from llmkit.money.pricing import Cost
from llmkit.records import TOKEN_COLUMNS, Completion, CostSource, Failure, Rates, Usage, source_of_sum
from llmkit.records.rows import as_json
from llmkit.runs.plan import Plan, Probe
from llmkit.store.events import probe_id

REUSED = Cost(amount=Decimal(0), rates=Rates(), source="reused")
"""The cost of an answer that was bought for another probe."""


@dataclass(slots=True, kw_only=True)
class Conversation:
    """A probe in progress; owned by one worker. ``turn_attempts`` counts the attempts of each turn, from turn 1."""

    probe: Probe
    probe_id: str
    answers: list[str] = field(default_factory=list)
    is_rejected: bool = False
    """Whether the turn to ask next has an answer that is not valid."""
    turn_attempts: dict[int, int] = field(default_factory=dict)
    maybe_billed: int = 0
    tokens: dict[str, int] = field(default_factory=dict)
    cost: Decimal = Decimal(0)
    wasted: Decimal = Decimal(0)
    original_cost: Decimal | None = Decimal(0)
    reused_from: str | None = None
    sources: set[CostSource] = field(default_factory=set)
    latency_s: float = 0.0
    queued_s: float = 0.0
    started_at: datetime | None = None
    left_out: set[str] = field(default_factory=set)
    finish_reason: str | None = None
    model_version: str | None = None
    tiers: dict[str, None] = field(default_factory=dict)
    rates: dict[str, Any] = field(default_factory=dict)
    answer: Any = None
    status: str | None = None
    failure: Failure | None = None
    purse: Purse | None = None
    guard: anyio.CancelScope = field(init=False)
    """Its worker's scope, shielded while a request is in flight, so that only waits before it can be cancelled."""

    @classmethod
    def of(cls, run_id: str, plan: Plan, position: int) -> Self:
        """The conversation of the probe at a position, with nothing asked yet."""
        return cls(probe=plan.probe(position), probe_id=probe_id(run_id, position))

    @property
    def turn(self) -> int:
        """The turn to ask next, from 1."""
        return len(self.answers) + 1

    @property
    def finished(self) -> bool:
        """Whether every prompt has its answer."""
        return len(self.answers) == len(self.probe.scenario.prompts)

    def begin_attempt(self, at: datetime, waited_s: float, left_out: Sequence[str] = ()) -> int:
        """Count an attempt of this turn and return its number, from 1."""
        number = self.turn_attempts.get(self.turn, 0) + 1
        self.turn_attempts[self.turn] = number
        self.started_at = self.started_at or at
        self.queued_s += waited_s
        self.left_out.update(left_out)
        return number

    def add(self, result: Completion | Failure, cost: Cost, latency_s: float) -> None:
        """Count a result: an answer advances to the next turn; a failure may have cost something, too."""
        if isinstance(result, Completion):
            self.answers.append(result.text)
            self.is_rejected = False
            self.latency_s += latency_s
        else:
            self.maybe_billed += result.maybe_billed
        if isinstance(result, Completion) or result.usage is not None:
            self.sources.add(cost.source)
            self.cost += cost.amount or 0
        if isinstance(result, Failure) and result.usage is not None:
            self.wasted += cost.amount or 0
        if result.usage is not None:
            self._count(result.usage)
            self.rates = _listed(cost.rates)
        if result.service_tier is not None:
            self.tiers[result.service_tier] = None
        self.finish_reason = result.finish_reason or self.finish_reason
        self.model_version = result.model_version or self.model_version

    def reuse(self, completion: Completion, source: str, cost: Decimal | None, latency_s: float) -> None:
        """Count an answer that was bought for another probe (``source``) at ``cost``; here it costs nothing."""
        self.add(completion, REUSED, latency_s)
        self.rates = {}
        self.reused_from = self.reused_from or source
        self.original_cost = None if self.original_cost is None or cost is None else self.original_cost + cost

    def discard_answer(self, cost: Cost) -> None:
        """Drop an invalid last answer: its turn is asked again, and its cost is wasted."""
        self.answers.pop()
        self.is_rejected = True
        self.wasted += cost.amount or 0

    def end(self, failure: Failure | None, *, refused: bool, check: Callable[[str], Any] | None) -> None:
        """Set how it ended. ``refused``: ``failure`` is a refusal to send; ``check`` parses the last answer."""
        if failure is None and check is not None:
            self.answer, failure = checked(self.answers[-1], check)
        self.failure = failure
        if failure is None:
            self.status = "ok"
        elif failure.code is Code.CANCELLED:
            self.status = "cancelled"
        else:
            self.status = "failed" if self.turn_attempts and not refused else "skipped"

    @property
    def is_plain(self) -> bool:
        """Whether its only attempt succeeded, so that the outcome of that determines most of its columns."""
        return self.status == "ok" and self.turn_attempts == {1: 1} and bool(self.tokens) and self.finished

    def row(self) -> dict[str, Any]:
        """The probe's final columns, JSON-ready."""
        failure, turns = self.failure, len(self.answers) + self.is_rejected
        return {
            "status": self.status,
            "error_code": failure.code if failure else None,
            "error_message": failure.message if failure else None,
            "retryable": failure.retryable if failure else None,
            "answer": self.answer,
            "finish_reason": self.finish_reason,
            "model_version": self.model_version,
            "service_tier": ", ".join(self.tiers) or None,
            **{name: self.tokens.get(name) for name in TOKEN_COLUMNS},
            **(self.rates or _listed(self.probe.model.price)),
            "estimated_cost": as_json(self._known_cost()),
            "wasted_cost": as_json(self.wasted),
            "cost_source": source_of_sum(self.sources),
            "turns": turns,
            "attempts": sum(self.turn_attempts.values()),
            "maybe_billed": self.maybe_billed,
            "left_out": sorted(self.left_out) or None,
            "latency_s": self.latency_s if turns else None,
            "queued_s": self.queued_s,
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "reused_from": self.reused_from,
            "original_cost": as_json(self.original_cost) if self.reused_from else None,
        }

    def _known_cost(self) -> Decimal | None:
        if not self.sources and (self.maybe_billed or not self.turn_attempts):
            return None  # nothing was asked, or only the provider knows whether it was billed
        return None if source_of_sum(self.sources) == "unpriced" else self.cost

    def _count(self, usage: Usage) -> None:
        if usage.total_tokens is None:
            return
        for name in TOKEN_COLUMNS:
            self.tokens[name] = self.tokens.get(name, 0) + getattr(usage, name)


def checked(text: str, check: Callable[[str], Any]) -> tuple[Any, Failure | None]:
    """The parsed answer, or why it is invalid. ``check`` raises ``ValueError`` with a sentence."""
    try:
        return check(text), None
    except ValueError as error:
        message = str(error)
    except Exception as error:  # noqa: BLE001 - whatever the check raises, the answer is paid for: save it
        message = f"The answer could not be checked: {type(error).__name__}: {error}"
    return None, Failure(code=Code.INVALID_RESPONSE, message=message, scope="probe")


def passes(text: str, check: Callable[[str], Any] | None) -> bool:
    """Whether an answer is valid."""
    return check is None or checked(text, check)[1] is None


def _listed(rates: Rates) -> dict[str, Any]:
    return {
        "cost_input_per_million": as_json(rates.cost_input_per_million),
        "cost_output_per_million": as_json(rates.cost_output_per_million),
    }

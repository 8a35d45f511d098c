"""The progress of a run: immutable snapshots, and the events that they are counted from."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any, Literal

from llmkit.errors import Code
from llmkit.limiter.pace import Limits
from llmkit.limiter.time_left import Watch
from llmkit.records import EXACT, CostSource
from llmkit.records.user_warnings import warn

EventKind = Literal["started", "asked", "answered", "failed_attempt", "waiting", "probe_done", "skipped", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """An event of a run. ``reason`` is a sentence or a wait reason, ``code`` a failure's code."""

    kind: EventKind
    run_id: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    provider: str | None = None
    model: str | None = None
    probe_id: str | None = None
    turn: int | None = None
    status: str | None = None
    code: str | None = None
    reason: str | None = None
    seconds: float | None = None
    cost: Decimal | None = None
    """US dollars billed for the reply; ``None`` when only the provider knows."""
    cost_source: CostSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """Probes by state, and their cost so far in US dollars."""

    total: int = 0
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    in_flight: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    """Requests of unknown cost: answers not fully priced, and failures that may have been billed."""

    @property
    def done(self) -> int:
        """Probes in a final state."""
        return self.asked + self.skipped

    @property
    def asked(self) -> int:
        """Probes that were answered or failed, not skipped."""
        return self.ok + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProgress(_Counts):
    """The probes of one model by state, and their cost so far in US dollars."""

    total: int

    @property
    def waiting(self) -> int:
        """Probes that are neither done nor in flight."""
        return max(0, self.total - self.done - self.in_flight)

    def __add__(self, other: ModelProgress) -> ModelProgress:
        """The sum of both, state by state."""
        return ModelProgress(
            **{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(_Counts):
    """A run at one moment: the sums over its ``models``. ``waiting`` says in a few words what each provider waits for.

    ``cost`` and ``estimate`` are US dollars; ``estimate`` is ``None`` when unknown. ``left`` holds the expected seconds
    of each provider with probes left, from its limits and its pace so far. ``done_before`` counts the probes that were
    done before this run was resumed.
    """

    status: str
    started_at: datetime
    models: Mapping[str, ModelProgress]
    waiting: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    estimate: Decimal | None = None
    ended_at: datetime | None = None
    done_before: int = 0
    left: Mapping[str, float] = field(default_factory=dict)
    budget: Decimal | None = None
    notes: tuple[str, ...] = ()
    """Sentences that whoever pays should see, such as that a budget is nearly spent."""

    def __post_init__(self) -> None:
        with localcontext(EXACT):
            whole = sum(self.models.values(), ModelProgress(total=0))
        for each in fields(_Counts):
            object.__setattr__(self, each.name, getattr(whole, each.name))

    @property
    def running(self) -> bool:
        """Whether it is running or being cancelled."""
        return self.status in ("running", "cancelling")

    @property
    def resumable(self) -> bool:
        """Whether ``kit.resume`` would have anything to ask."""
        left = self.total > self.ok + self.failed
        return not self.running and (left or any(Code(code).resumable for code in self.codes))

    @property
    def seconds(self) -> float:
        """Its duration, so far or in total."""
        return ((self.ended_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @property
    def rate(self) -> float:
        """Probes per minute since it was started or resumed."""
        return 60 * (self.done - self.done_before) / self.seconds if self.seconds > 0 else 0.0

    @property
    def slowest(self) -> str | None:
        """The provider expected to finish last; ``None`` before the first probe is done and after the end."""
        if not self.left or self.ended_at is not None or self.done == self.done_before:
            return None
        return max(self.left, key=self.left.__getitem__)

    @property
    def eta_s(self) -> float | None:
        """Seconds left of the slowest provider; ``None`` when :attr:`slowest` is."""
        return None if self.slowest is None else self.left[self.slowest]


@dataclass(slots=True, kw_only=True)
class Tracker:
    """Counts events into a :class:`Progress` and passes them to listeners. Only the background loop writes to it.

    ``totals`` are probes by model, ``turns`` the mean requests per probe, ``tokens`` those per request by model.
    """

    run_id: str
    totals: InitVar[Mapping[str, int]]
    limits: Callable[[str], Limits]
    turns: float
    tokens: Mapping[str, float]
    estimate: Decimal | None
    budget: Decimal | None
    status: str = "running"
    _watches: dict[str, Watch] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _ended_at: datetime | None = None
    _counts: dict[str, defaultdict[str, Any]] = field(init=False)
    _codes: Counter[str] = field(default_factory=Counter)
    _listeners: list[Callable[[RunEvent], None]] = field(default_factory=list)

    def __post_init__(self, totals: Mapping[str, int]) -> None:
        self._counts = {model: defaultdict(int, total=total, cost=Decimal(0)) for model, total in totals.items()}

    def listen(self, listener: Callable[[RunEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with every event from now on, on the background thread; returns a function to remove it."""
        self._listeners.append(listener)
        return lambda: self._forget(listener)

    def note(self, sentence: str) -> None:
        """Keep a sentence that whoever pays should see."""
        self._notes.append(sentence)

    def refused(self) -> int:
        """The number of probes that a budget has refused."""
        return self._codes[Code.BUDGET_EXCEEDED]

    @property
    def is_complete(self) -> bool:
        """Whether every probe is in a final state."""
        return all(ModelProgress(**counts).done >= counts["total"] for counts in self._counts.values())

    def emit(self, kind: EventKind, **details: Any) -> None:
        """Count an event and pass it on; ``details`` are fields of a :class:`RunEvent`."""
        if (counts := self._counts.get(details.get("model", ""))) is not None:
            self._count(kind, counts, details)
        if kind == "ended":
            self.status, self._ended_at = details["status"], datetime.now(UTC)
        if self._listeners:
            event = RunEvent(kind=kind, run_id=self.run_id, **details)
            for listener in tuple(self._listeners):
                self._tell(listener, event)

    def _tell(self, listener: Callable[[RunEvent], None], event: RunEvent) -> None:
        """Call a listener. Its errors must not end a run that costs money, so one that fails is removed."""
        try:
            listener(event)
        except Exception as error:  # noqa: BLE001 - a listener is its user's code
            self._forget(listener)
            with contextlib.suppress(UserWarning):  # where warnings are errors
                warn(f"A listener failed and was removed; the run continues: {error!r}")

    def _forget(self, listener: Callable[[RunEvent], None]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _count(self, kind: EventKind, counts: defaultdict[str, Any], details: Mapping[str, Any]) -> None:
        provider, status = details["provider"], details.get("status")
        if kind == "asked":
            counts["in_flight"] += 1
            now = time.time()
            self._watches.setdefault(provider, Watch(now)).started(now, self.limits(provider))
        elif kind in ("answered", "failed_attempt"):
            counts["in_flight"] -= 1
            counts["unpriced"] += details["cost"] is None or details["cost_source"] == "partly unpriced"
            counts["cost"] += details["cost"] or 0
            if provider in self._watches:
                self._watches[provider].ended(details["seconds"], ok=kind == "answered")
                if details.get("code") == Code.RATE_LIMITED:
                    self._watches[provider].refused(time.time())
        elif kind == "probe_done" and status in ("ok", "failed", "skipped"):
            counts[status] += 1
            if details["code"]:
                self._codes[details["code"]] += 1

    def _left(self, models: Mapping[str, ModelProgress]) -> dict[str, float]:
        """The expected seconds of each provider with probes left."""
        now = time.time()
        by_provider: dict[str, list[tuple[str, ModelProgress]]] = {}
        for model, part in models.items():
            if part.done < part.total:
                by_provider.setdefault(model.partition(":")[0], []).append((model, part))
        return {
            provider: self._watches.get(provider, Watch(now)).left(
                self.turns * sum(part.total - part.done for _, part in parts),
                sum(part.in_flight for _, part in parts),
                self.limits(provider),
                now,
                tokens=sum(self.tokens.get(model, 0.0) for model, _ in parts) / len(parts),
            )
            for provider, parts in by_provider.items()
        }

    def snapshot(self, waiting: Mapping[str, str]) -> Progress:
        """The progress at this moment."""
        models = {model: ModelProgress(**counts) for model, counts in self._counts.items()}
        return Progress(
            status=self.status,
            started_at=self._started_at,
            models=models,
            waiting=waiting,
            codes=dict(self._codes),
            estimate=self.estimate,
            budget=self.budget,
            notes=tuple(self._notes),
            ended_at=self._ended_at,
            left={} if self._ended_at else self._left(models),
        )

"""What the server observed: counts, the most requests in flight, starts in any window, and the requests themselves."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

KEPT = 2_000  # requests that `Simulator.requests` remembers; a long rehearsal must not fill the memory
MINUTE = 60.0
Outcome = Literal["ok", "rejected", "failed", "unknown"]
_SUMMED = (
    "requests", "ok", "rejected", "failed", "unknown", "billed", "in_flight", "input_tokens", "output_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it arrived, without the key. ``at`` is seconds since the epoch; ``body`` is the decoded JSON.
    ``probe``, ``turn`` and ``sample`` are the headers ``x-llmkit-probe``, ``-turn`` and ``-sample``.
    """

    provider: str
    path: str
    method: str
    headers: Mapping[str, str]
    body: Any
    at: float
    probe: str | None = None
    turn: str | None = None
    sample: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Served(Received):
    """A request with the status of its answer (``None``: no answer) and the fault that it met, if any."""

    status: int | None
    fault: str | None


@dataclass(slots=True)
class _Counts:
    """The counts of one provider."""

    requests: int = 0
    ok: int = 0
    rejected: int = 0
    failed: int = 0
    unknown: int = 0
    billed: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    starts: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, int]:
        most = {"max_in_flight": self.max_in_flight, "max_starts_per_minute": self.max_starts(MINUTE)}
        return {name: getattr(self, name) for name in _SUMMED} | most

    def max_starts(self, window: float) -> int:
        # half-open windows that start with a request: no other window can hold more
        starts = self.starts
        return max((bisect_left(starts, at + window) - i for i, at in enumerate(starts)), default=0)


class Stats:
    """Counts kept by the server's thread and read from any other."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.clear()

    def clear(self) -> None:
        """Forget everything except what is in flight."""
        with self.changed:
            before: dict[str, _Counts] = getattr(self, "_by_provider", {})
            flying = {name: counts.in_flight for name, counts in before.items() if counts.in_flight}
            self._by_provider = {name: _Counts(in_flight=n, max_in_flight=n) for name, n in flying.items()}
            self._total_max_in_flight = sum(flying.values())
            self._billed_by_probe: dict[str, list[str]] = {}
            self._faults: dict[str, int] = {}
            self._served: deque[Served] = deque(maxlen=KEPT)
            self.changed.notify_all()

    def arrived(self, provider: str, now: float | None) -> None:
        """Count a request for an answer; ``now`` is ``None`` in a batch, which does not count towards limits."""
        with self.changed:
            counts = self._by_provider.setdefault(provider, _Counts())
            counts.requests += 1
            if now is None:
                return
            counts.starts.append(now)
            self.changed.notify_all()

    def began(self, provider: str) -> None:
        """Count an admitted request."""
        with self.changed:
            counts = self._by_provider[provider]
            counts.in_flight += 1
            counts.max_in_flight = max(counts.max_in_flight, counts.in_flight)
            flying = sum(each.in_flight for each in self._by_provider.values())
            self._total_max_in_flight = max(self._total_max_in_flight, flying)
            self.changed.notify_all()

    def ended(self, provider: str) -> None:
        """Count the end of an admitted request."""
        with self.changed:
            self._by_provider[provider].in_flight -= 1
            self.changed.notify_all()

    def billed(self, received: Received, input_tokens: int, output_tokens: int) -> None:
        """Count the tokens charged for an answer, whether or not it arrives."""
        with self.changed:
            counts = self._by_provider.setdefault(received.provider, _Counts())
            counts.billed += 1
            counts.input_tokens += input_tokens
            counts.output_tokens += output_tokens
            if received.probe is not None:
                self._billed_by_probe.setdefault(received.probe, []).append(received.turn or "")
            self.changed.notify_all()

    def served(self, received: Received, outcome: Outcome | None, status: int | None, fault: str | None) -> None:
        """Record the end of a request; ``outcome`` is ``None`` for requests that do not ask for an answer."""
        with self.changed:
            as_received = {each.name: getattr(received, each.name) for each in fields(Received)}
            self._served.append(Served(**as_received, status=status, fault=fault))
            if outcome is not None:
                counts = self._by_provider.setdefault(received.provider, _Counts())
                setattr(counts, outcome, getattr(counts, outcome) + 1)
            if fault is not None:
                self._faults[fault] = self._faults.get(fault, 0) + 1
            self.changed.notify_all()

    def requests(self) -> list[Served]:
        """The last ``KEPT`` requests, in the order in which they were answered."""
        with self.changed:
            return list(self._served)

    def as_dict(self) -> dict[str, Any]:
        """See ``Simulator.stats``."""
        with self.changed:
            by_provider = {name: counts.as_dict() for name, counts in self._by_provider.items()}
            return {
                **{name: sum(each[name] for each in by_provider.values()) for name in _SUMMED},
                "max_in_flight": self._total_max_in_flight,
                "by_provider": by_provider,
                "billed_by_probe": {probe: list(turns) for probe, turns in self._billed_by_probe.items()},
                "faults": dict(self._faults),
            }

    def count(self, name: str, provider: str | None = None) -> int:
        """One count, for all providers or one."""
        with self.changed:
            counts = self._by_provider.values() if provider is None else [self._by_provider.get(provider, _Counts())]
            return sum(getattr(each, name) for each in counts)

    def max_starts(self, provider: str, window: float = MINUTE) -> int:
        """The most requests of a provider that arrived within any ``window`` seconds, refused ones included."""
        with self.changed:
            return self._by_provider.get(provider, _Counts()).max_starts(window)

    def wait_until(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """See ``Simulator.wait_until``."""
        with self.changed:
            return self.changed.wait_for(predicate, timeout)

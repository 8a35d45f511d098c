"""What the server observed: counts, the most requests in flight, starts in any window, and the requests themselves."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

KEPT = 2_000  # requests that `Simulator.requests` remembers; a long rehearsal must not fill the memory
MINUTE = 60.0
Outcome = Literal["ok", "rejected", "failed", "unknown"]
_NONE = dict.fromkeys(
    ("requests", "ok", "rejected", "failed", "unknown", "billed", "in_flight", "input_tokens", "output_tokens",
     "max_in_flight"), 0
)  # fmt: skip
"""The counts of a provider."""


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


class Stats:
    """Counts kept by the server's thread and read from any other."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._counts = defaultdict[str | None, dict[str, int]](_NONE.copy)
        self.clear()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self.changed:
            yield
            self.changed.notify_all()

    def clear(self) -> None:
        """Forget everything except what is in flight."""
        with self._changing():
            flying = {name: counts["in_flight"] for name, counts in self._counts.items() if counts["in_flight"]}
            self._counts.clear()
            self._counts |= {name: {**_NONE, "in_flight": n, "max_in_flight": n} for name, n in flying.items()}
            self._starts = defaultdict[str, list[float]](list)
            self._billed_by_probe = defaultdict[str, list[str]](list)
            self._faults = Counter[str]()
            self._served: deque[Served] = deque(maxlen=KEPT)

    def _add(self, provider: str, **amounts: int) -> None:
        """Add to the counts of a provider, and to those of all, whose key is ``None``."""
        for counts in (self._counts[provider], self._counts[None]):
            for name, amount in amounts.items():
                counts[name] += amount
            counts["max_in_flight"] = max(counts["max_in_flight"], counts["in_flight"])

    def arrived(self, provider: str, now: float | None) -> None:
        """Count a request for an answer; ``now`` is ``None`` in a batch, which does not count towards limits."""
        with self._changing():
            self._add(provider, requests=1)
            if now is not None:
                self._starts[provider].append(now)

    @contextmanager
    def in_flight(self, provider: str) -> Iterator[None]:
        """Count an admitted request until the end of the block."""
        with self._changing():
            self._add(provider, in_flight=1)
        try:
            yield
        finally:
            with self._changing():
                self._add(provider, in_flight=-1)

    def billed(self, received: Received, input_tokens: int, output_tokens: int) -> None:
        """Count the tokens charged for an answer, whether or not it arrives."""
        with self._changing():
            self._add(received.provider, billed=1, input_tokens=input_tokens, output_tokens=output_tokens)
            if received.probe is not None:
                self._billed_by_probe[received.probe].append(received.turn or "")

    def served(self, received: Received, outcome: Outcome | None, status: int | None, fault: str | None) -> None:
        """Record the end of a request; ``outcome`` is ``None`` for requests that do not ask for an answer."""
        with self._changing():
            as_received = {each.name: getattr(received, each.name) for each in fields(Received)}
            self._served.append(Served(**as_received, status=status, fault=fault))
            if outcome is not None:
                self._add(received.provider, **{outcome: 1})
            if fault is not None:
                self._faults[fault] += 1

    def requests(self) -> list[Served]:
        """The last ``KEPT`` requests, in the order in which they were answered."""
        with self.changed:
            return list(self._served)

    def as_dict(self) -> dict[str, Any]:
        """See ``Simulator.stats``."""
        with self.changed:
            return {
                **self._counts.get(None, _NONE),
                "by_provider": {
                    name: {**counts, "max_starts_per_minute": self.max_starts(name)}
                    for name, counts in self._counts.items()
                    if name is not None
                },
                "billed_by_probe": {probe: list(turns) for probe, turns in self._billed_by_probe.items()},
                "faults": dict(self._faults),
            }

    def count(self, name: str, provider: str | None = None) -> int:
        """One count, for all providers or one."""
        with self.changed:
            return self._counts.get(provider, _NONE)[name]

    def max_starts(self, provider: str, window: float = MINUTE) -> int:
        """The most requests of a provider that arrived within any ``window`` seconds, refused ones included."""
        with self.changed:
            starts = np.array(self._starts.get(provider, ()))
        # half-open windows that start with a request: no other window can hold more
        return int((np.searchsorted(starts, starts + window) - np.arange(starts.size)).max(initial=0))

    def wait_until(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """See ``Simulator.wait_until``."""
        with self.changed:
            return self.changed.wait_for(predicate, timeout)

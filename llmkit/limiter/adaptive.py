"""Adapt the number of requests in flight: additive increase, halved when the provider is at its limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

SMOOTHING = 0.2  # weight of the newest latency in the moving average
KNEE = 2.0  # times the best average


@dataclass(frozen=True, slots=True)
class Adaptive:
    """The number of requests allowed in flight (``int(allowed)``), and the latencies it is derived from.

    The *knee* is reached when the moving average of latencies exceeds twice the best average seen: beyond it, more
    parallel requests only queue inside the provider. ``fresh`` counts the answers since the last halving; the number is
    not halved again before a full round of answers at the lower number.
    """

    allowed: float = 1.0
    average: float | None = None
    best: float | None = None
    fresh: int = 0

    def answered(self, latency: float, at_most: int) -> Adaptive:
        """The state after an answer that took ``latency`` seconds: one more per round of answers, up to ``at_most``."""
        average = latency if self.average is None else self.average + SMOOTHING * (latency - self.average)
        best = average if self.best is None else min(self.best, average)
        seen = replace(self, average=average, best=best, fresh=self.fresh + 1)
        if average > KNEE * best and seen.fresh > self.allowed:
            return replace(seen._halved(), average=None)
        return replace(seen, allowed=min(float(at_most), self.allowed + 1 / self.allowed))

    def refused(self) -> Adaptive:
        """The state after a rate limit (HTTP 429)."""
        return self._halved() if self.fresh > self.allowed or self.fresh == 0 else replace(self, fresh=self.fresh + 1)

    def _halved(self) -> Adaptive:
        return replace(self, allowed=max(1.0, self.allowed / 2), fresh=1)

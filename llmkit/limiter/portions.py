"""What one machine may use of limits that several share: the arithmetic, and what the gate is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from llmkit.limiter.pace import Limits, PaceState

TURN = 10
"""Seconds after which those who have one request at a time less than others have one more."""


class Use(NamedTuple):
    """How many requests at a time a machine may have on their way, and how many it has."""

    slots: int = 0
    in_flight: int = 0

    @property
    def taken(self) -> int:
        """How many nobody else may have."""
        return max(self)


@dataclass(slots=True)
class Portions:
    """Requests at a time, by provider, or by model (reference) where it has limits of its own.

    Whoever wants to use what is not in it waits, and ``need`` is called.
    """

    need: Callable[[], object]
    slots: Mapping[str, int] = field(default_factory=dict)


def limits_of(whole: Limits, slots: int) -> Limits:
    """What comes with so many of the requests at a time that are allowed; at least 1 of each."""
    slots, of = min(slots, whole.max_parallel), whole.max_parallel
    tokens = None if whole.tokens_per_minute is None else whole.tokens_per_minute * slots // of
    return Limits(slots, whole.requests_per_minute * slots // of, tokens)


def without_burst(state: PaceState, now: float) -> PaceState:
    """The pace of a limit that others use already: they have had the burst that it allows."""
    return state._replace(updated_at=now, credit=1.0, credit_at=now, rested=False)


def portion(of: int, me: str, others: Mapping[str, Use], now: float) -> int:
    """How many of a limit's requests at a time are for one of those that use it.

    An equal part; where that leaves a rest, or less than one for each, they take turns. What others have not given back
    yet they still have, so that all together never have more than the limit.
    """
    everybody = sorted({me, *others})
    place = (everybody.index(me) + int(now // TURN)) % len(everybody)
    equal = of // len(everybody) + (place < of % len(everybody))
    return max(0, min(equal, of - sum(use.taken for use in others.values())))

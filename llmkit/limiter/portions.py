"""What one machine may use of limits and budgets that several share: the arithmetic, and what the gate is told.

Of a limit each machine has a portion, of a budget each run a ceiling for what it has spent and set aside. All ceilings
together, and what was spent before, are never more than the budget, however late machines hear of each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from llmkit.limiter.pace import Limits, PaceState

ZERO = Decimal(0)
CENT = Decimal("1e-10")
"""The smallest amount that is told apart, in US dollars."""
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


class Stake(NamedTuple):
    """What a run has of a budget, in US dollars: ``used`` is what it has spent and set aside, at most ``ceiling``."""

    ceiling: Decimal
    used: Decimal
    spent: Decimal
    wants: Decimal = ZERO
    """What it has set aside at a time, or one request if that is more; nothing if it has not looked for any lately."""
    is_live: bool = True
    """Whether it goes on; of one that does not, all up to the ceiling counts as spent."""


@dataclass(slots=True)
class Claim:
    """A run's own stake, as it grows. ``elsewhere`` is what others have spent, or may have when they fell silent."""

    total: Decimal = ZERO
    counted: Mapping[str, Decimal] = field(default_factory=dict)
    """What each run has spent by the journal, which was read when the clock said ``counted_at``."""
    counted_at: float = 0.0
    wanted_at: float = 0.0
    unit: Decimal = CENT
    """What the last request has asked for that had to wait."""
    spent: Decimal = ZERO
    reserved: Decimal = ZERO
    ceiling: Decimal = ZERO
    elsewhere: Decimal = ZERO

    @property
    def total_spent(self) -> Decimal:
        """What is spent of the budget, as far as the others have told."""
        return self.elsewhere + self.spent

    @property
    def free(self) -> Decimal:
        """What a request may cost now."""
        return self.ceiling - self.spent - self.reserved

    def divided(self, me: str, others: Mapping[str, Stake], now: float, *, wants: bool) -> tuple[Stake, Decimal]:
        """This stake as it may be while others have theirs, and what they have spent.

        Of what nobody uses a part by what each sets aside at a time, at most so much once more, which it asks for anew
        when it is used up; but never what another has not given back. Where there is less than one request for each,
        those take turns that have none on its way.
        """
        gone = sum((amount for run, amount in self.counted.items() if run != me and run not in others), ZERO)
        gone += sum((each.ceiling for each in others.values() if not each.is_live), ZERO)
        live = {run: each for run, each in others.items() if each.is_live}
        used = self.spent + self.reserved
        pool = self.total - gone - used - sum((each.used for each in live.values()), ZERO)
        rest = self.total - gone - used - sum((each.ceiling for each in live.values()), ZERO)
        wanting = {run: each for run, each in live.items() if each.wants}
        requests = max(0, int(pool // self.unit))
        weight = max(self.unit, self.reserved) if wants else ZERO
        part = ZERO
        if wants and requests > len(wanting):
            by_weight = pool * weight / (weight + sum((each.wants for each in wanting.values()), ZERO))
            part = min(max(self.unit, by_weight), self.reserved + self.unit)
        elif wants and not self.reserved:
            queue = {run: Use() for run, each in wanting.items() if each.used == each.spent}
            part = pool / requests if portion(requests, me, queue, now) else ZERO
        stake = Stake(used + max(ZERO, min(part, rest)).quantize(CENT, ROUND_DOWN), used, self.spent, weight)
        return stake, gone + sum((each.spent for each in live.values()), ZERO)


@dataclass(slots=True)
class Claims:
    """The claims of this process's runs, by budget and run, to be used under the lock. ``need`` is called when somebody
    waits for more.
    """

    need: Callable[[], object]
    lock: threading.Lock = field(default_factory=threading.Lock)
    of: dict[tuple[str, str], Claim] = field(default_factory=dict)


@dataclass(slots=True)
class Portions:
    """Requests at a time, by provider, or by model (reference) where it has limits of its own; and claims to budgets.

    Whoever wants to use what is not in it waits, and ``claims.need`` is called.
    """

    claims: Claims
    slots: Mapping[str, int] = field(default_factory=dict)

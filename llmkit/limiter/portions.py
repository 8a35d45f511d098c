"""Divide limits and budgets between machines: the arithmetic, and the records passed to the gate.

Each machine has a portion of a limit, and each run a ceiling for what it has spent and reserved of a budget. All
ceilings together, plus earlier spending, never exceed the budget, however late machines hear from each other.
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
"""The smallest amount, in US dollars."""
TURN = 10
"""Seconds after which it is the turn of other machines to have one request at a time."""


class Use(NamedTuple):
    """The parallel requests that a machine may have in flight, and has."""

    slots: int = 0
    in_flight: int = 0

    @property
    def taken(self) -> int:
        """The number that nobody else may use."""
        return max(self)


def limits_of(whole: Limits, slots: int) -> Limits:
    """The portion of all limits that corresponds to this many of the allowed parallel requests; at least 1 of each."""
    slots, of = min(slots, whole.max_parallel), whole.max_parallel
    tokens = None if whole.tokens_per_minute is None else whole.tokens_per_minute * slots // of
    return Limits(slots, whole.requests_per_minute * slots // of, tokens)


def without_burst(state: PaceState, now: float) -> PaceState:
    """The pace of a limit that others use already, and whose burst they have had."""
    return state._replace(updated_at=now, credit=1.0, credit_at=now, rested=False)


def portion(of: int, me: str, others: Mapping[str, Use], now: float) -> int:
    """The number of a limit's parallel requests for one of the machines that use it.

    An equal part; of a remainder, the first machines have one more each. If there is less than one for each, they take
    turns. Otherwise they do not: a machine whose part shrinks has started too much in the last minute, and waits. What
    others have not released yet still counts as theirs, so that all together never exceed the limit.
    """
    everybody = sorted({me, *others})
    turns = int(now // TURN) if of < len(everybody) else 0
    place = (everybody.index(me) + turns) % len(everybody)
    equal = of // len(everybody) + (place < of % len(everybody))
    return max(0, min(equal, of - sum(use.taken for use in others.values())))


class Stake(NamedTuple):
    """A run's share of a budget, in US dollars: ``used`` is what it has spent and reserved, at most ``ceiling``."""

    ceiling: Decimal
    used: Decimal
    spent: Decimal
    wants: Decimal = ZERO
    """What it reserves at a time, or one request if that is more; 0 if it has not needed any lately."""
    is_live: bool = True
    """Whether it is running; otherwise everything up to the ceiling counts as spent."""


@dataclass(slots=True)
class Claim:
    """A run's own stake, as it grows. ``elsewhere`` is what others have spent, or may have spent before they fell
    silent."""

    total: Decimal = ZERO
    counted: Mapping[str, Decimal] = field(default_factory=dict)
    """What each run has spent according to the journal, as read at ``counted_at``."""
    counted_at: float = 0.0
    wanted_at: float = 0.0
    unit: Decimal = CENT
    """The amount of the last request that had to wait."""
    spent: Decimal = ZERO
    reserved: Decimal = ZERO
    ceiling: Decimal = ZERO
    elsewhere: Decimal = ZERO

    @property
    def free(self) -> Decimal:
        """What a request may cost now."""
        return self.ceiling - self.spent - self.reserved

    def divided(self, me: str, others: Mapping[str, Stake], now: float, *, wants: bool) -> tuple[Stake, Decimal]:
        """The stake that this run may have given those of others, and what the others have spent.

        Unused money is divided in proportion to what each run reserves at a time; its part is at most as much again and
        one request, and never what another has not released. A run asks again when it is used up. If there is less than
        one request for each, the runs without one in flight take turns.
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
class Portions:
    """What this process may use of what machines share: ``slots`` are parallel requests by provider, or by model
    (reference) with its own limits, and ``claims`` those of its runs by budget and run, to be used under the lock.
    Requests to anything else wait. ``need`` is called when one does, or when a run waits for more money.
    """

    need: Callable[[], object]
    slots: Mapping[str, int] = field(default_factory=dict)
    claims: dict[tuple[str, str], Claim] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

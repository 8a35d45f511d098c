"""The money of one run: reserved at the worst case before a request is sent, settled at its cost afterwards."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

import anyio

from llmkit.errors import BudgetExceeded
from llmkit.money.pricing import dollars


class Budget:
    """What one run may spend, in US dollars. Used from one event loop; the properties may be read from anywhere.

    Who comes first is served first. A request waits while what others have reserved may still come free; it is refused
    as soon as it would not fit even if all of that came free, because what is spent never comes back. So ``spent`` is
    at most ``total`` as long as no request costs more than its worst case.
    """

    def __init__(self, total: Decimal) -> None:
        self.total = total
        self._spent = Decimal(0)
        self._reserved = Decimal(0)
        self._queue: deque[_Asking] = deque()

    @property
    def spent(self) -> Decimal:
        """What the requests that are over have cost, those of unknown cost at their worst case."""
        return self._spent

    @property
    def reserved(self) -> Decimal:
        """The worst case of the requests under way."""
        return self._reserved

    @property
    def left(self) -> Decimal:
        """What a request may still cost once everything under way is over, at best."""
        return self.total - self._spent

    @property
    def is_overdrawn(self) -> bool:
        """Whether requests have cost so much more than their worst case that what is reserved is not there any more."""
        return self._spent + self._reserved > self.total

    def must_wait(self, worst_case: Decimal) -> bool:
        """Whether ``reserve`` would wait now."""
        return worst_case <= self.left and (bool(self._queue) or worst_case > self.left - self._reserved)

    async def reserve(self, worst_case: Decimal | None) -> Reservation:
        """Set ``worst_case`` aside, waiting while it may yet come free.

        Raises:
            BudgetExceeded: it does not fit into what is left, or is unknown.
        """
        if worst_case is None:
            raise BudgetExceeded(
                "The budget cannot be checked, because the price or the longest answer of this model is unknown. "
                "Set its prices in the catalog and max_tokens for the run, or run without a budget."
            )
        asking = _Asking(worst_case)
        self._queue.append(asking)
        try:
            self._serve()
            await asking.answered.wait()
            if asking.granted is None:
                total, most, spent = (dollars(each, exact=True) for each in (self.total, worst_case, self._spent))
                raise BudgetExceeded(
                    f"The budget of {total} does not cover this request: it may cost up to {most}, and {spent} is "
                    f"spent already. Raise the budget or lower max_tokens."
                )
            reservation, asking.granted = asking.granted, None
            return reservation
        finally:
            if asking in self._queue:
                self._queue.remove(asking)
                self._serve()
            if asking.granted is not None:  # cancelled between the grant and its arrival
                asking.granted.release()

    def _serve(self) -> None:
        """Answer whoever can be answered, in order."""
        while self._queue:
            asking = self._queue[0]
            if asking.amount <= self.left:
                if asking.amount > self.left - self._reserved:
                    return
                self._reserved += asking.amount
                asking.granted = Reservation(self, asking.amount)
            self._queue.popleft()
            asking.answered.set()

    def _over(self, amount: Decimal, cost: Decimal) -> None:
        self._reserved -= amount
        self._spent += cost
        self._serve()


class Reservation:
    """Money set aside for one request; over once it was settled or released, later calls change nothing."""

    def __init__(self, budget: Budget, amount: Decimal) -> None:
        self.amount = amount
        self._budget: Budget | None = budget

    def settle(self, cost: Decimal | None) -> None:
        """The request is over and cost ``cost``; ``None`` is unknown, and counts as the worst case."""
        budget, self._budget = self._budget, None
        if budget is not None:
            budget._over(self.amount, self.amount if cost is None else cost)

    def release(self) -> None:
        """The request was never sent."""
        self.settle(Decimal(0))


@dataclass(eq=False, slots=True)
class _Asking:
    amount: Decimal
    answered: anyio.Event = field(default_factory=anyio.Event)
    granted: Reservation | None = None

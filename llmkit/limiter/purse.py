"""Money reserved for a whole conversation, so that once begun it can be finished."""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal

from llmkit.limiter.budget import Budget, Held
from llmkit.limiter.portions import ZERO


class Purse:
    """What one conversation has reserved in a budget, the worst case of the one request that is under way included.

    ``rest`` is the worst case of the turns after the next, set by the caller before each request. Conversations of one
    ``kind``, such as a model and a number of turns, need about the same.
    """

    def __init__(self, budget: Budget, provider: str, kind: Hashable) -> None:
        self.rest = ZERO
        self.begun = False
        self._budget = budget
        self._provider = provider
        self._kind = kind
        self._spent = self._need = ZERO
        self._held: Held | None = None
        self._asked: Decimal | None = None  # the worst case of the request under way

    @property
    def is_overdrawn(self) -> bool:
        """As for the budget."""
        return self._budget.is_overdrawn

    async def reserve(self, worst_case: Decimal | None) -> None:
        """Get the money for the next request from what is reserved already, or reserve it."""
        self._need = max(self._need, self._spent + (worst_case or ZERO))
        if self._held is None or worst_case is None or self._held.amount < worst_case:
            self.release()  # never wait for money while holding some
            whole = None if worst_case is None else worst_case + self.rest
            self._held = await self._budget.reserve(
                worst_case, provider=self._provider, whole=whole, kind=self._kind, begun=self.begun
            )
        self._asked = worst_case

    def recall(self, worst_case: Decimal) -> None:
        """Reserve again what a request of an earlier process, which is still in flight, counts as."""
        self._held = self._budget.recall(worst_case, self._provider)

    def settle(self, cost: Decimal | None) -> None:
        """Settle the request at its cost, the worst case if ``None`` (unknown); what the remaining turns may need stays
        reserved. Further calls have no effect.
        """
        asked, self._asked = self._asked, None
        if asked is None:
            return
        cost = asked if cost is None else cost
        self._spent += cost
        if self.begun and not self.rest:  # its last turn; what has only one teaches nothing
            self._budget.learn(self._kind, self._need)
        self.begun = True
        if self._held is not None:
            held, kept = self._held, max(ZERO, min(self._held.amount - cost, self.rest))
            self._held = held._replace(amount=kept) if kept else None
            self._budget.over(held.keys, cost, held.amount - kept)

    def release(self) -> None:
        """Release what is reserved; a later turn would reserve anew."""
        held, self._held, self._asked = self._held, None, None
        if held is not None:
            self._budget.over(held.keys, ZERO, held.amount)

"""The money of a run: reserved at the worst case before a request is sent, settled at the actual cost afterwards.

One mechanism for several scopes: the run's own budget, and those shared with other runs (:mod:`ledger`). Money is
reserved for whole conversations, so that what was begun can be finished.
"""

from __future__ import annotations

import contextlib
from bisect import insort
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import anyio

from llmkit.errors import BudgetExceeded
from llmkit.limiter.ledger import Account
from llmkit.limiter.portions import ZERO
from llmkit.limiter.shared_money import SharedMoney, refusal

GLANCE = 0.1
"""Seconds between looks at what other processes have released."""


class Held(NamedTuple):
    """Reserved money, and the keys of the budgets that it is reserved in."""

    amount: Decimal
    keys: tuple[str, ...]


class Budget:
    """What one run may spend, in US dollars. Used from one event loop; any thread may read ``own`` and ``waiting``.

    Requests are served in order, those of conversations in progress before others. A request waits while reservations
    of others may still be released; it is refused as soon as it would not fit even then, because spent money never
    returns. So ``spent`` is at most ``total`` as long as no request costs more than its worst case.
    """

    def __init__(self, total: Decimal | None, *, spent: Decimal = ZERO) -> None:
        """``total`` is the run's own budget, if any, and ``spent`` what is used of it."""
        self.total = total
        self.shared: SharedMoney | None = None
        """The budgets that it shares with other runs."""
        self.own = Account(ZERO if total is None else total, spent)
        """What this run has spent, requests of unknown cost at their worst case, and reserved for those in flight."""
        self._queue: deque[_Asking] = deque()
        self.passed: dict[str, Decimal] = {}
        """By how much budgets were exceeded, by key; that of the run's own is empty."""
        self.refused_by: str | None = None
        """The key of the budget that was the first to refuse a request."""
        self._needs: defaultdict[Hashable, list[Decimal]] = defaultdict(list)

    @property
    def is_overdrawn(self) -> bool:
        """Whether requests cost so much more than their worst case that the rest no longer covers the reservations."""
        return self.total is not None and self.own.free < 0

    def keys(self, provider: str, at: datetime | None = None) -> tuple[str, ...]:
        """The budgets that a request to a provider is charged to now, or was at another time; that of the run's own is
        empty."""
        own = () if self.total is None else (_OWN,)
        return (*own, *(self.shared.keys(provider, at) if self.shared else ()))

    def waiting(self) -> set[str]:
        """The providers whose next requests wait for money that others have reserved."""
        return {asking.purse.provider for asking in tuple(self._queue)}

    def need(self, kind: Hashable) -> Decimal | None:
        """The amount that suffices for three in four conversations of a kind; ``None`` before one is finished."""
        needs = self._needs[kind]
        return needs[3 * len(needs) // 4] if needs else None

    def learn(self, kind: Hashable, need: Decimal) -> None:
        """Record how much money a finished conversation of a kind needed."""
        insort(self._needs[kind], need)

    async def reserve(self, worst_case: Decimal | None, purse: Purse) -> Held:
        """Reserve at least ``worst_case`` for a conversation, waiting as long as it may still become free.

        Raises:
            BudgetExceeded: it does not fit into what is left, or is unknown.
        """
        if worst_case is None:
            raise BudgetExceeded(
                "The budget cannot be checked, because the price or the longest answer of this model is unknown. "
                "Set its prices in the catalog and max_tokens for the run, or run without a budget."
            )
        asking = _Asking(worst_case, purse)
        self._queue.insert(sum(other.purse.begun for other in self._queue) if purse.begun else len(self._queue), asking)
        try:
            self._serve()
            purse.has_waited = not asking.answered.is_set()
            while not asking.answered.is_set():
                with anyio.move_on_after(GLANCE if self.shared else None):
                    await asking.answered.wait()
                if not asking.answered.is_set():
                    self._serve(glance=True)
            if asking.granted is None:
                raise BudgetExceeded(asking.refusal)
            granted, asking.granted = asking.granted, None
            return granted
        finally:
            if asking in self._queue:
                self._queue.remove(asking)
                self._serve()
            if asking.granted is not None:  # cancelled between the grant and its arrival
                self.over(asking.granted.keys, ZERO, asking.granted.amount)

    def _serve(self, *, glance: bool = False) -> None:
        """Grant or refuse the requests that can be decided, in order."""
        while self._queue:
            asking = self._queue[0]
            with self._opened(self.keys(asking.purse.provider), glance) as accounts:
                left = min((account.left for account in accounts.values()), default=asking.whole)
                amount = asking.amount(left, self.need(asking.purse.kind))
                if amount <= max(left, ZERO):  # what is free needs no money, even if more than a budget is spent
                    if lacking := [key for key, account in accounts.items() if amount > max(account.free, ZERO)]:
                        if self.shared is not None:
                            self.shared.need(lacking, amount)
                        return
                    for account in accounts.values():
                        account.change(self._run_id, reserved=amount)
                    asking.granted = Held(amount, tuple(accounts))
                else:
                    key, account = min(accounts.items(), key=lambda entry: entry[1].left)
                    asking.refusal = refusal(key, account, amount)
                    self.refused_by = key if self.refused_by is None else self.refused_by
            self._queue.popleft()
            asking.answered.set()

    def recall(self, amount: Decimal, keys: tuple[str, ...]) -> Held:
        """Reserve again an amount that counts as spent because its actual cost is not known yet."""
        with self._opened(keys) as accounts:
            for account in accounts.values():
                account.change(self._run_id, spent=-amount, reserved=amount)
        return Held(amount, tuple(accounts))

    def over(self, keys: tuple[str, ...], cost: Decimal, freed: Decimal) -> None:
        """Record ``cost`` for a reservation under ``keys``, and release ``freed`` of it."""
        with self._opened(keys) as accounts:
            for key, account in accounts.items():
                account.change(self._run_id, spent=cost, reserved=-freed)
                if account.left < 0:
                    self.passed[key] = -account.left
        self._serve()

    @property
    def _run_id(self) -> str:
        return self.shared.run_id if self.shared else ""

    @contextlib.contextmanager
    def _opened(self, keys: tuple[str, ...], glance: bool = False) -> Iterator[dict[str, Account]]:
        """The accounts of budgets, by their keys."""
        own = {_OWN: self.own} if _OWN in keys else {}
        others = tuple(key for key in keys if key != _OWN)
        if self.shared is None or not others:
            yield own
            return
        with self.shared.open(others, glance=glance) as accounts:
            yield own | accounts


class Purse:
    """What one conversation has reserved in a budget, the worst case of the one request that is under way included.

    ``rest`` is the worst case of the turns after the next, set by the caller before each request. Conversations of one
    ``kind``, such as a model and a number of turns, need about the same. ``has_waited``: its last reservation had to.
    """

    def __init__(self, budget: Budget, provider: str, kind: Hashable) -> None:
        self.rest = ZERO
        self.begun = self.has_waited = False
        self.budget = budget
        self.provider = provider
        self.kind = kind
        self._spent = self._need = ZERO
        self._held: Held | None = None
        self._asked: Decimal | None = None  # the worst case of the request under way

    async def reserve(self, worst_case: Decimal | None) -> None:
        """Get the money for the next request from what is reserved already, or reserve it."""
        self._need, self.has_waited = max(self._need, self._spent + (worst_case or ZERO)), False
        if not self.is_enough(worst_case):
            self.release()  # never wait for money while holding some
            self._held = await self.budget.reserve(worst_case, self)
        self._asked = worst_case

    def is_enough(self, worst_case: Decimal | None) -> bool:
        """Whether what is reserved suffices for a request now: budgets may have been set since, or a month begun."""
        keys = self.budget.keys(self.provider)
        if self._held is None or worst_case is None:
            return self._held is None and not keys
        return self._held.amount >= worst_case and set(self._held.keys) == set(keys)

    def recall(self, worst_case: Decimal, sent_at: datetime) -> None:
        """Reserve again what a request of an earlier process, which is still in flight, counts as."""
        self._held = self.budget.recall(worst_case, self.budget.keys(self.provider, sent_at))
        self._asked = worst_case

    def settle(self, cost: Decimal | None) -> None:
        """Settle the request at its cost, the worst case if ``None`` (unknown); what the remaining turns may need stays
        reserved. Further calls have no effect.
        """
        asked, self._asked = self._asked, None
        if asked is None:
            return
        cost = asked if cost is None else cost
        self._spent += cost
        if self._held is not None and self.begun and not self.rest:  # its last turn; what has only one teaches nothing
            self.budget.learn(self.kind, self._need)
        self.begun = True
        if self._held is not None:
            held, kept = self._held, max(ZERO, min(self._held.amount - cost, self.rest))
            self._held = held._replace(amount=kept) if kept else None
            self.budget.over(held.keys, cost, held.amount - kept)

    def release(self) -> None:
        """Release what is reserved; a later turn would reserve anew."""
        held, self._held, self._asked = self._held, None, None
        if held is not None:
            self.budget.over(held.keys, ZERO, held.amount)


@dataclass(eq=False, slots=True)
class _Asking:
    """A request for money: ``worst_case`` is for the next turn, ``whole`` for the rest of the conversation too.

    The whole is reserved if it fits. Otherwise it is as much as other conversations of its ``kind`` needed, or before
    one of them is finished, all that is left. A conversation that has ``begun`` settles for its next turn.
    """

    worst_case: Decimal
    purse: Purse
    answered: anyio.Event = field(default_factory=anyio.Event)
    granted: Held | None = None
    refusal: str = ""

    @property
    def whole(self) -> Decimal:
        """The worst case of this and all later turns."""
        return self.worst_case + self.purse.rest

    def amount(self, left: Decimal, need: Decimal | None) -> Decimal:
        """The amount to reserve when ``left`` is left and others of its kind needed ``need``."""
        if self.whole <= left:
            return self.whole
        if self.purse.begun:
            return self.worst_case
        return max(self.worst_case, min(self.whole, left if need is None else need))


_OWN = ""

"""What runs may spend together: the shared budgets of the catalog, and what the journal says was spent under them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmkit.limiter import Account, Claims, Ledger, SharedMoney
from llmkit.records import SharedBudget
from llmkit.store import Store, totals


@dataclass(frozen=True, slots=True)
class Standing:
    """What was spent under a budget and what is set aside for requests under way, in US dollars."""

    budget: SharedBudget
    spent: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal:
        """What may still be spent."""
        return self.budget.amount - self.spent

    @property
    def is_alert(self) -> bool:
        """Whether so much is spent that somebody wants to know."""
        return self.spent > 0 and self.spent >= self.budget.alert_at * self.budget.amount


class Spending:
    """The shared budgets of one catalog. Rehearsals have accounts of their own, beside those of real runs."""

    def __init__(self, store: Store, directory: Path) -> None:
        """``directory`` holds the small files that processes share."""
        self._store = store
        self._ledgers = {
            simulated: Ledger(directory / f"budgets{'.simulated' if simulated else ''}", store.is_live)
            for simulated in (False, True)
        }

    def standings(self, budgets: Sequence[SharedBudget], *, simulated: bool) -> list[Standing]:
        """What is left of each budget, counted anew."""
        accounts, _ = self._count(budgets, simulated)
        return [Standing(each, accounts[each.key].spent, accounts[each.key].reserved) for each in budgets]

    def money(
        self,
        budgets: Sequence[SharedBudget],
        run_id: str,
        project: str | None,
        *,
        simulated: bool,
        on_alert: Callable[[str], object],
        claims: Claims | None,
    ) -> SharedMoney:
        """What a run that begins shares with others, those on other machines by ``claims``; it must be marked as this
        process's already.
        """
        prefix = "simulated " if simulated else ""
        money = SharedMoney(self._ledgers[simulated], run_id, project, on_alert, claims=claims, prefix=prefix)
        self._take_over(money, budgets, simulated, begins=True)
        return money

    def follow(
        self, money: SharedMoney, budgets: Sequence[SharedBudget], *, simulated: bool, anew: bool = False
    ) -> None:
        """Take over budgets that were set while a run goes on; ``anew``: and what colleagues elsewhere have spent."""
        if anew or tuple(budgets) != tuple(money.budgets):
            self._take_over(money, budgets, simulated)

    def _take_over(
        self, money: SharedMoney, budgets: Sequence[SharedBudget], simulated: bool, *, begins: bool = False
    ) -> None:
        counted_at = time.monotonic()
        known, counted = self._count(budgets, simulated, money.run_id, begins=begins)
        money.budgets, money.known, money.counted, money.counted_at = budgets, known, counted, counted_at

    def _count(
        self, budgets: Sequence[SharedBudget], simulated: bool, run_id: str | None = None, *, begins: bool = False
    ) -> tuple[dict[str, Account], dict[str, dict[str, Decimal]]]:
        """The accounts, and what each run has spent by the journal, both by the keys of their budgets."""
        if not budgets:
            return {}, {}
        ledger = self._ledgers[simulated]
        ended = ledger.ended([run_id] if run_id and begins else [])
        rows = self._store.read(lambda c: totals.committed(c, simulated=simulated))
        counted = {budget.key: _by_run(rows, budget) for budget in budgets}
        return ledger.refresh(budgets, lambda budget: counted[budget.key], ended, run_id), counted


def _by_run(rows: Iterable[Mapping[str, Any]], budget: SharedBudget) -> dict[str, Decimal]:
    """What each run has spent under a budget."""
    spent: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if budget.covers(row["provider"], row["project"], row["month"]):
            spent[row["run_id"]] += row["amount"]
    return spent

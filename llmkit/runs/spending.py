"""Shared budgets: those of the catalog, and what runs have spent under them according to the journal."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from llmkit.limiter import Account, Ledger, Portions, SharedMoney
from llmkit.records import SharedBudget
from llmkit.store import Store, totals


class Standing(NamedTuple):
    """A shared budget, and what is spent and reserved under it."""

    budget: SharedBudget
    account: Account


class Spending:
    """The shared budgets of one catalog. Rehearsals and real runs have separate accounts."""

    def __init__(self, store: Store, directory: Path) -> None:
        """``directory`` holds the small files that processes share."""
        self._store = store
        self._ledgers = {
            simulated: Ledger(directory / f"budgets{'.simulated' if simulated else ''}", store.is_live)
            for simulated in (False, True)
        }

    def standings(self, budgets: Sequence[SharedBudget], *, simulated: bool) -> list[Standing]:
        """The standing of each budget, recounted."""
        accounts, _ = self._count(budgets, simulated)
        return [Standing(each, accounts[each.key]) for each in budgets]

    def money(
        self,
        budgets: Sequence[SharedBudget],
        run_id: str,
        project: str | None,
        *,
        simulated: bool,
        on_alert: Callable[[str], object],
        portions: Portions | None,
    ) -> SharedMoney:
        """The money that a starting run shares with others, with those on other machines through ``portions``. The run
        must already be claimed by this process.
        """
        prefix = "simulated " if simulated else ""
        money = SharedMoney(self._ledgers[simulated], run_id, project, on_alert, portions=portions, prefix=prefix)
        self._take_over(money, budgets, simulated, begins=True)
        return money

    def follow(
        self, money: SharedMoney, budgets: Sequence[SharedBudget], *, simulated: bool, anew: bool = False
    ) -> None:
        """Apply budgets that were set during a run; ``anew`` recounts what colleagues elsewhere have spent, too."""
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
        """The accounts, and what each run has spent according to the journal, both by budget key."""
        if not budgets:
            return {}, {}
        ledger = self._ledgers[simulated]
        ended = ledger.ended([run_id] if run_id and begins else [])
        rows = self._store.read(lambda c: totals.committed(c, simulated=simulated))
        counted = {budget.key: _by_run(rows, budget) for budget in budgets}
        return ledger.refresh(budgets, counted, ended, run_id), counted


def _by_run(rows: Iterable[Mapping[str, Any]], budget: SharedBudget) -> dict[str, Decimal]:
    """What each run has spent under a budget."""
    spent: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if budget.covers(row["provider"], row["project"], row["month"]):
            spent[row["run_id"]] += row["amount"]
    return spent

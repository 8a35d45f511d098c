"""Budgets shared by runs, stored as a setting of the catalog."""

from __future__ import annotations

from typing import Any

from llmkit.catalog import rules
from llmkit.records import BUDGETS, SharedBudget, is_month
from llmkit.records.checks.shared_budgets import shared_budget
from llmkit.records.user_warnings import warn
from llmkit.store import CatalogState, Edit


def budgets_of(state: CatalogState) -> tuple[SharedBudget, ...]:
    """All shared budgets, in the order in which they were set."""
    return SharedBudget.all_of(state.settings.get(BUDGETS))


def set_budget(edit: Edit, scope: Any, amount: Any, provider: Any, alert_at: Any, month: str) -> None:
    """Set a budget, replacing the one with the same scope and provider; ``amount=None`` removes it. A warning says when
    it is of a month before this one.
    """
    name = None if provider is None else rules.find_provider(edit.state, provider).name
    budget = shared_budget(scope, 0 if amount is None else amount, alert_at, name)
    now = budgets_of(edit.state)
    others = [each for each in now if each.key != budget.key]
    chosen = others if amount is None else [*others, budget]
    if set(chosen) != set(now):  # undo would find nothing to revert
        edit.put_setting(BUDGETS, [each.to_row() for each in chosen], "set_budget")
    if amount is not None and is_month(budget.scope) and budget.scope < month:
        warn(f"The budget of {budget.scope} limits nothing: that month is over. This one is {month!r} (UTC).")

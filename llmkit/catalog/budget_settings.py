"""Budgets shared by runs, stored as a setting of the catalog."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from llmkit.catalog import rules
from llmkit.errors import ValidationError
from llmkit.records import BUDGETS, SharedBudget, is_month
from llmkit.records.checks import numbers, texts
from llmkit.store import CatalogState, Edit

_ALMOST_A_MONTH = re.compile(r"\d{4}[-/.]?\d{1,2}")


def budgets_of(state: CatalogState) -> tuple[SharedBudget, ...]:
    """All shared budgets, in the order in which they were set."""
    return SharedBudget.all_of(state.settings.get(BUDGETS))


def set_budget(edit: Edit, scope: Any, amount: Any, provider: Any, alert_at: Any) -> None:
    """Set a budget, replacing the one with the same scope and provider; ``amount=None`` removes it."""
    budget = SharedBudget(
        scope=_scope(scope),
        amount=Decimal(0) if amount is None else numbers.amount(amount, "amount", rounded_down=True),
        provider=None if provider is None else rules.find_provider(edit.state, provider).name,
        alert_at=Decimal(1) if (share := numbers.share(alert_at, "alert_at")) is None else share,
    )
    if budget.amount < 0:
        raise ValidationError("amount cannot be negative; None removes the budget.", field="amount")
    others = [each for each in budgets_of(edit.state) if each.key != budget.key]
    chosen = others if amount is None else [*others, budget]
    edit.put_setting(BUDGETS, [each.to_row() for each in chosen], "set_budget")


def check_project(value: Any) -> None:
    """Check the project of a run."""
    if value is not None and _ALMOST_A_MONTH.fullmatch(texts.text(value, "project")):
        raise ValidationError(f"project={value!r} looks like a month: give the project another name.", field="project")


def _scope(value: Any) -> str:
    scope = texts.text(value, "scope")
    if _ALMOST_A_MONTH.fullmatch(scope) and not is_month(scope):
        raise ValidationError(f"{scope!r} is not a month: write it as '2026-12'.", field="scope")
    return scope

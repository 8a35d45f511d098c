"""Sentences about budgets in a form: the run's own, and those shared with other runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from llmkit.money.amounts import dollars
from llmkit.money.estimate_table import Estimate
from llmkit.records import columns, is_month, month_of


def projects(shared: pd.DataFrame) -> list[str]:
    """The projects with a budget in the table of ``kit.budgets()``."""
    return [scope for scope in dict.fromkeys(shared["scope"]) if not is_month(scope)]


def project_words(project: str | None, shared: pd.DataFrame) -> str:
    """What is left of the budgets of a project."""
    own = columns.rows(shared[shared["scope"] == project])
    return " ".join(
        f"{dollars(row['left'])} of {dollars(row['amount'], exact=True)} are left{_where(row)}." for row in own
    )


def budget_words(estimate: Estimate | None, budget: Decimal | None, shared: pd.DataFrame) -> str:
    """Warnings, or an empty text; ``shared`` is the table of ``kit.budgets()``."""
    words = []
    expected = None if estimate is None else estimate.total
    if budget is not None and expected is not None and expected > budget:
        words.append(f"The estimate is {dollars(expected)}: the run will stop at {dollars(budget, exact=True)}.")
    now = shared[shared["is_alert"] & (shared["scope"] == month_of(datetime.now(UTC)))]
    for row in columns.rows(now):
        spent, amount = dollars(row["spent"]), dollars(row["amount"])
        words.append(f"Of the budget {row['scope']}{_where(row)}, {spent} of {amount} is spent.")
    return " ".join(words)


def _where(row: Mapping[Any, Any]) -> str:
    return f" at {row['provider']}" if row["provider"] else ""

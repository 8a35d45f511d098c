"""Shared budgets as a table."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from llmkit.runs import Standing

_MONEY = ("amount", "spent", "reserved", "left", "share", "alert_at")
_COLUMNS = {"scope": "str", "provider": "str", **dict.fromkeys(_MONEY, "float64"), "is_alert": "bool"}


def budget_table(standings: Iterable[Standing]) -> pd.DataFrame:
    """One row per budget, in US dollars; see :meth:`llmkit.Kit.budgets`."""
    return pd.DataFrame(map(_row, standings), columns=list(_COLUMNS)).astype(_COLUMNS)


def _row(now: Standing) -> dict[str, object]:
    budget, account = now
    return {
        "scope": budget.scope,
        "provider": budget.provider,
        "amount": float(budget.amount),
        "spent": float(account.spent),
        "reserved": float(account.reserved),
        "left": float(account.left),
        "share": float(account.spent / budget.amount) if budget.amount else None,
        "alert_at": float(budget.alert_at),
        "is_alert": account.has_reached(budget.alert_at),
    }

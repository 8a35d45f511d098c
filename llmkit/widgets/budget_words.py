"""What a form says about budgets: the run's own, and those that it shares with other runs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd

from llmkit.money.estimate_table import Estimate
from llmkit.money.pricing import dollars
from llmkit.records import month_of


def budget_words(estimate: Estimate | None, budget: Decimal | None, shared: pd.DataFrame) -> str:
    """Sentences, or nothing where there is no need; ``shared`` is the table of ``kit.budgets()``."""
    words = []
    expected = None if estimate is None else estimate.total
    if budget is not None and expected is not None and expected > budget:
        words.append(f"The estimate is {dollars(expected)}: the run will stop at {dollars(budget, exact=True)}.")
    now = shared[shared["is_alert"] & (shared["scope"] == month_of(datetime.now(UTC)))]
    for row in now.to_dict("records"):
        where = "" if pd.isna(row["provider"]) else f" at {row['provider']}"
        spent, amount = dollars(row["spent"]), dollars(row["amount"])
        words.append(f"Of the budget {row['scope']}{where}, {spent} of {amount} is spent.")
    return " ".join(words)

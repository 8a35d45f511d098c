"""What a budget shared by runs may be, whether it was set with a call, a form or SQL."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records import SharedBudget, is_month
from llmkit.records.checks import numbers, texts

_ALMOST_A_MONTH = re.compile(r"\d{4}[-/.]?\d{1,2}")


def shared_budget(scope: Any, amount: Any, alert_at: Any, provider: str | None) -> SharedBudget:
    """A budget from what somebody wrote; ``alert_at=None`` is all of it."""
    scope, share = texts.text(scope, "scope"), numbers.share(alert_at, "alert_at")
    if _ALMOST_A_MONTH.fullmatch(scope) and not is_month(scope):
        raise ValidationError(f"{scope!r} is not a month: write it as '2026-12'.", field="scope")
    dollars = numbers.amount(amount, "amount")
    if dollars < 0:
        raise ValidationError("amount cannot be negative; None removes the budget.", field="amount")
    return SharedBudget(scope=scope, amount=dollars, provider=provider, alert_at=Decimal(1) if share is None else share)


def check_project(value: Any) -> None:
    """Check the project of a run."""
    if value is not None and _ALMOST_A_MONTH.fullmatch(texts.text(value, "project")):
        raise ValidationError(f"project={value!r} looks like a month: give the project another name.", field="project")

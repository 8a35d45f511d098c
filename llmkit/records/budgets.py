"""Budgets across runs: what all runs together may spend in a month or on a project."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from llmkit.records.rows import Row

BUDGETS = "budgets"
"""The setting of the catalog that holds all shared budgets."""
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


def is_month(scope: str) -> bool:
    """Whether a scope is a month such as ``2026-12``; any other scope is the name of a project."""
    return _MONTH.fullmatch(scope) is not None


def month_of(at: datetime) -> str:
    """The month that a request made at ``at`` counts for, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBudget(Row):
    """US dollars that may be spent in a month or on a project (``scope``), at one provider or (``None``) at any.

    ``alert_at`` is the share of the amount at which a warning is given.
    """

    scope: str
    amount: Decimal
    provider: str | None = None
    alert_at: Decimal = Decimal("0.8")

    @property
    def key(self) -> str:
        """A unique, readable name: ``2026-12 at openai``."""
        return self.scope if self.provider is None else f"{self.scope} at {self.provider}"

    @classmethod
    def all_of(cls, setting: Any) -> tuple[SharedBudget, ...]:
        """The budgets in the setting :data:`BUDGETS`, in the order in which they were set."""
        return tuple(map(cls.from_row, setting or ()))

    def covers(self, provider: str, project: str | None, month: str) -> bool:
        """Whether a request counts against it."""
        return self.scope in (project, month) and self.provider in (None, provider)

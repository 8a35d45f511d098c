"""The fields of the run form, the functions that read their values, and the sentences beside its budgets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.errors import Code, ValidationError
from llmkit.money.amounts import dollars
from llmkit.money.estimate_table import Estimate
from llmkit.records import columns, is_month, month_of
from llmkit.widgets.form import Field, choice_field, text_field, tick_field, whole_field
from llmkit.widgets.typed_values import read_number, read_whole

MOST_SAMPLES = 10_000


def prompts() -> Field:
    """The field for prompts."""
    control = ipw.Textarea(
        description="Prompts",
        placeholder="What should the models be asked? An empty line separates prompts.",
        rows=5,
        style={"description_width": "auto"},
        layout=ipw.Layout(width="auto", min_width="0"),
    )
    return Field("prompts", control, read=lambda typed, _: read_prompts(typed))


def settings(shared: pd.DataFrame) -> list[Field]:
    """The fields for settings, named like the arguments of ``kit.run``; ``project`` only if one has a budget.
    ``shared`` is the table of ``kit.budgets()``, here and below.
    """
    projects = [scope for scope in dict.fromkeys(shared["scope"]) if not is_month(scope)]
    project = [choice_field("project", "Project", [("none", None), *zip(projects, projects, strict=True)])]
    return [
        text_field("system", "System prompt", hint="none"),
        text_field("samples", "Samples per prompt", hint="1", read=read_samples, needed=True),
        text_field("temperature", "Temperature", hint="the model's default", read=read_temperature),
        whole_field("max_tokens", "Max tokens", hint="the model's default"),
        text_field("budget", "Budget (US $)", hint="none", read=read_dollars, also=(Code.BUDGET_EXCEEDED,)),
        *(project if projects else ()),
        text_field("name", "Name", hint="a label for the run"),
        text_field("service_tier", "Service tier", hint="standard; flex, priority"),
        choice_field("mode", "Ask", [("at once", "live"), ("in batches, where supported", "batch-or-live")]),
        tick_field("reuse", "Reuse earlier answers"),
    ]


def read_prompts(typed: str) -> list[str]:
    """Split prompts at empty lines; a prompt may have several lines."""
    return [prompt for each in re.split(r"\n\s*\n", typed) if (prompt := each.strip())]


def read_samples(typed: str, label: str) -> int | None:
    """How often each model answers each prompt."""
    count = read_whole(typed, label)
    if count is not None and count > MOST_SAMPLES:
        raise ValidationError(f"{label} can be at most {MOST_SAMPLES:,}.")
    return count


def read_temperature(typed: str, label: str) -> float | None:
    """A number from 0 to 2; empty is the model's default."""
    words = f"{label}: type a number from 0 to 2, such as 0.7; leave it empty for the model's default."
    number = read_number(typed, words, lambda number: 0 <= number <= 2)
    return None if number is None else float(number)


def read_dollars(typed: str, label: str) -> Decimal | None:
    """A positive amount as people type it: ``2``, ``$1.50``; empty is none."""
    words = f"{label}: type an amount of US dollars above 0, without commas, such as 2000; leave it empty for none."
    return read_number(typed, words, lambda number: number > 0)


# --- budgets ---------------------------------------------------------------------------------------------------------


def project_words(project: str | None, shared: pd.DataFrame) -> str:
    """What is left of the budgets of a project."""
    own = columns.rows(shared[shared["scope"] == project])
    return " ".join(
        f"{dollars(row['left'])} of {dollars(row['amount'], exact=True)} are left{_where(row)}." for row in own
    )


def budget_words(estimate: Estimate | None, budget: Decimal | None, shared: pd.DataFrame) -> str:
    """Warnings, or an empty text."""
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

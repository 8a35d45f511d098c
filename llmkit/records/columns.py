"""The columns of a run's DataFrames. Columns for dimensions and answer fields follow them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from llmkit.records.completions import TOKEN_COLUMNS
from llmkit.records.prices import RATE_COLUMNS

_PROBES: Mapping[str, str | None] = {
    **dict.fromkeys((
        "run_id", "probe_id", "scenario_id", "prompt", "system", "followups", "provider", "model", "config", "sample",
    )),
    "status": "VARCHAR", "error_code": "VARCHAR", "error_message": "VARCHAR", "retryable": "BOOLEAN", "response": None,
    "finish_reason": "VARCHAR", "model_version": "VARCHAR", "service_tier": "VARCHAR",
    **dict.fromkeys(TOKEN_COLUMNS, "BIGINT"),
    "cost_input_per_million": "DECIMAL(18, 8)", "cost_output_per_million": "DECIMAL(18, 8)",
    "estimated_cost": "DECIMAL(18, 10)", "wasted_cost": "DECIMAL(18, 10)", "cost_source": "VARCHAR",
    "turns": "INTEGER", "attempts": "INTEGER", "maybe_billed": "INTEGER", "left_out": "JSON", "latency_s": "DOUBLE",
    "queued_s": "DOUBLE", "started_at": "TIMESTAMP", "completed_at": "TIMESTAMP", "simulated": None,
    "reused_from": "VARCHAR", "original_cost": "DECIMAL(18, 10)",
}  # fmt: skip
"""The columns, with an SQL type for those that a probe's final journal line has under the same name
(``Conversation.row`` writes it). Databases without such a column get it when they are next opened.
"""

RESULT: Mapping[str, str] = {name: kind for name, kind in _PROBES.items() if kind} | {"answer": "JSON"}
"""The contents of the final line; each field of a structured ``answer`` gets its own column."""


def answer_column(name: str) -> str:
    """The column for a field of a structured answer; the empty name stands for the answer to a question itself."""
    return f"answer.{name}" if name else "answer"


def note_column(name: str, taken: Collection[str]) -> str:
    """The column for notes under a name; it gets a prefix if one of the researcher's own columns has that name."""
    return f"note.{name}" if name in taken else name


def column(values: Sequence[Any], index: pd.Index[Any] | None = None) -> pd.Series[Any]:
    """Values of any kind as a column, with a common type if they have one that keeps them: integers beside a missing
    value become floats unless they are too long for that, as the ids of posts and people often are."""
    objects = pd.Series(values, index=index, dtype=object)
    common = objects.infer_objects()
    is_kept = common.dtype != "float64" or all(not isinstance(value, int) or value == float(value) for value in values)
    return common if is_kept else objects


def rows(table: pd.DataFrame) -> Sequence[dict[str, Any]]:
    """The rows of a table, with ``None`` for missing values."""
    names = [str(name) for name in table]
    whole = table.astype(object).where(table.notna(), None)
    return [dict(zip(names, row, strict=True)) for row in whole.itertuples(index=False, name=None)]


PROBES = tuple(_PROBES)
"""One row for each scenario × model × sample. Costs in US dollars, prices per million tokens, times in UTC.

``estimated_cost`` is everything known to have been billed for the probe, including failed attempts (their share is
``wasted_cost``); ``maybe_billed`` counts attempts that may have been billed at an unknown cost, those in flight when
the run's process died included; ``left_out`` names parameters that the model does not accept; ``service_tier`` lists
the tiers that served the answers, separated by commas. ``latency_s`` is the time on the wire of the answered turns,
``queued_s`` the time at the gate. ``reused_from`` is the probe whose answers were reused, ``original_cost`` their cost
when they were bought.
"""

TURNS = (
    "run_id", "probe_id", "turn", "prompt", "response", "finish_reason", "model_version", "service_tier", "request_id",
    *TOKEN_COLUMNS, *RATE_COLUMNS, "cost", "cost_source", "latency_s", "answered_at",
)  # fmt: skip
"""One row for each answered prompt, with the rates at which it was billed."""

ATTEMPTS = (
    "run_id", "probe_id", "turn", "attempt", "provider", "model", "started_at", "ended_at", "status_code",
    "error_code", "error_message", "latency_s", "waited_s", "wait_reason", "request_id", "maybe_billed",
    "service_tier", "cost", "cost_source", "request", "reply",
)  # fmt: skip
"""One row for each HTTP request. ``request`` and ``reply`` are the bodies as text; neither contains a key. ``waited_s``
is the time at the gate, where ``wait_reason`` held it, without the backoff that came before.
"""

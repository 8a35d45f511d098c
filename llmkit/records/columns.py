"""The columns of a run's DataFrames, declared as lists. Dimensions and answer fields follow them."""

from collections.abc import Collection, Mapping

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
"""A row for each column, with the SQL type of those that a probe's final line in the journal has under that name
(``Conversation.row`` writes it). Databases that lack one get it when they are next opened.
"""

RESULT: Mapping[str, str] = {name: kind for name, kind in _PROBES.items() if kind} | {"answer": "JSON"}
"""What the final line holds; the fields of a structured ``answer`` become columns of their own."""


def answer_column(name: str) -> str:
    """The column of a field of a structured answer; the empty name is the answer to a question itself."""
    return f"answer.{name}" if name else "answer"


def note_column(name: str, taken: Collection[str]) -> str:
    """The column of what people noted under a name; a column of the researcher's own keeps its name."""
    return f"note.{name}" if name in taken else name


PROBES = tuple(_PROBES)
"""One row for each scenario × model × sample. Costs in US dollars, prices per million tokens, times in UTC.

``estimated_cost`` is all that is known to have been billed for the probe, failed attempts included (``wasted_cost`` is
their part); ``maybe_billed`` counts attempts whose answer never came; ``left_out`` names parameters that the model
does not take; ``service_tier`` is what the answers were served at, several joined by commas. ``latency_s`` is the time
on the wire of the answered turns, ``queued_s`` the time at the gate. ``reused_from`` is the probe whose answers were
reused, ``original_cost`` what they cost when they were bought.
"""

TURNS = (
    "run_id", "probe_id", "turn", "prompt", "response", "finish_reason", "model_version", "service_tier", "request_id",
    *TOKEN_COLUMNS, *RATE_COLUMNS, "cost", "cost_source", "latency_s", "answered_at",
)  # fmt: skip
"""One row for each answered prompt, at the rates that it was billed at."""

ATTEMPTS = (
    "run_id", "probe_id", "turn", "attempt", "provider", "model", "started_at", "ended_at", "status_code",
    "error_code", "error_message", "latency_s", "waited_s", "wait_reason", "request_id", "maybe_billed",
    "service_tier", "cost", "cost_source", "request", "reply",
)  # fmt: skip
"""One row for each HTTP request. ``request`` and ``reply`` are the bodies as text; neither holds a key."""

"""The columns of a run's DataFrames, declared as lists. Dimensions and answer fields follow them."""

from llmkit.records.prices import RATE_COLUMNS

TOKEN_COLUMNS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
"""The counts of a ``Usage`` that tables have a column for."""

PROBES = (
    "run_id", "probe_id", "scenario_id", "prompt", "system", "followups", "provider", "model", "sample", "status",
    "error_code", "error_message", "retryable", "response", "finish_reason", "model_version", *TOKEN_COLUMNS,
    "cost_input_per_million", "cost_output_per_million", "estimated_cost", "wasted_cost", "cost_source", "turns",
    "attempts", "maybe_billed", "left_out", "latency_s", "queued_s", "started_at", "completed_at", "simulated",
)  # fmt: skip
"""One row for each scenario × model × sample. Costs in US dollars, prices per million tokens, times in UTC.

``estimated_cost`` is all that is known to have been billed for the probe, failed attempts included (``wasted_cost`` is
their part); ``maybe_billed`` counts attempts whose answer never came; ``left_out`` names parameters that the model
does not take. ``latency_s`` is the time on the wire of the answered turns, ``queued_s`` the time at the gate.
"""

TURNS = (
    "run_id", "probe_id", "turn", "prompt", "response", "finish_reason", "model_version", "request_id",
    *TOKEN_COLUMNS, *RATE_COLUMNS, "cost", "cost_source", "latency_s", "answered_at",
)  # fmt: skip
"""One row for each answered prompt, at the rates that it was billed at."""

ATTEMPTS = (
    "run_id", "probe_id", "turn", "attempt", "provider", "model", "started_at", "ended_at", "status_code",
    "error_code", "error_message", "latency_s", "waited_s", "wait_reason", "request_id", "maybe_billed", "cost",
    "cost_source", "request", "reply",
)  # fmt: skip
"""One row for each HTTP request. ``request`` and ``reply`` are the bodies as text; neither holds a key."""

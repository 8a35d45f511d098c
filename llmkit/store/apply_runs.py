"""Events of runs into rows: what was asked, answered, billed, and how it ended."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence

import duckdb

from llmkit.records import RATE_COLUMNS
from llmkit.store.events import probe_id
from llmkit.store.journal import Event
from llmkit.store.tables import Row, cast, column_types, incoming, upsert

_TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_PROBE_STATE = (
    "status", "error_code", "error_message", "retryable", "answer", "finish_reason", "model_version", *_TOKENS,
    "cost_input_per_million", "cost_output_per_million", "estimated_cost", "wasted_cost", "cost_source", "turns",
    "attempts", "maybe_billed", "left_out", "latency_s", "queued_s", "started_at", "completed_at",
)  # fmt: skip
_INTENT = (
    "attempt_id", "run_id", "probe_id", "turn", "attempt", "provider", "model", "started_at", "waited_s",
    "wait_reason", "request", "worst_case",
)  # fmt: skip
_OUTCOME = (
    "ended_at", "status_code", "error_code", "error_message", "latency_s", "request_id", "maybe_billed", "reply",
    "usage", "cost", "cost_source",
)  # fmt: skip
_TURN = (
    "probe_id", "turn", "run_id", "attempt_id", "prompt", "response", "finish_reason", "model_version", "request_id",
    *_TOKENS, *RATE_COLUMNS, "usage", "cost", "cost_source", "latency_s", "answered_at",
)  # fmt: skip


def apply_runs(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """A run, and a row for each of its probes, before any was asked."""
    columns = ("id", "name", "kind", "status", "simulated", "n_probes", "settings", "scenarios", "models", "estimate",
               "started_at")  # fmt: skip
    for event in events:
        n_probes = len(event["scenarios"]) * len(event["models"]) * event["samples"]
        row = {**event, "id": event["run_id"], "status": "running", "n_probes": n_probes, "started_at": event["at"]}
        upsert(connection, "runs", columns, [row], key=("id",), update=())
        upsert(connection, "probes", _PENDING, list(_pending(event)), key=("probe_id",), update=())


_PENDING = (
    "probe_id", "run_id", "position", "scenario_id", "prompt", "system", "followups", "dimensions", "provider", "model",
    "sample", "status", "cost_input_per_million", "cost_output_per_million", "price_snapshot", "simulated", "template",
)  # fmt: skip

_SNAPSHOT = (*RATE_COLUMNS, "price_tiers", "price_windows", "default_costs")


def _pending(event: Event) -> Iterable[Row]:
    """A row for every probe of a run, before any was asked."""
    shared = [
        {
            "provider": model["provider"],
            "model": f"{model['provider']}:{model['model_id']}",
            "price_snapshot": json.dumps({n: model.get(n) for n in _SNAPSHOT}),
            **{name: model[name] for name in ("cost_input_per_million", "cost_output_per_million")},
        }
        for model in event["models"]
    ]
    product = itertools.product(event["scenarios"], shared, range(1, event["samples"] + 1))
    for position, (scenario, model, sample) in enumerate(product):
        yield {
            **scenario,
            **model,
            "probe_id": probe_id(event["run_id"], position),
            "run_id": event["run_id"],
            "position": position,
            "sample": sample,
            "status": "pending",
            "simulated": event["simulated"],
        }


def apply_intents(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """Attempts about to be sent."""
    upsert(connection, "attempts", _INTENT, events, key=("attempt_id",), update=())


def apply_outcomes(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """Attempts as they ended, and the turns that were answered."""
    columns = ("attempt_id", "run_id", "probe_id", "turn", "attempt", "provider", "model", *_OUTCOME)
    upsert(connection, "attempts", columns, events, key=("attempt_id",), update=_OUTCOME)
    turns = [{**event, **event["answer"], "answered_at": event["ended_at"]} for event in events if event["answer"]]
    # a turn is answered twice only when its first answer was not as asked: the later one counts
    latest = {(turn["probe_id"], turn["turn"]): turn for turn in turns}
    upsert(connection, "turns", _TURN, list(latest.values()), key=("probe_id", "turn"))
    _count_so_far(connection, events)


def _count_so_far(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """What probes in progress have cost: a run that is interrupted has spent it, though they never end."""
    touched = [{"probe_id": probe_id} for probe_id in dict.fromkeys(event["probe_id"] for event in events)]
    with incoming(connection, ("probe_id",), touched) as name:
        connection.execute(f"""
            UPDATE probes SET estimated_cost = s.cost, turns = s.turns, attempts = s.attempts, started_at = s.started_at
            FROM (
                SELECT a.probe_id, {cast("sum(a.cost)", "DECIMAL(18, 10)")} AS cost, count(*) AS attempts,
                    count(*) FILTER (a.error_code IS NULL) AS turns, min(a.started_at) AS started_at
                FROM attempts a SEMI JOIN {name} n ON n.probe_id = a.probe_id
                WHERE a.ended_at IS NOT NULL GROUP BY a.probe_id
            ) s
            WHERE probes.probe_id = s.probe_id AND probes.status = 'pending'
        """)


def apply_probes(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """Probes as they ended; the response is the last turn's."""
    latest = list({event["probe_id"]: event for event in events}.values())
    with incoming(connection, ("probe_id", *_PROBE_STATE), latest) as name:
        types = column_types(connection, "probes")
        assignments = ", ".join(f"{column} = {cast(f'b.{column}', types[column])}" for column in _PROBE_STATE)
        connection.execute(f"UPDATE probes SET {assignments} FROM {name} b WHERE probes.probe_id = b.probe_id")
        connection.execute(f"""
            UPDATE probes SET response = t.response
            FROM turns t JOIN {name} b ON t.probe_id = b.probe_id AND t.turn = b.turns::INTEGER
            WHERE probes.probe_id = t.probe_id
        """)


def apply_skips(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """What is left for a provider or a model is not asked."""
    for event in events:
        column = "provider" if event["scope"] == "provider" else "model"
        connection.execute(
            "UPDATE probes SET status = 'skipped', error_code = ?, error_message = ?, retryable = false "
            f"WHERE run_id = ? AND status = 'pending' AND {column} = ?",
            [event["error_code"], event["error_message"], event["run_id"], event["reference"]],
        )


def apply_run_states(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """How runs ended or were taken up again, and what that did to the balances."""
    for event in events:
        run_id, status = event["run_id"], event["status"]
        ended = None if status == "running" else event["at"]
        connection.execute(
            "UPDATE runs SET status = ?, message = ?, ended_at = ?::TIMESTAMP WHERE id = ?",
            [status, event["message"], ended, run_id],
        )
        if status == "cancelled":
            connection.execute(
                "UPDATE probes SET status = 'cancelled', error_code = 'CANCELLED', retryable = true, "
                "error_message = 'The run was cancelled before this was asked.' "
                "WHERE run_id = ? AND status = 'pending'",
                [run_id],
            )
        if status == "running":  # taken up again: what has no answer waits once more
            connection.execute(
                "UPDATE probes SET status = 'pending', error_code = NULL, error_message = NULL, retryable = NULL "
                "WHERE run_id = ? AND (status IN ('cancelled', 'skipped') OR (status = 'failed' AND "
                "error_code IN (SELECT unnest(?))))",
                [run_id, event["again"]],
            )
        columns = ("event_id", "provider", "run_id", "amount", "at")
        rows = [
            {"event_id": event["id"], "provider": provider, "run_id": run_id, "amount": amount, "at": event["at"]}
            for provider, amount in event["spent"].items()
        ]
        upsert(connection, "provider_balance_deductions", columns, rows, key=("event_id", "provider"), update=())
        for row in rows:
            connection.execute(
                f"UPDATE llm_providers SET balance = {cast('balance - ?::DECIMAL(38, 10)', 'DECIMAL(18, 10)')} "
                "WHERE name = ?",
                [row["amount"], row["provider"]],
            )

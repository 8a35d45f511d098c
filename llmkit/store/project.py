"""The projection: journal events become rows, idempotently.

How far each segment was applied stands in the database itself and is moved in the same transaction as the rows, so that
a crash at any moment leaves either both or neither. A database is rebuilt by applying everything to an empty one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from llmkit.store.events import probe_id
from llmkit.store.journal import Entry, Event, Journal

BATCH = 2_000

_RATES = (
    "cost_input_per_million",
    "cost_output_per_million",
    "cost_cached_input_per_million",
    "cost_cache_write_per_million",
    "cost_cache_write_1h_per_million",
)
_TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_PROBE_STATE = (
    "status", "error_code", "error_message", "retryable", "answer", "finish_reason", "model_version", *_TOKENS,
    "cost_input_per_million", "cost_output_per_million", "estimated_cost", "wasted_cost", "cost_source", "turns",
    "attempts", "maybe_billed", "left_out", "latency_s", "queued_s", "started_at", "completed_at",
)  # fmt: skip
_PROVIDER = (
    "id", "name", "display_name", "wire", "base_url", "api_key_env", "max_parallel_requests", "requests_per_minute",
    "tokens_per_minute", "is_enabled", "default_cost_input_per_million", "default_cost_output_per_million",
    "created_at", "updated_at",
)  # fmt: skip
_MODEL = (
    "id", "provider_id", "model_id", "display_name", *_RATES, "price_tiers", "price_windows", "batch_discount",
    "status", "is_default", "context_window", "max_output_tokens", "retires_on", "api_config", "created_at",
    "updated_at",
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
    *_TOKENS, *_RATES, "usage", "cost", "cost_source", "latency_s", "answered_at",
)  # fmt: skip

Row = Mapping[str, Any]


def behind(connection: duckdb.DuckDBPyConnection, journal: Journal) -> bool:
    """Whether the journal holds bytes that this database has not seen (a torn last line counts: it may be whole)."""
    applied = offsets(connection)
    return any(size > applied.get(name, 0) for name, size in journal.sizes().items())


def offsets(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many bytes of each segment have been applied."""
    return dict(connection.execute("SELECT segment, applied_bytes FROM journal_segments").fetchall())


def last_event_id(connection: duckdb.DuckDBPyConnection) -> str:
    """The latest event applied; empty when there is none."""
    row = connection.execute("SELECT coalesce(max(last_event_id), '') FROM journal_segments").fetchone()
    return str(row[0]) if row else ""


def project(connection: duckdb.DuckDBPyConnection, journal: Journal) -> int:
    """Apply what is missing, in batches of one transaction each; returns the number of events."""
    applied, count = offsets(connection), 0
    entries = journal.read(applied)
    while batch := list(itertools.islice(entries, BATCH)):
        connection.begin()
        try:
            _apply(connection, [entry.event for entry in batch])
            _move_offsets(connection, batch)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        count += len(batch)
    return count


def _move_offsets(connection: duckdb.DuckDBPyConnection, batch: Sequence[Entry]) -> None:
    last = {entry.segment: entry for entry in batch}
    rows = [
        {"segment": name, "applied_bytes": entry.end, "last_event_id": entry.event["id"]}
        for name, entry in last.items()
    ]
    _upsert(connection, "journal_segments", ("segment", "applied_bytes", "last_event_id"), rows, key=("segment",))


def _apply(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """Apply a batch: stretches of one kind in order; within a stretch of what was asked and answered, types in the
    order in which they depend on each other.
    """
    for _, stretch in itertools.groupby(events, key=_kind):
        by_type: dict[str, list[Event]] = {}
        for event in stretch:
            by_type.setdefault(event["type"], []).append(event)
        for kind, apply in _APPLY.items():
            if found := by_type.get(kind):
                apply(connection, found)


def _kind(event: Event) -> str:
    """Catalog changes and changes of a whole run must stay where they stand; all else may be grouped by type."""
    return str(event["type"]) if event["type"] in ("catalog", "skip", "run_state") else "asked"


# --- the catalog ----------------------------------------------------------------------------------------------------


def _apply_catalog(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    columns = ("event_id", "edit_id", "at", "actor", "action", "entity", "reference", "before", "after")
    _upsert(connection, "catalog_events", columns, [{**e, "event_id": e["id"]} for e in events], key=("event_id",))
    for entity, group in itertools.groupby(events, key=lambda event: event["entity"]):
        _ENTITIES[entity](connection, list(group))


def _apply_providers(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    # the balance is left alone: it changes by its own events only, so that an edit cannot undo what a run spent
    _upsert(connection, "llm_providers", _PROVIDER, _latest(events), key=("id",))


def _apply_models(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    provider_ids = dict(connection.execute("SELECT name, id FROM llm_providers").fetchall())
    rows = [{**row, "provider_id": provider_ids[row["provider"]]} for row in _latest(events)]
    # the old default gives way before the new one comes, or the unique index would refuse it
    connection.execute(
        "UPDATE llm_models SET is_default = false WHERE is_default AND id IN (SELECT unnest(?))",
        [[row["id"] for row in rows]],
    )
    _upsert(connection, "llm_models", _MODEL, rows, key=("id",))


def _apply_prices(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    columns = ("event_id", "reference", "valid_from", *_RATES, "price_tiers", "price_windows", "source", "read_on")
    rows = [{**event["after"], "event_id": event["id"]} for event in events]
    _upsert(connection, "llm_model_prices", columns, rows, key=("event_id",))


def _apply_settings(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    rows = [{**row, "value": json.dumps(row["value"])} for row in _latest(events)]
    _upsert(connection, "system_settings", ("id", "key", "value", "updated_at"), rows, key=("id",))


def _apply_balances(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    for event in events:
        after = event["after"]
        expression = "balance + ?::DECIMAL(18, 10)" if "delta" in after else "?::DECIMAL(18, 10)"
        connection.execute(
            f"UPDATE llm_providers SET balance = {expression} WHERE name = ?",
            [after["delta"] if "delta" in after else after["amount"], event["reference"]],
        )


def _apply_syncs(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    columns = ("event_id", "provider", "system_balance", "entered_balance", "delta", "at")
    rows = [{**e["after"], "event_id": e["id"], "provider": e["reference"], "at": e["at"]} for e in events]
    _upsert(connection, "provider_balance_syncs", columns, rows, key=("event_id",))


_Apply = Callable[[duckdb.DuckDBPyConnection, Sequence[Event]], None]

_ENTITIES: dict[str, _Apply] = {
    "provider": _apply_providers,
    "model": _apply_models,
    "price": _apply_prices,
    "setting": _apply_settings,
    "balance": _apply_balances,
    "sync": _apply_syncs,
}


def _latest(events: Sequence[Event]) -> list[Row]:
    """The last state of each entry; an upsert may name a row only once."""
    return list({event["reference"]: event["after"] for event in events}.values())


# --- runs -----------------------------------------------------------------------------------------------------------


def _apply_runs(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    columns = ("id", "name", "kind", "status", "simulated", "n_probes", "settings", "scenarios", "models", "estimate",
               "started_at")  # fmt: skip
    for event in events:
        n_probes = len(event["scenarios"]) * len(event["models"]) * event["samples"]
        row = {**event, "id": event["run_id"], "status": "running", "n_probes": n_probes, "started_at": event["at"]}
        _upsert(connection, "runs", columns, [row], key=("id",), update=())
        _upsert(connection, "probes", _PENDING, list(_pending(event)), key=("probe_id",), update=())


_PENDING = (
    "probe_id", "run_id", "position", "scenario_id", "prompt", "system", "followups", "dimensions", "provider", "model",
    "sample", "status", "cost_input_per_million", "cost_output_per_million", "price_snapshot", "simulated", "template",
)  # fmt: skip

_SNAPSHOT = (*_RATES, "price_tiers", "price_windows", "default_costs")


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


def _apply_intents(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    _upsert(connection, "attempts", _INTENT, events, key=("attempt_id",), update=())


def _apply_outcomes(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    columns = ("attempt_id", "run_id", "probe_id", "turn", "attempt", "provider", "model", *_OUTCOME)
    _upsert(connection, "attempts", columns, events, key=("attempt_id",), update=_OUTCOME)
    turns = [{**event, **event["answer"], "answered_at": event["ended_at"]} for event in events if event["answer"]]
    _upsert(connection, "turns", _TURN, turns, key=("probe_id", "turn"), update=())


def _apply_probes(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    latest = list({event["probe_id"]: event for event in events}.values())
    with _registered(connection, ("probe_id", *_PROBE_STATE), latest) as name:
        types = _types(connection, "probes")
        assignments = ", ".join(f"{column} = b.{column}::{types[column]}" for column in _PROBE_STATE)
        connection.execute(f"UPDATE probes SET {assignments} FROM {name} b WHERE probes.probe_id = b.probe_id")
        connection.execute(f"""
            UPDATE probes SET response = t.response
            FROM turns t JOIN {name} b ON t.probe_id = b.probe_id AND t.turn = b.turns::INTEGER
            WHERE probes.probe_id = t.probe_id
        """)


def _apply_skips(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    for event in events:
        column = "provider" if event["scope"] == "provider" else "model"
        connection.execute(
            "UPDATE probes SET status = 'skipped', error_code = ?, error_message = ?, retryable = false "
            f"WHERE run_id = ? AND status = 'pending' AND {column} = ?",
            [event["error_code"], event["error_message"], event["run_id"], event["reference"]],
        )


def _apply_run_states(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
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
        _upsert(connection, "provider_balance_deductions", columns, rows, key=("event_id", "provider"), update=())
        for row in rows:
            connection.execute(
                "UPDATE llm_providers SET balance = balance - ?::DECIMAL(18, 10) WHERE name = ?",
                [row["amount"], row["provider"]],
            )


_APPLY: dict[str, _Apply] = {
    "catalog": _apply_catalog,
    "run": _apply_runs,
    "intent": _apply_intents,
    "outcome": _apply_outcomes,
    "probe": _apply_probes,
    "skip": _apply_skips,
    "run_state": _apply_run_states,
}


# --- rows into tables -----------------------------------------------------------------------------------------------


class _registered:
    """Rows as a view that SQL can read for the length of a ``with`` block. Everything travels as text or as it is."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self._connection = connection
        data = {column: pa.array([_cell(row.get(column)) for row in rows], pa.string()) for column in columns}
        connection.register("incoming", pa.table(data))

    def __enter__(self) -> str:
        return "incoming"

    def __exit__(self, *_: object) -> None:
        self._connection.unregister("incoming")


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else str(value)
    # a lone surrogate in an answer has no UTF-8 form; the journal keeps it, the database shows "?"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _upsert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    key: Sequence[str],
    update: Sequence[str] | None = None,
) -> None:
    """Insert rows; on a known key update ``update`` (``None``: every other column; empty: leave the row alone)."""
    if not rows:
        return
    chosen = [column for column in columns if column not in key] if update is None else list(update)
    action = "UPDATE SET " + ", ".join(f"{_quoted(c)} = excluded.{_quoted(c)}" for c in chosen) if chosen else "NOTHING"
    types = _types(connection, table)
    with _registered(connection, columns, rows) as name:
        connection.execute(
            f"INSERT INTO {table} ({', '.join(map(_quoted, columns))}) "
            f"SELECT {', '.join(f'{_quoted(column)}::{types[column]}' for column in columns)} FROM {name} "
            f"ON CONFLICT ({', '.join(key)}) DO {action}"
        )


def _quoted(column: str) -> str:
    return f'"{column}"'  # "at" is a keyword


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    found = connection.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [table])
    return dict(found.fetchall())

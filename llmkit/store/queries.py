"""Read the catalog as records, and runs as DataFrames. Every function takes an open connection."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

import duckdb
import pandas as pd
import pyarrow as pa

from llmkit.errors import ValidationError
from llmkit.records import DatedPrice, Model, Provider
from llmkit.store.events import ARCHIVE, OF_RUN
from llmkit.store.schema import COUNTS, LOST, UNKNOWN
from llmkit.store.tables import literal

T = TypeVar("T")

_PRICED_AT = """max(valid_from) FILTER (
    valid_from <= make_timestamp(try_cast('0x' || left(event_id, 16) AS BIGINT) // 1000)) OVER () AS priced_at"""


class Source(Protocol):
    """Something that runs these queries: a catalog, or archived runs."""

    def look(self, question: Callable[[duckdb.DuckDBPyConnection], T], about: str | None = None) -> T:
        """Run ``question``, about one run or all, on a connection that is open only during the call."""
        ...


@dataclass(frozen=True, slots=True)
class CatalogState:
    """The whole catalog, read consistently.

    ``models`` and ``prices`` are keyed by reference; models are sorted by provider, then by when they were added;
    prices are oldest first. ``priced_at`` is the latest moment from which a price holds that held when it was written.
    """

    providers: Mapping[str, Provider] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    setting_ids: Mapping[str, int] = field(default_factory=dict)
    prices: Mapping[str, tuple[DatedPrice, ...]] = field(default_factory=dict)
    priced_at: datetime | None = None


def catalog_state(connection: duckdb.DuckDBPyConnection) -> CatalogState:
    """The whole catalog."""
    providers = [Provider.from_row(row) for row in rows(connection, "SELECT * FROM llm_providers ORDER BY id")]
    models = [
        Model.from_row(row)
        for row in rows(
            connection,
            "SELECT m.* EXCLUDE (provider_id), p.name AS provider "
            "FROM llm_models m JOIN llm_providers p ON p.id = m.provider_id ORDER BY p.id, m.id",
        )
    ]
    prices: dict[str, list[DatedPrice]] = {}
    priced_at = None
    for row in rows(
        connection, f"SELECT *, {_PRICED_AT} FROM llm_model_prices ORDER BY valid_from NULLS FIRST, event_id"
    ):
        prices.setdefault(row["reference"], []).append(DatedPrice.from_row(row))
        priced_at = row["priced_at"]
    settings = rows(connection, "SELECT id, key, value FROM system_settings")
    return CatalogState(
        providers={provider.name: provider for provider in providers},
        models={model.reference: model for model in models},
        settings={row["key"]: row["value"] for row in settings},
        setting_ids={row["key"]: row["id"] for row in settings},
        prices={reference: tuple(entries) for reference, entries in prices.items()},
        priced_at=priced_at,
    )


def has_asked(connection: duckdb.DuckDBPyConnection, reference: str) -> bool:
    """Whether any run includes this provider or model."""
    return bool(rows(connection, "SELECT 1 FROM run_arms WHERE ? IN (provider, model) LIMIT 1", [reference]))


def catalog_events(connection: duckdb.DuckDBPyConnection, reference: str | None) -> pd.DataFrame:
    """The catalog's events, oldest first: event_id, edit_id, at, actor, action, entity, reference, before, after."""
    return frame(
        connection,
        "SELECT * FROM catalog_events WHERE ? IS NULL OR reference = ? ORDER BY event_id",
        [reference, reference],
    )


# --- runs -----------------------------------------------------------------------------------------------------------


def runs(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """One row per run, newest first (by the journal, as clocks are set back), with counts of probes by status, total
    cost, name, tags and note.
    """
    return frame(
        connection,
        f"""
        SELECT r.id AS run_id, r.name, r.kind, r.status, r.started_at, r.n_probes,
            coalesce(COLUMNS(p.* EXCLUDE (run_id, estimated_cost)), 0), coalesce(a.unknown, 0) AS "unknown",
            p.estimated_cost, r.simulated, r.ended_at, r.message, json_extract_string(r.settings, '$.actor') AS actor,
            to_json(list_sort([name[5:] for name in coalesce(json_keys(n.notes), []) if name LIKE 'tag.%'])) AS tags,
            n.notes ->> '$.note' AS note,
            coalesce(json_exists(n.notes, '$.archived'), false) AS archived, n.notes ->> '$.{ARCHIVE}' AS archive
        FROM runs r
            LEFT JOIN (
                SELECT run_id, sum(estimated_cost) AS estimated_cost, {COUNTS},
                    count(*) FILTER ({UNKNOWN}) AS unpriced
                FROM probe_states GROUP BY run_id) p ON p.run_id = r.id
            LEFT JOIN (
                SELECT run_id, count(*) AS "unknown" FROM open_attempts WHERE {LOST} GROUP BY run_id
            ) a ON a.run_id = r.id
            LEFT JOIN probe_notes n ON n.run_id = r.id AND n.position = {OF_RUN}
        ORDER BY coalesce(r.event_id, format('{{:016x}}', epoch_ns(r.started_at))) DESC, r.id DESC
        """,
    )


def table(
    connection: duckdb.DuckDBPyConnection, name: str, run_id: str, order: Sequence[str], only: range | None = None
) -> pd.DataFrame:
    """The rows of ``probes``, ``turns`` or ``attempts`` of one run: of all probes, or of those at these positions."""
    these = "" if only is None else f"AND position BETWEEN {only.start} AND {only.stop - 1}"
    return frame(connection, f"SELECT * FROM {name} WHERE run_id = ? {these} ORDER BY {', '.join(order)}", [run_id])


def next_state(connection: duckdb.DuckDBPyConnection, run_id: str) -> int:
    """The number of a run's next state."""
    return int(column(connection, "SELECT coalesce(max(number), 0) + 1 FROM run_states WHERE run_id = ?", [run_id])[0])


def open_positions(connection: duckdb.DuckDBPyConnection, run_id: str) -> set[int]:
    """The positions of all pending probes."""
    return {*column(connection, "SELECT position FROM probe_states WHERE run_id = ? AND status = 'pending'", [run_id])}


def open_attempts(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The attempts of all pending probes in order, with reused answers as attempt 0 and without those still in batches.

    Columns: position, turn, attempt, started_at, waited_s, error_code, maybe_billed, usage, service_tier, cost,
    cost_source, latency_s, reused_from, original_cost; response, finish_reason and model_version are NULL where a later
    answer replaced this one.
    """
    return rows(
        connection,
        """
        WITH counted AS (
            SELECT position, turn, attempt, attempt_id, started_at, waited_s, error_code, maybe_billed, usage,
                service_tier, cost, cost_source, latency_s
            FROM attempts WHERE run_id = $run AND (batch IS NULL OR ended_at IS NOT NULL)
            UNION ALL BY NAME
            SELECT position, turn, 0 AS attempt, attempt_id, usage, service_tier, cost, cost_source, latency_s
            FROM turns WHERE run_id = $run AND cost_source = 'reused'
        )
        SELECT p.position, a.turn, a.attempt, a.started_at, a.waited_s, a.error_code, a.maybe_billed, a.usage,
            a.service_tier, a.cost, a.cost_source, a.latency_s, t.response, t.finish_reason, t.model_version,
            t.reused_from, t.original_cost
        FROM probe_states p JOIN counted a ON a.position = p.position
            LEFT JOIN turns t ON t.attempt_id = a.attempt_id
        WHERE p.run_id = $run AND p.status = 'pending' ORDER BY p.position, a.turn, a.attempt
        """,
        {"run": run_id},
    )


def questions(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The distinct questions of a run as stored, in the order of its scenarios."""
    result = rows(
        connection,
        "SELECT question, min(scenario) FROM run_scenarios WHERE run_id = ? AND json_type(question) = 'OBJECT' "
        "GROUP BY question ORDER BY 2",
        [run_id],
    )
    return [row["question"] for row in result]


def earlier_turns(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[str, list[dict[str, str]]]:
    """The turns before the prompt, by scenario_id, of the scenarios of a run that have any."""
    result = rows(
        connection,
        "SELECT scenario_id, messages FROM run_scenarios WHERE run_id = ? AND json_array_length(messages) > 0",
        [run_id],
    )
    return {row["scenario_id"]: row["messages"] for row in result}


def dimension_names(connection: duckdb.DuckDBPyConnection, run_id: str | None = None) -> list[str]:
    """The names of all dimensions and carried columns, in order of first appearance."""
    return column(
        connection,
        "SELECT name FROM (SELECT unnest(json_keys(dimensions)) AS name, scenario FROM run_scenarios "
        "WHERE (?::VARCHAR IS NULL OR run_id = ?)) GROUP BY name ORDER BY min(scenario), name",
        [run_id, run_id],
    )


def answer_fields(connection: duckdb.DuckDBPyConnection, run_id: str | None = None) -> list[str]:
    """The names of all fields of structured answers."""
    return column(
        connection,
        "SELECT DISTINCT unnest(json_keys(answer)) AS name FROM results "
        "WHERE json_type(answer) = 'OBJECT' AND (?::VARCHAR IS NULL OR run_id = ?) ORDER BY name",
        [run_id, run_id],
    )


def pointer(name: str) -> str:
    """The JSON pointer to a field, as an SQL literal."""
    return literal("/" + name.replace("~", "~0").replace("/", "~1"))


# --- helpers --------------------------------------------------------------------------------------------------------


def frame(
    connection: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """A query's result: integers as Int64, DECIMAL as float64, booleans as boolean, times in UTC, JSON parsed.

    Duplicate column names are numbered as DuckDB's own ``.df()`` does: ``name``, ``name_1``.
    """
    relation = connection.sql(sql, params=params or None)
    if relation is None:
        raise ValidationError("the statement returns no rows.", field="sql")
    kinds = [str(kind) for kind in relation.types]
    arrow = relation.to_arrow_table()
    arrow = pa.table([_plain(column) for column in arrow.columns], names=_told_apart(arrow.column_names))
    result: pd.DataFrame = arrow.to_pandas(types_mapper=_DTYPES.get)
    for name, column, kind in zip(arrow.column_names, arrow.columns, kinds, strict=True):
        if kind == "JSON":  # parsing all cells as one document is twenty times faster
            texts = column.fill_null("null").to_pylist()
            result[name] = pd.Series(json.loads(f"[{','.join(texts)}]"), dtype=object, index=result.index)
        elif pa.types.is_timestamp(column.type):
            moments = result[name].dt
            result[name] = moments.tz_localize("UTC") if column.type.tz is None else moments.tz_convert("UTC")
    return result


_DTYPES: dict[Any, Any] = {
    **{kind: pd.Int64Dtype() for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{kind: pd.UInt64Dtype() for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    pa.bool_(): pd.BooleanDtype(),
}


def _told_apart(names: Sequence[str]) -> list[str]:
    unique: dict[str, None] = {}
    for name in names:
        different = (name, *(f"{name}_{number}" for number in range(1, len(names) + 1)))
        unique[next(each for each in different if each not in unique)] = None
    return list(unique)


def _plain(column: Any) -> Any:
    """A DECIMAL column as integers (sums and counts) if its scale is 0 and they fit, else as the nearest float64:
    Arrow's own cast turns 11.2 into 11.200000000000001.
    """
    if not pa.types.is_decimal(column.type):
        return column
    if column.type.scale == 0:
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(pa.int64())
    return column.cast(pa.string()).cast(pa.float64())


def rows(
    connection: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """A query's result as stored: money as Decimal, times in UTC, JSON parsed."""
    cursor = connection.execute(sql, params or [])
    columns = [(name, _READERS.get(str(kind).partition("_")[0])) for name, kind, *_ in cursor.description or ()]
    return [
        {name: read(value) if read else value for (name, read), value in zip(columns, row, strict=True)}
        for some in iter(partial(cursor.fetchmany, _AT_ONCE), [])
        for row in some
    ]


_AT_ONCE = 10_000
"""Rows that are there as DuckDB's and as ours at the same time."""


def column(connection: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any] = ()) -> list[Any]:
    """The first column of a query's result."""
    return [value for value, *_ in connection.execute(sql, params).fetchall()]


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "JSON": lambda text: None if text is None else json.loads(text),
    "TIMESTAMP": lambda at: None if at is None else at.replace(tzinfo=UTC),
}
"""Converters by SQL type, ignoring the precision of a ``TIMESTAMP_S``."""

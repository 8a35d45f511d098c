"""Cost tables: probes, tokens and costs by any columns. Sums are made in DECIMAL, and nothing is priced here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records import RATE_COLUMNS, Rates, Usage
from llmkit.store.queries import dimension_names, frame, rows

_GROUPS = {
    "month": "strftime(p.started_at, '%Y-%m')",
    "day": "strftime(p.started_at, '%Y-%m-%d')",
    "run_name": "r.name",
    "kind": "r.kind",
}
_PROBE_GROUPS = (
    "run_id", "probe_id", "scenario_id", "prompt", "system", "provider", "model", "sample", "status", "error_code",
    "retryable", "finish_reason", "model_version", "cost_source", "simulated", "turns", "attempts", "template",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which probes a cost table is made of, and what it is grouped by."""

    by: Sequence[str]
    run_id: str | None = None
    since: datetime | None = None
    simulated: bool | None = None


@dataclass(frozen=True, slots=True)
class Consumed:
    """Of the answers behind one row of a cost table (its place is ``row``) the tokens billed at the same rates."""

    row: int
    usage: Usage
    rates: Rates


def costs(connection: duckdb.DuckDBPyConnection, chosen: Selection) -> tuple[pd.DataFrame, list[Consumed]]:
    """Probes, tokens and costs by columns of ``probes``, ``month``, ``day``, dimensions or answer fields; and the
    tokens behind each row, by rates.

    Raises:
        ValidationError: a column that none of these is.
    """
    groups = _Groups.of(connection, chosen)
    table = frame(
        connection,
        f"""
        WITH lost AS (
            SELECT probe_id, count(*) AS n, sum(worst_case) AS most
            FROM attempts WHERE maybe_billed OR ended_at IS NULL GROUP BY probe_id
        ), grouped AS (
            SELECT {groups.select}
                count(*) AS probes,
                count(*) FILTER (p.status = 'ok') AS ok,
                count(*) FILTER (p.status = 'failed') AS failed,
                count(*) FILTER (p.cost_source = 'unpriced') AS unpriced,
                sum(p.input_tokens)::BIGINT AS input_tokens,
                sum(p.cached_input_tokens)::BIGINT AS cached_input_tokens,
                sum(p.cache_write_tokens)::BIGINT AS cache_write_tokens,
                sum(p.output_tokens)::BIGINT AS output_tokens,
                sum(p.reasoning_tokens)::BIGINT AS reasoning_tokens,
                sum(p.estimated_cost)::DECIMAL(38, 10) AS estimated_cost,
                sum(p.estimated_cost)::DOUBLE / nullif(count(*) FILTER (p.status = 'ok'), 0) AS cost_per_ok,
                coalesce(sum(p.estimated_cost) FILTER (p.status != 'ok'), 0)::DECIMAL(38, 10) AS failed_cost,
                coalesce(sum(p.wasted_cost) FILTER (p.status = 'ok'), 0)::DECIMAL(38, 10) AS retried_cost,
                failed_cost + retried_cost AS wasted_cost,
                coalesce(sum(l.n), 0)::BIGINT AS maybe_billed,
                sum(l.most)::DECIMAL(38, 10) AS maybe_billed_cost
            FROM probes p JOIN runs r ON r.id = p.run_id LEFT JOIN lost l ON l.probe_id = p.probe_id
            WHERE {groups.where}
            GROUP BY ALL
        )
        SELECT * FROM grouped {groups.order}
        """,
        groups.params,
    )
    places = {tuple(map(_key, key)): row for row, key in enumerate(_keys(table, len(chosen.by)))}
    consumed = rows(
        connection,
        f"""
        SELECT {groups.select} {", ".join(f"t.{name}" for name in RATE_COLUMNS)},
            sum(t.input_tokens)::BIGINT AS input_tokens,
            sum(t.output_tokens)::BIGINT AS output_tokens,
            sum(t.cached_input_tokens)::BIGINT AS cached_input_tokens,
            sum(t.cache_write_tokens)::BIGINT AS cache_write_tokens,
            sum(json_extract_string(t.usage, '$.cache_write_1h_tokens')::BIGINT)::BIGINT AS cache_write_1h_tokens,
            sum(t.reasoning_tokens)::BIGINT AS reasoning_tokens
        FROM turns t JOIN probes p ON p.probe_id = t.probe_id JOIN runs r ON r.id = p.run_id
        WHERE t.usage IS NOT NULL AND {groups.where}
        GROUP BY ALL
        """,
        groups.params,
    )
    parts = [
        Consumed(
            places[tuple(_key(row[f"by{index}"]) for index in range(len(chosen.by)))],
            Usage.from_row(row),
            Rates(**{name: row[name] for name in RATE_COLUMNS}),
        )
        for row in consumed
    ]
    return groups.named(table), parts


@dataclass(frozen=True, slots=True)
class _Groups:
    """The SQL that groups by the chosen columns: each is computed as ``by0``, ``by1`` …, and named in the end.

    Values of dimensions and answers are compared as JSON text, so that numbers stay numbers and sort as such.
    """

    by: Sequence[str]
    expressions: Sequence[str]
    where: str
    params: Sequence[Any]

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, chosen: Selection) -> _Groups:
        dimensions, fields = dimension_names(connection, chosen.run_id), _answer_fields(connection, chosen.run_id)
        since = chosen.since.astimezone(UTC).replace(tzinfo=None) if chosen.since else None
        return cls(
            by=tuple(chosen.by),
            expressions=tuple(_expression(name, dimensions, fields) for name in chosen.by),
            where="(?::VARCHAR IS NULL OR p.run_id = ?) AND (?::TIMESTAMP IS NULL OR p.started_at >= ?) "
            "AND (?::BOOLEAN IS NULL OR p.simulated = ?)",
            params=[value for value in (chosen.run_id, since, chosen.simulated) for _ in range(2)],
        )

    @property
    def select(self) -> str:
        return "".join(f"{expression} AS by{index}, " for index, expression in enumerate(self.expressions))

    @property
    def order(self) -> str:
        if not self.by:
            return ""
        columns = (f"TRY_CAST(by{i}::VARCHAR AS DOUBLE), by{i}::VARCHAR" for i in range(len(self.by)))
        return f"ORDER BY {', '.join(columns)}"

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        for index, (name, expression) in enumerate(zip(self.by, self.expressions, strict=True)):
            if expression.startswith(_JSON):
                values = [json.loads(text) if isinstance(text, str) else None for text in table[f"by{index}"]]
                table[f"by{index}"] = pd.Series(values, dtype=object, index=table.index).infer_objects()
            table = table.rename(columns={f"by{index}": name})
        return table


_JSON = "json_extract("


def _expression(name: str, dimensions: Sequence[str], fields: Sequence[str]) -> str:
    if name in _GROUPS:
        return _GROUPS[name]
    if name in _PROBE_GROUPS:
        return f"p.{name}"
    if name in dimensions:
        return f"{_JSON}p.dimensions, {_pointer(name)})::VARCHAR"
    field = name.removeprefix("answer.")
    if field != name and field in fields:
        return f"{_JSON}p.answer, {_pointer(field)})::VARCHAR"
    options = ", ".join([*_PROBE_GROUPS, *_GROUPS, *dimensions, *(f"answer.{field}" for field in fields)])
    raise ValidationError(f"Costs cannot be grouped by {name!r}. Choose from: {options}.", field="by")


def _answer_fields(connection: duckdb.DuckDBPyConnection, run_id: str | None) -> list[str]:
    found = connection.execute(
        "SELECT DISTINCT unnest(json_keys(answer)) AS name FROM probes "
        "WHERE json_type(answer) = 'OBJECT' AND (?::VARCHAR IS NULL OR run_id = ?) ORDER BY name",
        [run_id, run_id],
    )
    return [name for (name,) in found.fetchall()]


def _pointer(name: str) -> str:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return "'" + pointer.replace("'", "''") + "'"


def _keys(table: pd.DataFrame, count: int) -> list[tuple[Any, ...]]:
    if not count:
        return [()] * len(table)
    return list(table[[f"by{index}" for index in range(count)]].itertuples(index=False, name=None))


def _key(value: Any) -> Any:
    """A group's value in one form, whether it comes from pandas or from the database."""
    return None if pd.isna(value) else str(value)

"""Reading what was spent: cost tables, billed requests, estimates against what came. As in ``queries``, every function
takes an open connection; sums are made in DECIMAL, and nothing is priced here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records import RATE_COLUMNS, Rates, Usage
from llmkit.store.queries import dimension_names, frame, rows


def total_cost(connection: duckdb.DuckDBPyConnection, run_id: str) -> Decimal:
    """The sum of what is known to have been billed for a run, exact."""
    found = connection.execute(
        "SELECT coalesce(sum(estimated_cost), 0)::DECIMAL(38, 10) FROM probes WHERE run_id = ?", [run_id]
    ).fetchone()
    return Decimal(found[0]) if found else Decimal(0)


def undeducted(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[str, Decimal]:
    """What a run has spent by provider and not yet deducted from the balance: its process died before it could."""
    found = rows(
        connection,
        """
        WITH deducted AS (
            SELECT provider, sum(amount) AS amount FROM provider_balance_deductions WHERE run_id = ? GROUP BY provider
        )
        SELECT a.provider, (sum(a.cost) - coalesce(any_value(d.amount), 0))::DECIMAL(38, 10) AS amount
        FROM attempts a LEFT JOIN deducted d ON d.provider = a.provider WHERE a.run_id = ? GROUP BY a.provider
        """,
        [run_id, run_id],
    )
    return {row["provider"]: row["amount"] for row in found if row["amount"]}


def billed_attempts(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The requests of a run that were answered or billed, in the order of their probes: probe_id, model, started_at,
    usage, cost, cost_source.
    """
    return rows(
        connection,
        "SELECT probe_id, model, started_at, usage, cost, cost_source FROM attempts "
        "WHERE run_id = ? AND cost_source IS NOT NULL ORDER BY attempt_id",
        [run_id],
    )


def probe_costs(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """What each probe of a run has cost, by position: probe_id, scenario_id, model, sample, status, estimated_cost,
    cost_source.
    """
    return rows(
        connection,
        "SELECT probe_id, scenario_id, model, sample, status, estimated_cost, cost_source FROM probes "
        "WHERE run_id = ? ORDER BY position",
        [run_id],
    )


# --- answers to learn from ------------------------------------------------------------------------------------------


def answers(
    connection: duckdb.DuckDBPyConnection, *, kind: str, simulated: bool, per_template: int, most: int
) -> list[dict[str, Any]]:
    """The latest answers whose usage is known, oldest first; of each model and template at most ``per_template``.

    Keys: provider, model, template, schema (JSON text), effort, input_chars (of everything that was sent but the
    schema), usage.
    """
    return rows(
        connection,
        """
        WITH latest AS (
            SELECT t.probe_id, t.turn, t.answered_at
            FROM turns t JOIN probes p ON p.probe_id = t.probe_id JOIN runs r ON r.id = t.run_id
            WHERE r.kind = ? AND r.simulated = ? AND t.usage IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY p.model, p.template ORDER BY t.answered_at DESC) <= ?
            ORDER BY t.answered_at DESC LIMIT ?
        ), sent AS (
            SELECT probe_id, turn, usage, sum(length(prompt)) OVER so_far
                + coalesce(sum(length(response)) OVER (so_far ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
                AS chars
            FROM turns WHERE probe_id IN (SELECT probe_id FROM latest)
            WINDOW so_far AS (PARTITION BY probe_id ORDER BY turn)
        ), asked AS (
            SELECT id, json_extract_string(settings, '$.params.reasoning_effort') AS effort,
                json_extract(settings, '$.params.schema')::VARCHAR AS schema, unnest(models::JSON[]) AS m
            FROM runs
        )
        SELECT p.provider, p.model, p.template, s.usage,
            (coalesce(length(p.system), 0) + s.chars)::BIGINT AS input_chars,
            CASE WHEN NOT coalesce(list_contains(p.left_out::VARCHAR[], 'schema'), false)
                THEN nullif(a.schema, 'null') END AS schema,
            coalesce(
                CASE WHEN NOT coalesce(list_contains(p.left_out::VARCHAR[], 'reasoning_effort'), false)
                    THEN a.effort END,
                json_extract_string(a.m, '$.api_config.default_reasoning_effort')
            ) AS effort
        FROM latest l JOIN sent s ON s.probe_id = l.probe_id AND s.turn = l.turn
            JOIN probes p ON p.probe_id = l.probe_id
            JOIN asked a ON a.id = p.run_id
                AND json_extract_string(a.m, '$.provider') || ':' || json_extract_string(a.m, '$.model_id') = p.model
        ORDER BY l.answered_at, l.probe_id, l.turn
        """,
        [kind, simulated, per_template, most],
    )


def estimates(connection: duckdb.DuckDBPyConnection, *, simulated: bool) -> list[dict[str, Any]]:
    """Each completed run that was estimated, by model, with what it cost; oldest first.

    Keys: run_id, name, started_at, estimate (as it was stored), model, probes, ok, unpriced, actual.
    """
    return rows(
        connection,
        """
        SELECT r.id AS run_id, r.name, r.started_at, r.estimate, p.model, count(*) AS probes,
            count(*) FILTER (p.status = 'ok') AS ok, count(*) FILTER (p.cost_source = 'unpriced') AS unpriced,
            sum(p.estimated_cost)::DECIMAL(38, 10) AS actual
        FROM runs r JOIN probes p ON p.run_id = r.id
        WHERE r.status = 'completed' AND r.simulated = ? AND r.estimate IS NOT NULL
        GROUP BY ALL ORDER BY r.started_at, r.id, min(p.position)
        """,
        [simulated],
    )


# --- cost tables ----------------------------------------------------------------------------------------------------

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

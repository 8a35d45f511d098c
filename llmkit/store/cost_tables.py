"""Cost tables: probes, tokens and costs by any columns. Sums are DECIMAL, and nothing is priced here."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd

from llmkit.records import RATE_COLUMNS, TOKEN_COLUMNS, Rates, Usage
from llmkit.records.checks.near_names import unknown_name
from llmkit.records.columns import PROBES, answer_column, column
from llmkit.store.queries import answer_fields, dimension_names, frame, pointer, rows
from llmkit.store.schema import LOST, UNKNOWN, USAGE

_GROUPS = {
    "month": "strftime(p.started_at, '%Y-%m')",
    "day": "strftime(p.started_at, '%Y-%m-%d')",
    "run_name": "r.name",
    "kind": "r.kind",
    "actor": "json_extract_string(r.settings, '$.actor')",
    "project": "json_extract_string(r.settings, '$.project')",
    "template": "p.template",
}
"""Groupings available besides the columns of ``run.probes``."""

_OF_ARMS = {*(f"p.{name}" for name in ("run_id", "provider", "model", "sample"))} | {
    _GROUPS[name] for name in ("run_name", "kind", "actor", "project")
}
"""Expressions that are constant over the probes of an arm."""

_STARTED = "p.started_at"
_MONEY = ("estimated_cost", "original_cost", "wasted_cost")

_LISTS = ("followups", "left_out")
"""Columns of probes that hold JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The probes of a cost table, and its grouping.

    A user's own column may share its name with one of ours (``month``): with ``own_first`` the user's is meant.
    """

    by: Sequence[str]
    own_first: bool = False
    run_id: str | None = None
    since: datetime | None = None
    simulated: bool | None = None


@dataclass(frozen=True, slots=True)
class Consumed:
    """Tokens billed at the same rates, of the answers behind row number ``row`` of a cost table."""

    row: int
    usage: Usage
    rates: Rates


def costs_and_consumed(
    connection: duckdb.DuckDBPyConnection, chosen: Selection, *, cached_only: bool = False
) -> tuple[pd.DataFrame, list[Consumed]]:
    """Probes, tokens and costs by columns of ``run.probes``, ``month``, ``day``, dimensions or answer fields, with the
    tokens behind each row by rates: of all answers, or with ``cached_only`` of those that used a prompt cache.

    A value column that shares its name with a grouping is called ``total_<name>``.
    """
    groups = _Groups.of(connection, chosen)
    table = _table(connection, groups)
    names = [f"by{index}" for index in range(len(groups.by))]
    keys = table[names].itertuples(index=False, name=None)
    places = {tuple(map(_key, key)): row for row, key in enumerate(keys)}
    consumed = rows(
        connection,
        f"""
        SELECT {groups.select} {", ".join(f"t.{name}" for name in RATE_COLUMNS)},
            {_sums("t", [name for name, kind in USAGE.items() if kind == "BIGINT"])}
        FROM outcomes t JOIN {groups.of_answers}
        WHERE t.is_answer AND t.attempt > 0 AND NOT t.is_superseded AND t.input_tokens IS NOT NULL AND {groups.where}
            {"AND (t.cached_input_tokens > 0 OR t.cache_write_tokens > 0)" if cached_only else ""}
        GROUP BY ALL
        """,
        groups.params,
    )
    parts = [
        Consumed(place, Usage.from_row(row), Rates(**{name: row[name] for name in RATE_COLUMNS}))
        for row in consumed
        if (place := places.get(tuple(_key(row[name]) for name in names))) is not None  # else its scenarios are lost
    ]
    return groups.named(table), parts


def _table(connection: duckdb.DuckDBPyConnection, groups: _Groups) -> pd.DataFrame:
    """The table with its groups as ``by0``, ``by1`` … Conditions are applied to the sums of each status, not to
    each probe; and the few lost attempts are added, rather than joined to every probe.
    """
    return frame(
        connection,
        f"""
        WITH lost AS (
            SELECT run_id, position, worst_case FROM open_attempts WHERE {LOST}
            UNION ALL SELECT i.run_id, i.position, i.worst_case
            FROM intents i SEMI JOIN (FROM outcomes WHERE maybe_billed) o ON o.run_id = i.run_id
                AND o.position = i.position AND o.turn = i.turn AND o.attempt = i.attempt
        ), parts AS (
            SELECT {groups.select} p.status, count(*) AS probes, count(p.estimated_cost) AS known,
                count(*) FILTER (p.cost_source LIKE '%unpriced') AS no_price, count(*) FILTER ({UNKNOWN}) AS unknown,
                {_sums("p", TOKEN_COLUMNS)}, {_sums("p", _MONEY, "DECIMAL(38, 10)")}
            FROM {groups.source} p JOIN runs r ON r.id = p.run_id WHERE {groups.where} GROUP BY ALL
            UNION ALL BY NAME
            SELECT {groups.select} count(*) AS lost, sum(l.worst_case) AS most
            FROM lost l JOIN {groups.source} p ON p.run_id = l.run_id AND p.position = l.position
                JOIN runs r ON r.id = p.run_id WHERE {groups.where} GROUP BY ALL
        ), grouped AS (
            SELECT {"".join(f"by{index}, " for index in range(len(groups.by)))}
                {_count("probes")} AS probes,
                {_count("probes", "status = 'ok'")} AS ok,
                {_count("probes", "status = 'failed'")} AS failed,
                {_count("no_price")} AS unpriced,
                {_count("known", "status = 'ok'")} AS priced,
                {_sums("parts", TOKEN_COLUMNS)},
                sum(parts.estimated_cost) AS estimated_cost,
                sum(parts.original_cost) AS original_cost,
                CASE WHEN {_count("no_price", "status = 'ok'")} = 0
                    THEN sum(parts.estimated_cost)::DOUBLE / nullif(ok, 0) END AS cost_per_ok,
                coalesce(sum(parts.estimated_cost) FILTER (status != 'ok'),
                    CASE {_count("unknown", "status != 'ok'")} WHEN 0 THEN 0 END)::DECIMAL(38, 10) AS failed_cost,
                coalesce(sum(parts.wasted_cost) FILTER (status = 'ok'), 0)::DECIMAL(38, 10) AS retried_cost,
                failed_cost + retried_cost AS wasted_cost,
                {_count("lost")} AS maybe_billed,
                sum(most)::DECIMAL(38, 10) AS maybe_billed_cost
            FROM parts GROUP BY ALL
        )
        SELECT * FROM grouped {groups.order}
        """,
        [*groups.params, *groups.params],
    )


def _count(name: str, where: str = "true") -> str:
    return f"coalesce(sum({name}) FILTER ({where}), 0)::BIGINT"


def _sums(table: str, names: Iterable[str], kind: str = "BIGINT") -> str:
    return ", ".join(f"sum({table}.{name})::{kind} AS {name}" for name in names)


@dataclass(frozen=True, slots=True)
class _Groups:
    """The SQL that groups by the chosen columns: each is computed as ``by0``, ``by1`` …, and named at the end.

    Dimensions, answers and lists are compared as JSON text, so that numbers stay numbers and sort as such.
    """

    by: Mapping[str, str]
    """Expressions by column."""
    where: str
    params: Sequence[Any]

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, chosen: Selection) -> _Groups:
        known = _expressions(connection, chosen)
        unknown = [name for name in chosen.by if not isinstance(name, str) or name not in known]
        if unknown or not chosen.by:
            which, what = (unknown[0], f"by {unknown[0]!r}") if unknown else ("", "by nothing")
            raise unknown_name(which, known, "by", f"Costs cannot be grouped {what}.")
        since = chosen.since.astimezone(UTC).replace(tzinfo=None) if chosen.since else None
        conditions = {"p.run_id = ?": chosen.run_id, "r.simulated = ?": chosen.simulated, f"{_STARTED} >= ?": since}
        set_ = {condition: value for condition, value in conditions.items() if value is not None}
        return cls(
            by={name: known[name] for name in chosen.by},
            where=" AND ".join(set_) or "true",
            params=list(set_.values()),
        )

    @property
    def source(self) -> str:
        """The view that has the groupings; looking up responses takes as long as all the rest."""
        return "probes" if "response" in self.by else "probe_states"

    @property
    def of_answers(self) -> str:
        """The same for each answer ``t``. Joining its probe takes five times as long as joining the probe's arm."""
        if {*self.by.values()} <= _OF_ARMS and _STARTED not in self.where:
            return "runs r ON r.id = t.run_id JOIN run_arms p ON p.run_id = r.id AND p.arm = t.position % r.arms"
        return f"{self.source} p ON p.run_id = t.run_id AND p.position = t.position JOIN runs r ON r.id = p.run_id"

    @property
    def select(self) -> str:
        return "".join(f"{expression} AS by{index}, " for index, expression in enumerate(self.by.values()))

    @property
    def order(self) -> str:
        columns = (f"TRY_CAST(by{i}::VARCHAR AS DOUBLE), by{i}::VARCHAR" for i in range(len(self.by)))
        return f"ORDER BY {', '.join(columns)}"

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        for index, expression in enumerate(self.by.values()):
            if expression.startswith(_JSON):
                values = [json.loads(text) if isinstance(text, str) else None for text in table[f"by{index}"]]
                table[f"by{index}"] = column(values, table.index)
        own = [own_name(name, self.by) for name in table.columns[len(self.by) :]]
        return table.set_axis([*self.by, *own], axis=1)


_JSON = "nullif(regexp_replace("


def own_name(name: str, by: Container[str]) -> str:
    """The name of a value column in a table grouped by these columns."""
    return f"total_{name}" if name in by else name


def _expressions(connection: duckdb.DuckDBPyConnection, chosen: Selection) -> dict[str, str]:
    """The available groupings: SQL expressions by name. Answers, of which there may be millions, only if necessary."""
    probes = {name: _value(name, "'$'") if name in _LISTS else f"p.{name}" for name in PROBES}
    if not chosen.own_first and all(isinstance(name, str) and name in probes for name in chosen.by) and chosen.by:
        return probes
    own = {name: _value("dimensions", pointer(name)) for name in dimension_names(connection, chosen.run_id)}
    fields = answer_fields(connection, chosen.run_id)
    answers = {answer_column(name): _value("answer", pointer(name)) for name in fields}
    return {**_GROUPS, **own, **probes, **answers} if chosen.own_first else {**own, **_GROUPS, **probes, **answers}


def _value(name: str, path: str) -> str:
    """JSON as text, the same in all runs for what is the same in pandas: a missing value is NULL, with or without the
    column, and 1.0 is 1, since integers are floats in a column with a missing value."""
    return f"{_JSON}json_extract(p.{name}, {path})::VARCHAR, '\\.0$', ''), 'null')"


def _key(value: Any) -> Any:
    """A group's value in one form, whether it comes from pandas or the database."""
    if pd.isna(value):
        return None
    return str(float(value) if isinstance(value, Decimal) else value)

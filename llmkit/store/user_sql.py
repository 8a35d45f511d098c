"""The user's own SQL: confined, and never blocking others for long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records.checks.shapes import unboxed
from llmkit.store import queries, trouble
from llmkit.store.tables import quoted

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds for which a statement may hold the database while others wait."""

_NOT_IN_A_FRAME = (ValueError, TypeError, OverflowError, NotImplementedError, RecursionError)
"""Raised by Arrow and pandas for values that they cannot represent, such as the date 'infinity'."""


Params = list[Any] | dict[str, Any]


def checked(params: Sequence[Any] | Mapping[str, Any] | None) -> Params:
    """The parameters of a statement; numpy's scalars become Python's, which are all that DuckDB takes."""
    if isinstance(params, Mapping):
        return {name: unboxed(value) for name, value in params.items()}
    if params is None or (isinstance(params, Iterable) and not isinstance(params, str | bytes)):
        return [] if params is None else list(map(unboxed, params))
    raise ValidationError(
        "params is a list with a value for each ? of the statement, or a dict for its $names.", field="params"
    )


def ask(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    params: Params,
    path: Path | None = None,
    patience: float | None = None,
) -> pd.DataFrame:
    """Run a SELECT; damage of the database at ``path`` is raised as DuckDB's error.

    Raises:
        TimeoutError: it took longer than ``patience`` seconds.
        ValidationError: it failed, with DuckDB's reason.
    """
    try:
        return stoppable(connection, lambda: queries.frame(connection, sql, params), patience)
    except (duckdb.Error, *_NOT_IN_A_FRAME, ValidationError) as error:
        if path is not None and isinstance(error, duckdb.Error) and trouble.is_damage(error, path):
            raise
        raise ValidationError(f"This query failed (access is read-only): {error}", field="sql") from error


def stoppable(connection: duckdb.DuckDBPyConnection, query: Callable[[], T], patience: float | None = None) -> T:
    """Run a query in a thread of its own: while DuckDB waits for its other threads it takes no notice of Stop."""
    with ThreadPoolExecutor(1, "llmkit-sql") as thread:
        asked = thread.submit(query)
        try:
            return asked.result(patience)
        finally:
            while not asked.done():  # an interruption before the query begins has no effect
                connection.interrupt()
                wait([asked], 0.05)


def copied(source: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """An in-memory database with copies of all tables and views."""
    target = duckdb.connect()
    views = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
    tables = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'"
    for name in queries.column(source, f"{tables} UNION {views}"):
        target.register("incoming", source.sql(f"SELECT * FROM {quoted(name)}").to_arrow_table())
        target.execute(f"CREATE TABLE {quoted(name)} AS SELECT * FROM incoming")
        target.unregister("incoming")
    return target

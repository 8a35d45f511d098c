"""The user's own SQL: confined, and never blocking others for long."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records.checks.shapes import unboxed
from llmkit.store import queries, trouble
from llmkit.store.tables import quoted

PATIENCE = 3.0
"""Seconds for which a statement may hold the database while others wait."""

_NOT_IN_A_FRAME = (ValueError, TypeError, OverflowError, NotImplementedError, RecursionError)
"""Raised by Arrow and pandas for values that they cannot represent, such as the date 'infinity'."""


class TakesLong(Exception):
    """The statement was interrupted after ``PATIENCE`` seconds; internal to the store, which reruns it on a copy."""


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


@trouble.stoppable()
def ask(connection: duckdb.DuckDBPyConnection, sql: str, params: Params, path: Path | None = None) -> pd.DataFrame:
    """Run a SELECT; damage of the database at ``path`` is raised as DuckDB's error."""
    try:
        return queries.frame(connection, sql, params)
    except (duckdb.Error, *_NOT_IN_A_FRAME, ValidationError) as error:
        if path is not None and isinstance(error, duckdb.Error) and trouble.is_damage(error, path):
            raise
        raise ValidationError(f"This query failed (access is read-only): {error}", field="sql") from error


def ask_briefly(connection: duckdb.DuckDBPyConnection, sql: str, params: Params, path: Path) -> pd.DataFrame:
    """Run a SELECT as :func:`ask` does, but raise :class:`TakesLong` after :data:`PATIENCE` seconds."""
    clock = threading.Timer(PATIENCE, connection.interrupt)
    clock.name = "llmkit-user-sql"
    clock.start()
    try:
        return ask(connection, sql, params, path)
    except ValidationError as error:
        if isinstance(error.__cause__, duckdb.InterruptException):
            raise TakesLong from None
        raise error from None
    finally:
        clock.cancel()


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

"""Rows into tables: many at once, and without knowing what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

Row = Mapping[str, Any]

SOME = 500
"""Rows that are made into a table at once. While they are, the interpreter does nothing else."""


@contextmanager
def incoming(connection: duckdb.DuckDBPyConnection, columns: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Rows as a view for SQL, whose name this gives. Everything travels as text and is cast by whoever reads it."""
    data = {column: pa.array([_cell(row.get(column)) for row in rows], pa.string()) for column in columns}
    connection.register("incoming", pa.table(data))
    try:
        yield "incoming"
    finally:
        with suppress(duckdb.TransactionException):  # after an error, which must not be hidden by a second one
            connection.unregister("incoming")


def upsert(
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
    action = "UPDATE SET " + ", ".join(f"{quoted(c)} = excluded.{quoted(c)}" for c in chosen) if chosen else "NOTHING"
    types = column_types(connection, table)
    for first in range(0, len(rows), SOME):
        with incoming(connection, columns, rows[first : first + SOME]) as name:
            connection.execute(
                f"INSERT INTO {table} ({', '.join(map(quoted, columns))}) "
                f"SELECT {', '.join(cast(quoted(column), types[column]) for column in columns)} FROM {name} "
                f"ON CONFLICT ({', '.join(key)}) DO {action}"
            )


def column_types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The SQL type of each column of a table."""
    found = connection.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [table])
    return dict(found.fetchall())


def cast(expression: str, kind: str) -> str:
    """SQL that makes a value from its text. What no column can hold, an absurd amount or half a character in JSON,
    becomes unknown: one bad value in the journal must not keep everything that comes after it out of the database.
    """
    return f"{'TRY_CAST' if kind.startswith(('DECIMAL', 'JSON')) else 'CAST'}({expression} AS {kind})"


def quoted(name: str) -> str:
    """A name in SQL, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else str(value)
    # a lone surrogate in an answer has no UTF-8 form; the journal keeps it, the database shows "?"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()

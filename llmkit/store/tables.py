"""Write rows into tables: many at once, whatever their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from llmkit.records.rows import dumps
from llmkit.store.lines import for_duckdb

Row = Mapping[str, Any]

SOME = 500
"""Rows converted into a table at once, during which no other thread runs."""


def upsert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row], key: str) -> None:
    """Insert rows, or replace those with the same ``key``; what the table has no column for is left out. Values travel
    as text and are cast to the column types.
    """
    result = connection.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [table])
    kinds = {name: kind for name, kind in result.fetchall() if any(name in row for row in rows)}
    texts = dumps([dict.fromkeys(kinds, "VARCHAR")]).decode()
    statement = (
        f"INSERT INTO {table} ({', '.join(map(quoted, kinds))}) "
        f"SELECT {', '.join(cast(quoted(name), kind) for name, kind in kinds.items())} "
        f"FROM (SELECT unnest(from_json(?, '{texts}'), max_depth := 2)) ON CONFLICT ({key}) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in map(quoted, kinds) if name != quoted(key))
    )
    for first in range(0, len(rows), SOME):
        connection.execute(statement, [for_duckdb(dumps(rows[first : first + SOME])).decode()])


def cast(expression: str, kind: str) -> str:
    """SQL that converts a text. A value that no column can hold, such as an absurd amount or a lone surrogate in JSON,
    becomes NULL: one bad value in the journal must not keep everything after it out of the database.
    """
    return f"{'TRY_CAST' if kind.startswith(('DECIMAL', 'JSON')) else 'CAST'}({expression} AS {kind})"


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """A text as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"

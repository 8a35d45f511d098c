"""Recover from a damaged database what its journal no longer holds."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import duckdb

from llmkit.records.user_warnings import warn
from llmkit.store import migrations
from llmkit.store.lease import CONFINED, Damaged, Lease
from llmkit.store.queries import column
from llmkit.store.tables import literal

_OLD = "damaged"


def segments(path: Path) -> list[str]:
    """The segments that a damaged database was built from; none if they cannot be read."""
    try:
        with duckdb.connect(path, read_only=True, config=CONFINED) as connection:
            return column(connection, "SELECT segment FROM journal_segments")
    except duckdb.Error:
        return []


def make_way(lease: Lease, damaged: Damaged, *, adopting: bool) -> None:
    """Set a damaged database aside, with a warning; the next to open it rebuilds it from the journal. ``adopting``
    begins the new one with the rows that can be recovered.
    """
    aside, taken = lease.set_aside(), ""
    if adopting:
        with lease.connect(read_only=False) as connection:
            migrations.migrate(connection)
            taken = " " + words(take_over(connection, aside))
    warn(
        f"The database {lease.path.name} was damaged ({str(damaged).splitlines()[0]}). "
        f"It was rebuilt from its journal; the damaged file is kept as {aside.name}.{taken}"
    )


def take_over(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, int | None]:
    """Copy what is readable into an empty database; returns the row count of each table, ``None`` if unreadable.

    Tables about runs are copied one by one; those of the catalog only together, since they depend on one another.
    """
    try:
        connection.execute(f"ATTACH {literal(path)} AS {_OLD} (TYPE duckdb, READ_ONLY)")
    except duckdb.Error:
        return {}
    try:
        return {table: rows for group in _groups(connection) for table, rows in _taken(connection, group).items()}
    finally:
        with contextlib.suppress(duckdb.Error):
            connection.execute(f"DETACH {_OLD}")


def _groups(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    tables = connection.execute(
        "SELECT table_name, bool_or(column_name = 'run_id') OR table_name = 'runs' AS is_of_run FROM duckdb_columns() "
        "WHERE database_name = current_database() AND table_name IN (SELECT table_name FROM duckdb_tables()) "
        "AND table_name NOT IN ('migrations', 'journal_segments', 'journal_quarantine') GROUP BY table_name ORDER BY 1"
    ).fetchall()
    return [[name for name, is_of_run in tables if not is_of_run], *([name] for name, is_of_run in tables if is_of_run)]


def _taken(connection: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> dict[str, int | None]:
    connection.begin()
    try:
        taken: dict[str, int | None] = {}
        for table in tables:
            row = connection.execute(
                f"INSERT INTO {table} BY NAME FROM {_OLD}.{table} ON CONFLICT DO NOTHING"
            ).fetchone()
            taken[table] = int(row[0]) if row else 0
        connection.commit()
    except duckdb.Error:
        connection.rollback()
        return dict.fromkeys(tables)
    return taken


def words(taken: dict[str, int | None]) -> str:
    """What was taken over, in a sentence."""
    got = [f"{rows:,} of {table}" for table, rows in taken.items() if rows]
    lost = [table for table, rows in taken.items() if rows is None]
    unread = f" Unreadable: {', '.join(lost)}." if lost else ""
    return f"Rows recovered from it: {', '.join(got) or 'none'}.{unread}"

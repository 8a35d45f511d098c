"""Foreign views and macros in a database, which would run as soon as llmkit queries it."""

from __future__ import annotations

from pathlib import Path

import duckdb

from llmkit.errors import ValidationError
from llmkit.records.checks.texts import first_of
from llmkit.store import migrations, schema


def refuse(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Refuse a database, before its first use, if it holds views or macros that llmkit did not make."""
    # qualified names, since the database's own macros could shadow unqualified ones
    ask = connection.execute
    macros = ask(
        "SELECT DISTINCT schema_name, function_name FROM system.main.duckdb_functions() WHERE NOT internal"
    ).fetchall()
    views = ask("SELECT schema_name, view_name, sql FROM system.main.duckdb_views() WHERE NOT internal").fetchall()
    others = [f"the macro {name!r}" for _, name in macros]
    others += [f"the view {name!r}" for place, name, _ in views if place != "main" or name not in schema.VIEWS]
    if not others:
        as_formatted = (  # by DuckDB, spaces and brackets included
            "SELECT name, 'CREATE VIEW ' || name || ' AS ' || json_deserialize_sql(json_serialize_sql(query)) || ';' "
            "FROM (SELECT unnest(?::VARCHAR[]) AS name, unnest(?::VARCHAR[]) AS query)"
        )
        ours = dict(ask(as_formatted, [list(schema.VIEWS), list(schema.VIEWS.values())]).fetchall())
        changed = [name for _, name, sql in views if sql != ours[name]]
        others = [f"the view {name!r}" for name in changed] if changed and migrations.is_current(connection) else []
    if others:
        raise ValidationError(
            f"{path} contains {first_of(others)}, which llmkit did not create: its SQL would run with every query. "
            "Drop it with DuckDB (llmkit recreates its own views), or name another file. Create your own views and "
            "macros in kit.snapshot().",
            field="path",
        )

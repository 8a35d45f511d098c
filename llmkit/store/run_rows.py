"""One run's own row, what it asks, and whether its texts are here and fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from llmkit.errors import ValidationError
from llmkit.store.events import ARCHIVE, OF_RUN
from llmkit.store.queries import rows

_ROW, _COPIES = 2_500, 3
"""Bytes of a row without its texts, and how often these are in memory while a DataFrame is made. Measured."""


def run_row(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[str, Any] | None:
    """The run's own row, JSON parsed; ``None`` when there is no such run.

    Its settings are those that it was last resumed with. ``changes`` holds what was changed when it was, oldest first:
    at, changes. ``archive`` is where its texts are if not here.
    """
    archive = (
        "SELECT json_extract_string(arg_max(value, event_id), '$') FROM annotations "
        f"WHERE run_id = runs.id AND position = {OF_RUN} AND name = '{ARCHIVE}'"
    )
    row = next(iter(rows(connection, f"SELECT *, ({archive}) AS archive FROM runs WHERE id = ?", [run_id])), None)
    if row is None:
        return None
    changes = rows(
        connection,
        "SELECT \"at\", changes FROM run_states WHERE run_id = ? AND json_type(changes) = 'OBJECT' "
        "ORDER BY number, event_id",
        [run_id],
    )
    budgets = [each["changes"]["budget"] for each in changes if "budget" in each["changes"]]
    settings = row["settings"] | ({"budget": budgets[-1]} if budgets else {})
    return {**row, "settings": settings, "changes": changes}


def check_texts(row: Mapping[str, Any]) -> None:
    """Refuse to go on without the texts of a run.

    Raises:
        ValidationError: they are in an archive alone.
    """
    if row["archive"] is not None:
        raise ValidationError(
            f"The texts of run {row['id']} are in its archive alone: llmkit.dataset({row['archive']!r}) reads them, "
            "with .probes(...) and .sql(...). What it cost is here too.",
            field="run",
        )


def scenario_rows(connection: duckdb.DuckDBPyConnection, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a run asks, in its order: scenario_id, prompt, system, followups, dimensions, template.

    Raises:
        ValidationError: as :func:`check_texts`.
    """
    check_texts(row)
    return rows(
        connection,
        "SELECT * EXCLUDE (run_id, scenario) FROM run_scenarios WHERE run_id = ? ORDER BY scenario",
        [row["id"]],
    )


def fits(connection: duckdb.DuckDBPyConnection, run_id: str) -> bool:
    """Whether a table of a run fits into the memory that there is (on a hub, that which one user may have)."""
    found = connection.execute(
        f"""
        SELECT r.n_probes * {_ROW} + {_COPIES} * (
                coalesce((SELECT sum(strlen(prompt)) FROM run_scenarios WHERE run_id = r.id), 0) * r.arms
                + coalesce((SELECT sum(strlen(coalesce(reply, response))) FROM outcomes WHERE run_id = r.id), 0)
            ) < parse_formatted_bytes(current_setting('memory_limit'))
        FROM runs r WHERE r.id = ?
        """,
        [run_id],
    ).fetchone()
    return bool(found and found[0])

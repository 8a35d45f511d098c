"""One run: its own row, its scenarios, the notes about it, and its requests in batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb
import pandas as pd

from llmkit.errors import ValidationError
from llmkit.store.events import ARCHIVE, OF_RUN
from llmkit.store.queries import column, frame, rows
from llmkit.store.segments import HEAD

_ROW, _COPIES = 2_500, 3
"""Bytes of a row without its texts, and copies of the texts in memory while a DataFrame is made. Measured."""


def run_row(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[str, Any] | None:
    """The run's own row, JSON parsed; ``None`` when there is no such run.

    Its settings are as of its last resumption. ``changes`` lists what each resumption changed, oldest first: at,
    changes. ``archive`` is where its texts are, if not here; ``is_head``: they have not been received.
    """
    archive = (
        "SELECT json_extract_string(arg_max(value, event_id), '$') FROM annotations "
        f"WHERE run_id = runs.id AND position = {OF_RUN} AND name = '{ARCHIVE}'"
    )
    is_head = (
        "FROM journal_segments h ANTI JOIN journal_segments w "
        f"ON w.segment = replace(h.segment, '{HEAD}', '.jsonl') AND w.last_event_id >= h.last_event_id "
        f"WHERE contains(h.segment, runs.id) AND ends_with(h.segment, '{HEAD}')"
    )
    query = f"SELECT *, ({archive}) AS archive, EXISTS ({is_head}) AS is_head FROM runs WHERE id = ?"
    row = next(iter(rows(connection, query, [run_id])), None)
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


def latest(connection: duckdb.DuckDBPyConnection, run_id: str) -> datetime:
    """The latest time, by whatever clock, at which a run began, was resumed, ended or sent a request."""
    query = """
        SELECT greatest(max(started_at), (SELECT max(started_at) FROM intents WHERE run_id = $run),
            (SELECT max("at") FROM run_states WHERE run_id = $run)) AS at FROM runs WHERE id = $run"""
    at: datetime = rows(connection, query, {"run": run_id})[0]["at"]
    return at


def check_texts(row: Mapping[str, Any]) -> None:
    """Refuse to continue without the texts of a run."""
    if row["archive"] is not None:
        raise ValidationError(
            f"The texts of run {row['id']} are only in its archive: read them with .probes(...) and .sql(...) of "
            f"llmkit.dataset({row['archive']!r}). Its costs are still here.",
            field="run",
        )
    if row["is_head"]:
        raise ValidationError(
            f"The texts of run {row['id']}, which a colleague asked, have not been received here: open the catalog "
            f"with team=... while the team's database answers, and kit.load({row['id']!r}). Its costs are here.",
            field="run",
        )


def scenario_rows(connection: duckdb.DuckDBPyConnection, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A run's scenarios, in order: scenario_id, prompt, system, followups, dimensions, template, messages, question."""
    check_texts(row)
    return rows(
        connection,
        "SELECT * EXCLUDE (run_id, scenario) FROM run_scenarios WHERE run_id = ? ORDER BY scenario",
        [row["id"]],
    )


def fits(connection: duckdb.DuckDBPyConnection, run_id: str) -> bool:
    """Whether a table of a run fits into the available memory (on a hub, what one user may have)."""
    answer = column(
        connection,
        f"""
        SELECT r.n_probes * {_ROW} + {_COPIES} * (
                coalesce((SELECT sum(strlen(prompt)) FROM run_scenarios WHERE run_id = r.id), 0) * r.arms
                + coalesce((SELECT sum(strlen(coalesce(reply, response))) FROM outcomes WHERE run_id = r.id), 0)
                + coalesce((SELECT sum(strlen(text)) FROM text_pieces WHERE run_id = r.id), 0)
            ) < parse_formatted_bytes(current_setting('memory_limit'))
        FROM runs r WHERE r.id = ?
        """,
        [run_id],
    )
    return bool(answer and answer[0])


def latest_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Each person's latest note about each probe under each name: position, name, value, actor, at."""
    return frame(
        connection,
        'SELECT position, name, value, actor, "at" FROM annotations WHERE run_id = ? AND value IS NOT NULL '
        f"AND position != {OF_RUN} ORDER BY position, name, event_id",
        [run_id],
    )


def run_labels(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """The notes about a run itself, the latest under each name: name, value, actor, at."""
    return frame(
        connection,
        f'SELECT name, value, actor, "at" FROM (FROM annotations WHERE run_id = ? AND position = {OF_RUN} '
        "QUALIFY row_number() OVER (PARTITION BY name ORDER BY event_id DESC) = 1) "
        "WHERE value IS NOT NULL ORDER BY name",
        [run_id],
    )


def without_outcome(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The requests of a run that never ended: position, turn, attempt, started_at, worst_case, batch (NULL for live
    ones; those in batches still may end), batch_id (NULL where the provider did not confirm the batch).
    """
    return rows(
        connection,
        "SELECT position, turn, attempt, started_at, worst_case, batch, batch_id FROM open_attempts "
        "LEFT JOIN run_batches USING (run_id, batch) WHERE run_id = ? ORDER BY ALL",
        [run_id],
    )


def in_batches(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, int]]:
    """For each run that waits for batches, how many of their requests are back, and how many there are in all."""
    result = connection.execute(
        "WITH asked AS (SELECT run_id, count(batch) AS n FROM intents GROUP BY run_id), "
        "waiting AS (SELECT run_id, count(batch) AS n FROM open_attempts GROUP BY run_id) "
        "SELECT run_id, a.n - w.n, a.n FROM asked a JOIN waiting w USING (run_id) WHERE w.n > 0"
    )
    return {run_id: (back, total) for run_id, back, total in result.fetchall()}

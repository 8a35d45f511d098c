"""What people noted about answers and runs. Every function takes an open connection."""

from __future__ import annotations

import duckdb
import pandas as pd

from llmkit.store.events import OF_RUN
from llmkit.store.queries import frame


def latest_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """The latest that each person noted about each probe under each name: position, name, value, actor, at."""
    return frame(
        connection,
        'SELECT position, name, value, actor, "at" FROM annotations WHERE run_id = ? AND value IS NOT NULL '
        f"AND position != {OF_RUN} ORDER BY position, name, event_id",
        [run_id],
    )


def run_labels(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """What holds of a run by what was noted about it, the latest under each name: name, value, actor, at."""
    return frame(
        connection,
        f'SELECT name, value, actor, "at" FROM (FROM annotations WHERE run_id = ? AND position = {OF_RUN} '
        "QUALIFY row_number() OVER (PARTITION BY name ORDER BY event_id DESC) = 1) "
        "WHERE value IS NOT NULL ORDER BY name",
        [run_id],
    )

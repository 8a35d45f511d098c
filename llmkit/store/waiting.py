"""Reading what runs wait for: requests that were handed in with a batch and have no outcome."""

from __future__ import annotations

from typing import Any

import duckdb

from llmkit.store.queries import rows


def open_in_batches(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The requests of a run that were handed in, or about to be, and have no outcome: position, turn, attempt, batch,
    batch_id (NULL where the provider was not heard to have taken it), started_at, worst_case.
    """
    return rows(
        connection,
        "SELECT position, turn, attempt, batch, batch_id, started_at, worst_case FROM open_attempts "
        "LEFT JOIN run_batches USING (run_id, batch) WHERE run_id = ? AND batch IS NOT NULL ORDER BY ALL",
        [run_id],
    )


def in_batches(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, int]]:
    """Of each run that waits for batches, how many requests are back, and how many there were in all."""
    found = connection.execute(
        "WITH asked AS (SELECT run_id, count(batch) AS n FROM intents GROUP BY run_id), "
        "waiting AS (SELECT run_id, count(batch) AS n FROM open_attempts GROUP BY run_id) "
        "SELECT run_id, a.n - w.n, a.n FROM asked a JOIN waiting w USING (run_id) WHERE w.n > 0"
    )
    return {run_id: (back, total) for run_id, back, total in found.fetchall()}

"""Answers bought earlier, looked up by the request that would be sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from llmkit.store.queries import rows


class Question(NamedTuple):
    """A request to be sent, by its hash; ``source`` is the probe that the turns before it were reused from."""

    position: int
    turn: int
    request_hash: str
    model: str
    sample: int
    source: str | None


def answers(
    connection: duckdb.DuckDBPyConnection, questions: Sequence[Question], *, simulated: bool, since: datetime | None
) -> list[dict[str, Any]]:
    """The latest answer to each question that has one; a question asked repeatedly gets a different answer each time.

    Keys: position, source (the probe that it was bought for), response, finish_reason, model_version, service_tier,
    usage, cost, answered_at, latency_s.
    """
    connection.register("questions", pa.Table.from_pylist([each._asdict() for each in questions]))
    try:
        return rows(
            connection,
            """
            WITH numbered AS (
                SELECT * REPLACE (source::VARCHAR AS source), unhex(request_hash) AS hash,
                    row_number() OVER (PARTITION BY request_hash, model, sample, source ORDER BY position) AS place
                FROM questions
            ), latest AS (
                SELECT q.position, o.run_id, o.position AS from_position, o.turn, o.attempt
                FROM numbered q JOIN intents i ON i.request_hash = q.hash AND i.turn = q.turn
                    JOIN outcomes o ON o.run_id = i.run_id AND o.position = i.position AND o.turn = i.turn
                        AND o.attempt = i.attempt
                    JOIN runs r ON r.id = i.run_id
                    JOIN run_arms a ON a.run_id = i.run_id AND a.arm = i.position % r.arms
                WHERE o.is_answer AND NOT o.is_superseded AND r.simulated = $simulated AND a.model = q.model
                    AND coalesce(o.response, o.response_at, o.response_pieces::VARCHAR) IS NOT NULL
                    AND a.sample = q.sample AND ($since::TIMESTAMP IS NULL OR o.ended_at >= $since)
                QUALIFY place = row_number() OVER (
                    PARTITION BY q.position
                    ORDER BY q.source IS NOT DISTINCT FROM o.run_id || format('.{:06d}', o.position) DESC,
                        o.ended_at DESC, o.run_id DESC, o.position
                )
            )
            SELECT f.position, t.probe_id AS source, t.response, t.finish_reason, t.model_version, t.service_tier,
                t.usage, t.cost, t.answered_at, t.latency_s
            FROM latest f JOIN turns t ON t.run_id = f.run_id AND t.position = f.from_position AND t.turn = f.turn
            ORDER BY f.position
            """,
            {
                "simulated": simulated,
                "since": None if since is None else since.astimezone(UTC).replace(tzinfo=None),
            },
        )
    finally:
        connection.unregister("questions")

"""Answers bought earlier, looked up by the request that would be sent again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from llmkit.records import Completion, FinishReason, Usage


class Question(NamedTuple):
    """A request to be sent, by its hash; ``source`` is the probe that the turns before it were reused from."""

    position: int
    turn: int
    request_hash: str
    model: str
    sample: int
    source: str | None


class StoredAnswer(NamedTuple):
    """An answer with the probe that it was bought for (``source``), its cost then, and its time (ISO 8601).
    It is reused at ``position``. ``usage`` is JSON. If answers are only counted, it and ``response`` are not read.
    """

    position: int
    source: str
    response: str
    usage: str | None
    finish_reason: FinishReason
    model_version: str | None
    service_tier: str | None
    cost: Decimal | None
    answered_at: str
    latency_s: float

    @property
    def completion(self) -> Completion:
        """The answer itself; made when it is needed, since most of those looked up are only counted."""
        return stored_completion({**self._asdict(), "usage": self.usage and json.loads(self.usage)})


def stored_completion(row: Mapping[str, Any]) -> Completion:
    """The answer in a row of ``turns``."""
    return Completion(
        text=row["response"] or "",
        finish_reason=row["finish_reason"],
        usage=Usage.from_row(row["usage"]) if row["usage"] else None,
        model_version=row["model_version"],
        service_tier=row["service_tier"],
    )


def answers(
    connection: duckdb.DuckDBPyConnection,
    questions: Sequence[Question],
    *,
    simulated: bool,
    since: datetime | None,
    only_count: bool = False,
) -> list[StoredAnswer]:
    """The latest answer to each question that has one, by position; a question asked repeatedly gets a different answer
    each time. Those of a replica only come where there are no others: it is to be compared with them, not to mix in.
    """
    columns = zip(*questions, strict=True)
    texts = "'' AS response, NULL AS usage" if only_count else "coalesce(t.response, '') AS response, t.usage"
    connection.register("questions", pa.table(dict(zip(Question._fields, map(list, columns), strict=True))))
    try:
        cursor = connection.execute(
            f"""
            WITH numbered AS (
                SELECT * REPLACE (source::VARCHAR AS source), unhex(request_hash) AS hash,
                    row_number() OVER (PARTITION BY request_hash, model, sample, source ORDER BY position) AS place
                FROM questions
            ), latest AS (
                SELECT q.position, o.run_id, o.position AS from_position, o.turn, o.attempt
                FROM numbered q JOIN intents i ON i.request_hash = q.hash AND i.turn = q.turn
                    JOIN outcomes o ON o.run_id = i.run_id AND o.position = i.position AND o.turn = i.turn
                        AND o.attempt = i.attempt
                    JOIN (SELECT *, settings ->> '$.replicates' IS NOT NULL AS is_replica FROM runs) r
                        ON r.id = i.run_id
                    JOIN run_arms a ON a.run_id = i.run_id AND a.arm = i.position % r.arms
                WHERE o.is_answer AND NOT o.is_superseded AND r.simulated = $simulated AND a.model = q.model
                    AND coalesce(o.response, o.response_at, o.response_pieces::VARCHAR) IS NOT NULL
                    AND a.sample = q.sample AND ($since::TIMESTAMP IS NULL OR o.ended_at >= $since)
                QUALIFY place = row_number() OVER (
                    PARTITION BY q.position
                    ORDER BY q.source IS NOT DISTINCT FROM o.run_id || format('.{{:06d}}', o.position) DESC,
                        r.is_replica, o.ended_at DESC, o.run_id DESC, o.position
                )
            )
            SELECT f.position, t.probe_id AS source, {texts}, t.finish_reason, t.model_version, t.service_tier, t.cost,
                strftime(t.answered_at, '%Y-%m-%dT%H:%M:%S.%f+00:00'), coalesce(t.latency_s, 0)
            FROM latest f JOIN turns t ON t.run_id = f.run_id AND t.position = f.from_position AND t.turn = f.turn
            ORDER BY f.position
            """,
            {
                "simulated": simulated,
                "since": None if since is None else since.astimezone(UTC).replace(tzinfo=None),
            },
        )
        return list(map(StoredAnswer._make, cursor.fetchall()))
    finally:
        connection.unregister("questions")

"""Queries over past runs: answers to estimate from, and estimates compared with actual costs."""

from __future__ import annotations

from typing import Any

import duckdb

from llmkit.store.queries import rows


def answers(
    connection: duckdb.DuckDBPyConnection, *, kind: str, simulated: bool, per_template: int, most: int
) -> list[dict[str, Any]]:
    """The latest answers whose usage is known, oldest first; of each model and template at most ``per_template``.

    Keys: provider, model, template, schema (JSON text), effort, input_chars (of everything sent except the
    schema), usage, seconds.
    """
    return rows(
        connection,
        """
        WITH latest AS (
            SELECT o.run_id, o.position, o.turn, o.ended_at AS answered_at, a.provider, a.model, s.template,
                coalesce(a.system, s.system) AS system, json_extract_string(s.messages, '$[*].content') AS messages,
                (o.position % r.arms) * json_array_length(r.models) // r.arms + 1 AS place
            FROM outcomes o JOIN runs r ON r.id = o.run_id
                JOIN run_arms a ON a.run_id = o.run_id AND a.arm = o.position % r.arms
                JOIN run_scenarios s ON s.run_id = o.run_id AND s.scenario = o.position // r.arms
            WHERE r.kind = ? AND r.simulated = ? AND o.is_answer AND o.attempt > 0 AND NOT o.is_superseded
                AND o.input_tokens IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY a.model, s.template ORDER BY o.ended_at DESC) <= ?
            ORDER BY o.ended_at DESC LIMIT ?
        ), sent AS (
            SELECT run_id, position, turn, usage, latency_s, sum(length(prompt)) OVER so_far
                + coalesce(sum(length(response)) OVER (so_far ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
                AS chars
            FROM turns SEMI JOIN latest USING (run_id, position)
            WINDOW so_far AS (PARTITION BY run_id, position ORDER BY turn)
        ), settings AS (
            SELECT id, json_extract_string(settings, '$.params.reasoning_effort') AS effort,
                json_extract(settings, '$.params.schema')::VARCHAR AS schema, unnest(models::JSON[]) AS m,
                generate_subscripts(models::JSON[], 1) AS place
            FROM runs
        )
        SELECT l.provider, l.model, l.template, s.usage, s.latency_s AS seconds,
            (coalesce(length(l.system), 0) + coalesce(length(array_to_string(l.messages, '')), 0) + s.chars)::BIGINT
                AS input_chars,
            CASE WHEN NOT coalesce(list_contains(p.left_out::VARCHAR[], 'schema'), false)
                THEN nullif(a.schema, 'null') END AS schema,
            coalesce(
                CASE WHEN NOT coalesce(list_contains(p.left_out::VARCHAR[], 'reasoning_effort'), false)
                    THEN coalesce(json_extract_string(a.m, '$.how.reasoning_effort'), a.effort) END,
                json_extract_string(a.m, '$.api_config.default_reasoning_effort')
            ) AS effort
        FROM latest l JOIN sent s USING (run_id, position, turn)
            LEFT JOIN results p USING (run_id, position)
            JOIN settings a ON a.id = l.run_id AND a.place = l.place
        ORDER BY l.answered_at, l.run_id, l.position, l.turn
        """,
        [kind, simulated, per_template, most],
    )


def estimates(connection: duckdb.DuckDBPyConnection, *, simulated: bool) -> list[dict[str, Any]]:
    """Each completed run that was estimated, by model, with what it cost; oldest first.

    Keys: run_id, name, started_at, estimate (as it was stored), model, config, probes, ok, unpriced, actual.
    """
    return rows(
        connection,
        """
        SELECT r.id AS run_id, r.name, r.started_at, r.estimate, p.model, p.config, count(*) AS probes,
            count(*) FILTER (p.status = 'ok') AS ok, count(*) FILTER (p.cost_source LIKE '%unpriced') AS unpriced,
            sum(p.estimated_cost)::DECIMAL(38, 10) AS actual
        FROM runs r JOIN probe_states p ON p.run_id = r.id
        WHERE r.status = 'completed' AND r.simulated = ? AND r.estimate IS NOT NULL
        GROUP BY ALL ORDER BY r.started_at, r.id, min(p.position)
        """,
        [simulated],
    )

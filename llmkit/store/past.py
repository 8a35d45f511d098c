"""Queries over past runs: answers to estimate from, and estimates compared with actual costs."""

from __future__ import annotations

from typing import Any

import duckdb

from llmkit.records import TOKEN_COLUMNS
from llmkit.store.queries import rows


def answers(
    connection: duckdb.DuckDBPyConnection, *, kind: str, simulated: bool, per_template: int, most: int
) -> list[dict[str, Any]]:
    """The latest answers with known usage, oldest first; at most ``per_template`` per model and template.

    Keys: provider, model, template, schema (JSON text), effort, input_chars (bytes of everything that was sent except
    the schema), usage (of all attempts of the turn, including failed ones that were billed), seconds, is_cut, turn,
    scenario, run. Turns that were billed but never answered are included.
    """
    if connection.execute("FROM runs WHERE kind = ? AND simulated = ? LIMIT 1", [kind, simulated]).fetchone() is None:
        return []  # planning the query below takes a tenth of a small run's time
    names = (*TOKEN_COLUMNS, "cache_write_1h_tokens")
    sums = ", ".join(f"'{name}': coalesce(sum({name}), 0)::BIGINT" for name in names)
    return rows(
        connection,
        f"""
        WITH billed AS (
            SELECT run_id, position, turn, max(ended_at) AS answered_at, max(latency_s)
                FILTER (is_answer AND NOT starts_with(coalesce(service_tier, ''), 'batch')) AS seconds,
                coalesce(arg_max(finish_reason, attempt) = 'length', false) AS is_cut, {{{sums}}} AS usage
            FROM outcomes WHERE input_tokens IS NOT NULL AND attempt > 0 GROUP BY ALL
        ), latest AS (
            SELECT b.*, a.provider, a.model, s.template,
                (b.position % r.arms) * json_array_length(r.models) // r.arms + 1 AS place,
                hash(s.prompt, coalesce(a.system, s.system)) AS scenario,
                list_sum(list_transform([coalesce(a.system, s.system), s.prompt]
                    || coalesce(json_extract_string(s.messages, '$[*].content'), [])
                    || coalesce(json_extract_string(s.followups, '$[*]'), [])[: b.turn - 1],
                    lambda text: coalesce(strlen(text), 0))) AS own
            FROM billed b JOIN runs r ON r.id = b.run_id
                JOIN run_arms a ON a.run_id = b.run_id AND a.arm = b.position % r.arms
                JOIN run_scenarios s ON s.run_id = b.run_id AND s.scenario = b.position // r.arms
            WHERE r.kind = ? AND r.simulated = ? AND s.prompt IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY a.model, s.template ORDER BY b.answered_at DESC) <= ?
            ORDER BY b.answered_at DESC LIMIT ?
        ), before AS (
            SELECT run_id, position, turn + 1 AS turn,
                sum(strlen(response)) OVER (PARTITION BY run_id, position ORDER BY turn) AS answers
            FROM turns SEMI JOIN latest USING (run_id, position)
        ), settings AS (
            SELECT id, json_extract_string(settings, '$.params.reasoning_effort') AS effort,
                json_extract(settings, '$.params.schema')::VARCHAR AS schema, unnest(models::JSON[]) AS m,
                generate_subscripts(models::JSON[], 1) AS place
            FROM runs
        )
        SELECT l.provider, l.model, l.template, l.usage, l.seconds, l.is_cut, l.turn, l.scenario, l.run_id AS run,
            (l.own + coalesce(b.answers, 0))::BIGINT AS input_chars,
            CASE WHEN NOT coalesce(list_contains(p.left_out::VARCHAR[], 'schema'), false)
                THEN nullif(a.schema, 'null') END AS schema,
            coalesce(
                CASE WHEN NOT coalesce(list_contains(p.left_out::VARCHAR[], 'reasoning_effort'), false)
                    THEN coalesce(json_extract_string(a.m, '$.how.reasoning_effort'), a.effort) END,
                json_extract_string(a.m, '$.api_config.default_reasoning_effort')
            ) AS effort
        FROM latest l LEFT JOIN before b USING (run_id, position, turn)
            LEFT JOIN results p USING (run_id, position)
            JOIN settings a ON a.id = l.run_id AND a.place = l.place
        ORDER BY l.answered_at, l.run_id, l.position, l.turn
        """,
        [kind, simulated, per_template, most],
    )


def estimates(connection: duckdb.DuckDBPyConnection, *, simulated: bool) -> list[dict[str, Any]]:
    """Each completed run that was estimated, by configuration, with its actual cost; oldest first.

    Keys: run_id, name, started_at, estimate (as stored), model, config, probes, ok, unpriced, actual.
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

"""The step that keeps each text once: probes, turns and attempts become views of what a run tells and what happened."""

from __future__ import annotations

import duckdb

RATES = """
    cost_input_per_million DECIMAL(18, 8) CHECK (cost_input_per_million >= 0),
    cost_output_per_million DECIMAL(18, 8) CHECK (cost_output_per_million >= 0),
    cost_cached_input_per_million DECIMAL(18, 8) CHECK (cost_cached_input_per_million >= 0),
    cost_cache_write_per_million DECIMAL(18, 8) CHECK (cost_cache_write_per_million >= 0),
    cost_cache_write_1h_per_million DECIMAL(18, 8) CHECK (cost_cache_write_1h_per_million >= 0)"""

TOKENS = """
    input_tokens BIGINT,
    cached_input_tokens BIGINT,
    cache_write_tokens BIGINT,
    output_tokens BIGINT,
    reasoning_tokens BIGINT"""


def derive_probes(connection: duckdb.DuckDBPyConnection) -> None:
    """Each text once, and no row for a probe before it was asked: what is known from the run itself is derived.

    ``runs`` × ``run_scenarios`` × ``run_arms`` is the grid; ``intents``, ``outcomes`` and ``results`` are what happened
    in it. The tables ``probes``, ``turns`` and ``attempts`` of before become views of that name.
    """
    connection.execute(f"""
        CREATE TABLE run_scenarios (
            run_id VARCHAR, scenario BIGINT, scenario_id VARCHAR NOT NULL, prompt VARCHAR NOT NULL, system VARCHAR,
            followups JSON, dimensions JSON, template VARCHAR, PRIMARY KEY (run_id, scenario)
        );
        CREATE TABLE run_arms (
            run_id VARCHAR, arm BIGINT, provider VARCHAR NOT NULL, model VARCHAR NOT NULL, sample INTEGER NOT NULL,
            cost_input_per_million DECIMAL(18, 8), cost_output_per_million DECIMAL(18, 8), price_snapshot JSON,
            PRIMARY KEY (run_id, arm)
        );
        CREATE TABLE run_states (
            event_id VARCHAR PRIMARY KEY, run_id VARCHAR NOT NULL, number INTEGER NOT NULL, status VARCHAR NOT NULL,
            message VARCHAR, again JSON, "at" TIMESTAMP NOT NULL
        );
        CREATE TABLE run_skips (
            event_id VARCHAR PRIMARY KEY, run_id VARCHAR NOT NULL, session INTEGER NOT NULL, reference VARCHAR NOT NULL,
            error_code VARCHAR, error_message VARCHAR
        );
        CREATE TABLE intents (
            run_id VARCHAR, position BIGINT, turn INTEGER, attempt INTEGER, started_at TIMESTAMP, waited_s DOUBLE,
            wait_reason VARCHAR, worst_case DECIMAL(18, 10), dropped JSON, request_hash BLOB, request VARCHAR,
            PRIMARY KEY (run_id, position, turn, attempt)
        );
        CREATE TABLE outcomes (
            run_id VARCHAR, position BIGINT, turn INTEGER, attempt INTEGER, ended_at TIMESTAMP, status_code INTEGER,
            error_code VARCHAR, error_message VARCHAR, latency_s DOUBLE, request_id VARCHAR, maybe_billed BOOLEAN,
            reply VARCHAR, {TOKENS}, cache_write_1h_tokens BIGINT, reported_cost VARCHAR, cost DECIMAL(18, 10),
            cost_source VARCHAR, is_answer BOOLEAN, is_superseded BOOLEAN, response VARCHAR, response_at VARCHAR,
            finish_reason VARCHAR, model_version VARCHAR, {RATES},
            PRIMARY KEY (run_id, position, turn, attempt)
        );
        CREATE TABLE results (
            run_id VARCHAR, position BIGINT, session INTEGER NOT NULL, status VARCHAR, error_code VARCHAR,
            error_message VARCHAR, retryable BOOLEAN, answer JSON, finish_reason VARCHAR, model_version VARCHAR,
            {TOKENS}, cost_input_per_million DECIMAL(18, 8), cost_output_per_million DECIMAL(18, 8),
            estimated_cost DECIMAL(18, 10), wasted_cost DECIMAL(18, 10), cost_source VARCHAR, turns INTEGER,
            attempts INTEGER, maybe_billed INTEGER, left_out JSON, latency_s DOUBLE, queued_s DOUBLE,
            started_at TIMESTAMP, completed_at TIMESTAMP, PRIMARY KEY (run_id, position)
        );
        CREATE TABLE journal_quarantine (
            segment VARCHAR, "offset" BIGINT, reason VARCHAR NOT NULL, line BLOB NOT NULL,
            PRIMARY KEY (segment, "offset")
        );
        ALTER TABLE journal_segments ADD COLUMN next_seq BIGINT;
        ALTER TABLE journal_segments ADD COLUMN header VARCHAR;
        ALTER TABLE runs RENAME TO old_runs;
        CREATE TABLE runs (
            id VARCHAR PRIMARY KEY, name VARCHAR, kind VARCHAR NOT NULL, status VARCHAR NOT NULL, message VARCHAR,
            simulated BOOLEAN NOT NULL, n_probes BIGINT NOT NULL, settings JSON NOT NULL, models JSON NOT NULL,
            estimate JSON, started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP, arms BIGINT NOT NULL,
            session INTEGER NOT NULL DEFAULT 0
        );
        INSERT INTO runs SELECT id, name, kind, status, message, simulated, n_probes, settings, models, estimate,
            started_at, ended_at, json_array_length(models) * json_extract(settings, '$.samples')::BIGINT, 0
        FROM old_runs;
        INSERT INTO run_scenarios
        SELECT id, unnest(range(len(s))), unnest(s).scenario_id, unnest(s).prompt, unnest(s).system,
            unnest(s).followups, unnest(s).dimensions, unnest(s).template
        FROM (
            SELECT id, from_json(scenarios, '[{{"scenario_id": "VARCHAR", "prompt": "VARCHAR", "system": "VARCHAR",
                "followups": "JSON", "dimensions": "JSON", "template": "VARCHAR"}}]') AS s FROM old_runs
        );
        INSERT INTO run_arms
        SELECT p.run_id, p.position, any_value(p.provider), any_value(p.model), any_value(p.sample),
            any_value(p.cost_input_per_million), any_value(p.cost_output_per_million), any_value(p.price_snapshot)
        FROM probes p JOIN runs r ON r.id = p.run_id WHERE p.position < r.arms GROUP BY ALL;
        INSERT INTO run_states SELECT id || '-migrated', id, 0, status, message, NULL, coalesce(ended_at, started_at)
        FROM runs WHERE status != 'running';
        INSERT INTO intents
        SELECT a.run_id, p.position, a.turn, a.attempt, a.started_at, a.waited_s, a.wait_reason, a.worst_case, NULL,
            NULL, a.request
        FROM attempts a JOIN probes p ON p.probe_id = a.probe_id;
        INSERT INTO outcomes
        SELECT a.run_id, p.position, a.turn, a.attempt, a.ended_at, a.status_code, a.error_code, a.error_message,
            a.latency_s, a.request_id, a.maybe_billed, a.reply, u.input_tokens, u.cached_input_tokens,
            u.cache_write_tokens, u.output_tokens, u.reasoning_tokens, u.cache_write_1h_tokens, u.reported_cost, a.cost,
            a.cost_source, a.error_code IS NULL, a.error_code IS NULL AND t.attempt_id IS NULL, t.response, NULL,
            t.finish_reason, t.model_version, t.cost_input_per_million, t.cost_output_per_million,
            t.cost_cached_input_per_million, t.cost_cache_write_per_million, t.cost_cache_write_1h_per_million
        FROM (
            SELECT *, from_json(usage, '{{"input_tokens": "BIGINT", "cached_input_tokens": "BIGINT",
                "cache_write_tokens": "BIGINT", "output_tokens": "BIGINT", "reasoning_tokens": "BIGINT",
                "cache_write_1h_tokens": "BIGINT", "reported_cost": "VARCHAR"}}') AS u
            FROM attempts WHERE ended_at IS NOT NULL
        ) a JOIN probes p ON p.probe_id = a.probe_id LEFT JOIN turns t ON t.attempt_id = a.attempt_id;
        INSERT INTO results
        SELECT run_id, position, 0, nullif(status, 'pending'), error_code, error_message, retryable, answer,
            finish_reason, model_version, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,
            reasoning_tokens, cost_input_per_million, cost_output_per_million, estimated_cost, wasted_cost, cost_source,
            turns, attempts, maybe_billed, left_out, latency_s, queued_s, started_at, completed_at
        FROM probes WHERE status != 'pending' OR attempts > 0;
        DROP TABLE probes;
        DROP TABLE turns;
        DROP TABLE attempts;
        DROP TABLE old_runs;
    """)
    for name, query in _VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")


_ID = "r.id || format('.{{:06d}}', {})"
_VIEWS = {
    # requests that may be under way, or whose process died; most runs have none, which their counts tell
    "open_attempts": """
        WITH open AS (
            SELECT run_id FROM (SELECT run_id, count(*) AS n FROM intents GROUP BY run_id) i
                LEFT JOIN (SELECT run_id, count(*) AS n FROM outcomes GROUP BY run_id) o USING (run_id)
            WHERE i.n != coalesce(o.n, 0)
        )
        SELECT i.run_id, i.position, i.turn, i.attempt, i.started_at, i.worst_case
        FROM (FROM intents SEMI JOIN open USING (run_id)) i
            ANTI JOIN (FROM outcomes SEMI JOIN open USING (run_id)) o
            ON o.run_id = i.run_id AND o.position = i.position AND o.turn = i.turn AND o.attempt = i.attempt""",
    "probe_states": f"""
        SELECT {_ID.format("s.scenario * r.arms + a.arm")} AS probe_id, r.id AS run_id,
            s.scenario * r.arms + a.arm AS position, s.scenario_id, s.prompt, s.system, s.followups, s.dimensions,
            a.provider, a.model, a.sample,
            coalesce(q.status, CASE WHEN k.run_id IS NOT NULL THEN 'skipped' WHEN r.status = 'cancelled'
                THEN 'cancelled' ELSE 'pending' END) AS status,
            CASE WHEN q.status IS NOT NULL THEN q.error_code WHEN k.run_id IS NOT NULL THEN k.error_code
                WHEN r.status = 'cancelled' THEN 'CANCELLED' END AS error_code,
            CASE WHEN q.status IS NOT NULL THEN q.error_message WHEN k.run_id IS NOT NULL THEN k.error_message
                WHEN r.status = 'cancelled' THEN 'The run was cancelled before this was asked.' END AS error_message,
            CASE WHEN q.status IS NOT NULL THEN q.retryable WHEN k.run_id IS NOT NULL THEN false
                WHEN r.status = 'cancelled' THEN true END AS retryable,
            q.answer, q.finish_reason, q.model_version, q.input_tokens, q.cached_input_tokens, q.cache_write_tokens,
            q.output_tokens, q.reasoning_tokens,
            coalesce(q.cost_input_per_million, a.cost_input_per_million) AS cost_input_per_million,
            coalesce(q.cost_output_per_million, a.cost_output_per_million) AS cost_output_per_million,
            a.price_snapshot, q.estimated_cost, q.wasted_cost, q.cost_source, coalesce(q.turns, 0) AS turns,
            coalesce(q.attempts, 0) AS attempts, coalesce(q.maybe_billed, 0) AS maybe_billed, q.left_out, q.latency_s,
            q.queued_s, q.started_at, q.completed_at, r.simulated, s.template
        FROM runs r JOIN run_scenarios s ON s.run_id = r.id JOIN run_arms a ON a.run_id = r.id
            LEFT JOIN results q ON q.run_id = s.run_id AND q.position = s.scenario * r.arms + a.arm
            LEFT JOIN (
                SELECT b.run_id, b.arm, min_by(k.error_code, k.event_id) AS error_code,
                    min_by(k.error_message, k.event_id) AS error_message
                FROM run_skips k JOIN runs USING (session) JOIN run_arms b
                    ON b.run_id = k.run_id AND k.reference IN (b.provider, b.model)
                WHERE runs.id = k.run_id GROUP BY b.run_id, b.arm
            ) k ON k.run_id = a.run_id AND k.arm = a.arm""",
    "probes": """
        SELECT p.* EXCLUDE (template), coalesce(o.response, json_extract_string(o.reply, o.response_at)) AS response,
            p.template
        FROM probe_states p LEFT JOIN outcomes o ON o.run_id = p.run_id AND o.position = p.position
            AND o.turn = p.turns AND o.is_answer AND NOT o.is_superseded AND p.completed_at IS NOT NULL""",
    "turns": f"""
        SELECT {_ID.format("o.position")} AS probe_id, o.turn, o.run_id,
            {_ID.format("o.position")} || '.' || o.turn || '.' || o.attempt AS attempt_id,
            CASE WHEN o.turn = 1 THEN s.prompt ELSE json_extract_string(s.followups, '$[' || (o.turn - 2) || ']')
                END AS prompt,
            coalesce(o.response, json_extract_string(o.reply, o.response_at)) AS response, o.finish_reason,
            o.model_version, o.request_id, o.input_tokens, o.cached_input_tokens, o.cache_write_tokens, o.output_tokens,
            o.reasoning_tokens, o.cost_input_per_million, o.cost_output_per_million, o.cost_cached_input_per_million,
            o.cost_cache_write_per_million, o.cost_cache_write_1h_per_million,
            CASE WHEN o.input_tokens IS NOT NULL THEN json_object('input_tokens', o.input_tokens,
                'output_tokens', o.output_tokens, 'cached_input_tokens', o.cached_input_tokens,
                'cache_write_tokens', o.cache_write_tokens, 'cache_write_1h_tokens', o.cache_write_1h_tokens,
                'reasoning_tokens', o.reasoning_tokens, 'reported_cost', o.reported_cost) END AS usage,
            o.cost, o.cost_source, o.latency_s, o.ended_at AS answered_at, o.position
        FROM outcomes o JOIN runs r ON r.id = o.run_id
            JOIN run_scenarios s ON s.run_id = o.run_id AND s.scenario = o.position // r.arms
        WHERE o.is_answer AND NOT o.is_superseded""",
    "attempts": f"""
        SELECT {_ID.format("i.position")} || '.' || i.turn || '.' || i.attempt AS attempt_id, i.run_id,
            {_ID.format("i.position")} AS probe_id, i.turn, i.attempt, a.provider, a.model, i.started_at, o.ended_at,
            o.status_code, o.error_code, o.error_message, o.latency_s, i.waited_s, i.wait_reason, o.request_id,
            coalesce(o.maybe_billed, false) AS maybe_billed, i.request, o.reply,
            CASE WHEN o.input_tokens IS NOT NULL THEN json_object('input_tokens', o.input_tokens,
                'output_tokens', o.output_tokens, 'cached_input_tokens', o.cached_input_tokens,
                'cache_write_tokens', o.cache_write_tokens, 'cache_write_1h_tokens', o.cache_write_1h_tokens,
                'reasoning_tokens', o.reasoning_tokens, 'reported_cost', o.reported_cost) END AS usage,
            o.cost, o.cost_source, i.worst_case, i.position, i.dropped, i.request_hash
        FROM intents i JOIN runs r ON r.id = i.run_id
            JOIN run_arms a ON a.run_id = i.run_id AND a.arm = i.position % r.arms
            LEFT JOIN outcomes o ON o.run_id = i.run_id AND o.position = i.position AND o.turn = i.turn
                AND o.attempt = i.attempt""",
}
"""A step that changes one drops it and makes it anew."""

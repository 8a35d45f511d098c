"""The step that stores each text once, making probes, turns and attempts views (``schema.py``), and the later steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

import duckdb

from llmkit.records.rows import dumps
from llmkit.store import schema
from llmkit.store.events import body_hash

Step: TypeAlias = str | Callable[[duckdb.DuckDBPyConnection], None]
"""A migration: SQL, or a function where that is not enough."""

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

LONG = "USING COMPRESSION zstd"
"""For texts of a kilobyte: half the size and half the time to write compared with DuckDB's own choice."""


def derive_probes(connection: duckdb.DuckDBPyConnection) -> None:
    """Store each text once, and no row for a probe before it is sent: what follows from the run itself is derived.

    ``runs`` × ``run_scenarios`` × ``run_arms`` is the grid; ``intents``, ``outcomes`` and ``results`` are what happened
    in it. Views replace the earlier tables ``probes``, ``turns`` and ``attempts``.
    """
    is_older = ("probes", "position") in schema.columns(connection)
    if is_older:
        connection.execute("ALTER TABLE runs RENAME TO old_runs")
    connection.execute(f"""
        CREATE TABLE run_scenarios (
            run_id VARCHAR, scenario BIGINT, scenario_id VARCHAR NOT NULL, prompt VARCHAR NOT NULL {LONG},
            system VARCHAR, followups JSON, dimensions JSON, template VARCHAR, PRIMARY KEY (run_id, scenario)
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
            reply VARCHAR {LONG}, {TOKENS}, cache_write_1h_tokens BIGINT, reported_cost VARCHAR,
            cost DECIMAL(18, 10), cost_source VARCHAR, is_answer BOOLEAN, is_superseded BOOLEAN, response VARCHAR,
            response_at VARCHAR, finish_reason VARCHAR, model_version VARCHAR, {RATES},
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
        CREATE TABLE runs (
            id VARCHAR PRIMARY KEY, name VARCHAR, kind VARCHAR NOT NULL, status VARCHAR NOT NULL, message VARCHAR,
            simulated BOOLEAN NOT NULL, n_probes BIGINT NOT NULL, settings JSON NOT NULL, models JSON NOT NULL,
            estimate JSON, started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP, arms BIGINT NOT NULL,
            session INTEGER NOT NULL DEFAULT 0
        );
    """)
    if is_older:
        _convert(connection)


def _convert(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("""
        INSERT INTO runs SELECT id, name, kind, status, message, simulated, n_probes, settings, models, estimate,
            started_at, ended_at, json_array_length(models) * json_extract(settings, '$.samples')::BIGINT, 0
        FROM old_runs;
        INSERT INTO run_scenarios
        SELECT id, unnest(range(len(s))), unnest(s).scenario_id, unnest(s).prompt, unnest(s).system,
            unnest(s).followups, unnest(s).dimensions, unnest(s).template
        FROM (
            SELECT id, from_json(scenarios, '[{"scenario_id": "VARCHAR", "prompt": "VARCHAR", "system": "VARCHAR",
                "followups": "JSON", "dimensions": "JSON", "template": "VARCHAR"}]') AS s FROM old_runs
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
            SELECT *, from_json(usage, '{"input_tokens": "BIGINT", "cached_input_tokens": "BIGINT",
                "cache_write_tokens": "BIGINT", "output_tokens": "BIGINT", "reasoning_tokens": "BIGINT",
                "cache_write_1h_tokens": "BIGINT", "reported_cost": "VARCHAR"}') AS u
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


def hash_requests(connection: duckdb.DuckDBPyConnection) -> None:
    """Hash the requests that earlier versions stored in full, so that they are recognised too."""
    stored = connection.execute(
        "SELECT DISTINCT request FROM intents WHERE request_hash IS NULL AND request IS NOT NULL"
    )
    for (request,) in stored.fetchall():
        value = bytes.fromhex(body_hash(dumps(json.loads(request))))
        connection.execute("UPDATE intents SET request_hash = ? WHERE request = ?", [value, request])


STEPS: Mapping[str, Step] = {
    "derive_probes": derive_probes,
    "hash_requests": hash_requests,
    # notes on answers: the latest of each person under each name
    "add_annotations": """
        CREATE TABLE annotations (
            run_id VARCHAR, position BIGINT, name VARCHAR, actor VARCHAR, value JSON, "at" TIMESTAMP NOT NULL,
            event_id VARCHAR NOT NULL, PRIMARY KEY (run_id, position, name, actor)
        )
    """,
    # the providers' ids for the batches of runs
    "add_batches": """
        CREATE TABLE run_batches (
            run_id VARCHAR, batch VARCHAR, batch_id VARCHAR NOT NULL, event_id VARCHAR NOT NULL,
            PRIMARY KEY (run_id, batch)
        )
    """,
    # for runs whose texts are only in an archive
    "let_texts_go": "ALTER TABLE run_scenarios ALTER prompt DROP NOT NULL",
    # nothing: the name makes earlier versions, which cannot read packs, refuse the database
    "pack_segments": "",
    # replies and answers of more than a megabyte, in pieces: DuckDB reads and recompresses 2,048 values of a column at
    # once, so that with ten replies of 16 MB in the table of the others, each new one took 300 MB of memory
    "split_long_texts": f"""
        CREATE TABLE text_pieces (
            run_id VARCHAR, position BIGINT, turn INTEGER, attempt INTEGER, name VARCHAR, piece INTEGER,
            part INTEGER, text VARCHAR NOT NULL {LONG},
            PRIMARY KEY (run_id, position, turn, attempt, name, piece, part)
        )
    """,
    # nothing: views changed
    "await_batches": "",
    # so that rows inserted with plain SQL need none
    "default_times": "".join(
        f"ALTER TABLE {table} ALTER {time} SET DEFAULT (now() AT TIME ZONE 'UTC');"
        for table in ("llm_providers", "llm_models")
        for time in ("created_at", "updated_at")
    ),
}
"""By name, append only."""

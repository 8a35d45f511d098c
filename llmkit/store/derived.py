"""The migrations since each text is stored once, when probes, turns and attempts became views (``schema.py``)."""

from __future__ import annotations

from collections.abc import Mapping

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

STEPS: Mapping[str, str] = {
    # ``runs`` × ``run_scenarios`` × ``run_arms`` is the grid of probes; ``intents``, ``outcomes`` and ``results`` are
    # what happened in it
    "derive_probes": f"""
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
    """,
    "hash_requests": "",
    "add_annotations": """
        CREATE TABLE annotations (
            run_id VARCHAR, position BIGINT, name VARCHAR, actor VARCHAR, value JSON, "at" TIMESTAMP NOT NULL,
            event_id VARCHAR NOT NULL, PRIMARY KEY (run_id, position, name, actor)
        )
    """,
    "add_batches": """
        CREATE TABLE run_batches (
            run_id VARCHAR, batch VARCHAR, batch_id VARCHAR NOT NULL, event_id VARCHAR NOT NULL,
            PRIMARY KEY (run_id, batch)
        )
    """,
    # for runs whose texts are only in an archive
    "let_texts_go": "ALTER TABLE run_scenarios ALTER prompt DROP NOT NULL",
    # this name makes earlier versions, which cannot read packs, refuse the database
    "pack_segments": "",
    # replies and answers of more than a megabyte: DuckDB reads and recompresses 2,048 values of a column at once, and
    # with ten replies of 16 MB in the table of the others, each new one took 300 MB of memory
    "split_long_texts": f"""
        CREATE TABLE text_pieces (
            run_id VARCHAR, position BIGINT, turn INTEGER, attempt INTEGER, name VARCHAR, piece INTEGER,
            part INTEGER, text VARCHAR NOT NULL {LONG},
            PRIMARY KEY (run_id, position, turn, attempt, name, piece, part)
        )
    """,
}
"""SQL by name, append only."""

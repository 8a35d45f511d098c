"""The columns that records declare, and the views: a database gets new ones when it is opened."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields

import duckdb

from llmkit.records import RATE_COLUMNS, TOKEN_COLUMNS, Usage
from llmkit.records.columns import RESULT

USAGE: Mapping[str, str] = {f.name: "VARCHAR" if f.name == "reported_cost" else "BIGINT" for f in fields(Usage)}
RATES: Mapping[str, str] = dict.fromkeys(RATE_COLUMNS, "DECIMAL(18, 8)")
"""The fields of usage and rates in the journal and the tables, with SQL types."""
REUSE: Mapping[str, str] = {"reused_from": "VARCHAR", "original_cost": "DECIMAL(18, 10)"}
"""Columns of a reused answer: the probe that it was bought for, and what it cost there."""
PIECES: Mapping[str, str] = {"reply_pieces": "INTEGER", "response_pieces": "INTEGER"}
"""Columns with the number of pieces of a reply or answer so long that it is kept in ``text_pieces``."""
STATES = ("ok", "failed", "skipped", "cancelled", "pending")
COUNTS = ", ".join(f"count(*) FILTER (status = '{state}') AS {state}" for state in STATES)
"""SQL that counts probes by status."""
UNKNOWN = "cost_source LIKE '%unpriced' OR estimated_cost IS NULL AND maybe_billed > 0"
"""SQL for probes that were, or may have been, billed at a cost not fully known."""
LOST = "batch IS NULL AND worst_case IS DISTINCT FROM 0"
"""SQL for open attempts that may have been billed: neither still to come in a batch, nor of a free model."""
PRICES: Mapping[str, str] = {**RATES, "cost_per_thousand_searches": RATES[RATE_COLUMNS[0]], "price_variants": "JSON"}
"""Price columns of catalog tables, including those added since the first version."""

_DECLARED: Mapping[str, Mapping[str, str]] = {
    "results": RESULT,
    "outcomes": {**USAGE, **RATES, "service_tier": "VARCHAR", **REUSE, **PIECES},
    "runs": {"event_id": "VARCHAR"},
    "run_states": {"changes": "JSON"},
    "provider_balance_deductions": {"so_far": "DECIMAL(18, 10)"},
    "intents": {"batch": "VARCHAR"},
    "run_scenarios": {"messages": "JSON", "question": "JSON"},
    "run_arms": {"config": "VARCHAR", "system": "VARCHAR"},
    "llm_models": PRICES,
    "llm_model_prices": PRICES,
}
"""Tables whose columns are declared elsewhere: a missing column is added when a database is opened."""


def columns(connection: duckdb.DuckDBPyConnection) -> set[tuple[str, str]]:
    """The columns of all tables, as pairs of table and column."""
    result = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND database_name = current_database()"
    )
    return set(result.fetchall())


def missing(present: Collection[tuple[str, str]]) -> dict[str, str]:
    """The declared columns that a database lacks, as ``table.column``, with the SQL that adds them."""
    return {
        f"{table}.{name}": f"ALTER TABLE {table} ADD COLUMN {name} {kind}"
        for table, declared in _DECLARED.items()
        for name, kind in declared.items()
        if (table, name) not in present
    }


def _of(table: str, names: Iterable[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)


def _shown(name: str, when_cancelled: str) -> str:
    """A result column for probes that include skipped ones and ones never begun in a cancelled run."""
    skipped = "false" if name == "retryable" else f"k.{name}"
    return f"""CASE WHEN w.run_id IS NOT NULL THEN NULL WHEN q.status IS NOT NULL THEN q.{name}
                WHEN k.run_id IS NOT NULL THEN {skipped} WHEN r.status = 'cancelled' THEN {when_cancelled} END"""


_UNTIL_ASKED: Mapping[str, str] = {
    "status": """CASE WHEN w.run_id IS NOT NULL THEN 'pending' WHEN q.status IS NOT NULL THEN q.status
                WHEN k.run_id IS NOT NULL THEN 'skipped' WHEN r.status = 'cancelled' THEN 'cancelled'
                ELSE 'pending' END""",
    "error_code": _shown("error_code", "'CANCELLED'"),
    "error_message": _shown("error_message", "'The run was cancelled before this was asked.'"),
    "retryable": _shown("retryable", "true"),
    **{name: f"coalesce(q.{name}, a.{name})" for name in ("cost_input_per_million", "cost_output_per_million")},
    "turns": "coalesce(q.turns, 0)",
    "attempts": "coalesce(q.attempts, 0) + (w.run_id IS NOT NULL AND q.status IS NULL)::INTEGER",
    "maybe_billed": "coalesce(q.maybe_billed, 0) - (w.run_id IS NOT NULL AND q.status IS NOT NULL)::INTEGER",
    "completed_at": "CASE WHEN w.run_id IS NULL THEN q.completed_at END",
}
"""Result columns that have a value for probes without a result too. What waits in a batch (``w``), which outlives its
process, is pending, and not lost: if it was cancelled, that is how it was counted."""
_RESULT = ", ".join(f"{_UNTIL_ASKED.get(name, f'q.{name}')} AS {name}" for name in RESULT)
_USAGE = f"""CASE WHEN o.input_tokens IS NOT NULL OR o.reported_cost IS NOT NULL
                THEN json_object({", ".join(f"'{n}', o.{n}" for n in USAGE)}) END"""
_LONG = """LEFT JOIN long_texts {0} ON {0}.run_id = o.run_id AND {0}.position = o.position AND {0}.turn = o.turn
                AND {0}.attempt = o.attempt AND {0}.name = '{0}' AND {0}.pieces = o.{0}_pieces"""
_RESPONSE = "coalesce(o.response, response.text, json_extract_string(o.reply, o.response_at)) AS response"
_ID = "r.id || format('.{{:06d}}', {})"
VIEWS: Mapping[str, str] = {
    # requests in flight, or whose process died; most runs have none, as comparing counts shows cheaply
    "open_attempts": """
        WITH open AS (
            SELECT run_id FROM (SELECT run_id, count(*) AS n FROM intents GROUP BY run_id) i
                LEFT JOIN (SELECT run_id, count(*) AS n FROM outcomes WHERE attempt > 0 GROUP BY run_id) o
                    USING (run_id)
            WHERE i.n != coalesce(o.n, 0)
        )
        SELECT i.run_id, i.position, i.turn, i.attempt, i.started_at, i.worst_case, i.batch
        FROM (FROM intents SEMI JOIN open USING (run_id)) i
            ANTI JOIN (FROM outcomes SEMI JOIN open USING (run_id)) o
            ON o.run_id = i.run_id AND o.position = i.position AND o.turn = i.turn AND o.attempt = i.attempt""",
    # NULL rather than with a gap: who joins them compares the number of pieces
    "long_texts": """
        SELECT run_id, position, turn, attempt, name, string_agg(text, '' ORDER BY piece, part) AS text,
            count(*) FILTER (part = 0) AS pieces
        FROM text_pieces GROUP BY ALL""",
    "probe_states": f"""
        SELECT {_ID.format("s.scenario * r.arms + a.arm")} AS probe_id, r.id AS run_id,
            s.scenario * r.arms + a.arm AS position, s.scenario_id, s.prompt, coalesce(a.system, s.system) AS system,
            s.followups, s.dimensions, a.provider, a.model, coalesce(a.config, a.model) AS config, a.sample,
            {_RESULT}, a.price_snapshot, r.simulated, s.template
        FROM runs r JOIN run_scenarios s ON s.run_id = r.id JOIN run_arms a ON a.run_id = r.id
            LEFT JOIN results q ON q.run_id = s.run_id AND q.position = s.scenario * r.arms + a.arm
            LEFT JOIN (SELECT DISTINCT run_id, position FROM open_attempts WHERE batch IS NOT NULL) w
                ON w.run_id = s.run_id AND w.position = s.scenario * r.arms + a.arm
            LEFT JOIN (
                SELECT b.run_id, b.arm, min_by(k.error_code, k.event_id) AS error_code,
                    min_by(k.error_message, k.event_id) AS error_message
                FROM run_skips k JOIN runs USING (session) JOIN run_arms b
                    ON b.run_id = k.run_id AND k.reference IN (b.provider, b.model)
                WHERE runs.id = k.run_id GROUP BY b.run_id, b.arm
            ) k ON k.run_id = a.run_id AND k.arm = a.arm""",
    # the latest note under each name, whoever wrote it; none where it was withdrawn
    "probe_notes": """
        SELECT run_id, position, json_group_object(name, value) AS notes
        FROM (
            SELECT run_id, position, name, arg_max_null(value, event_id) AS value FROM annotations
            GROUP BY run_id, position, name HAVING arg_max_null(value, event_id) IS NOT NULL
        ) GROUP BY run_id, position""",
    "probes": f"""
        SELECT p.* EXCLUDE (template), {_RESPONSE}, p.template, n.notes
        FROM probe_states p LEFT JOIN probe_notes n ON n.run_id = p.run_id AND n.position = p.position
            LEFT JOIN outcomes o ON o.run_id = p.run_id AND o.position = p.position
            AND o.turn = p.turns AND o.is_answer AND NOT o.is_superseded AND p.completed_at IS NOT NULL
            {_LONG.format("response")}""",
    "turns": f"""
        SELECT {_ID.format("o.position")} AS probe_id, o.turn, o.run_id,
            {_ID.format("o.position")} || '.' || o.turn || '.' || o.attempt AS attempt_id,
            CASE WHEN o.turn = 1 THEN s.prompt ELSE json_extract_string(s.followups, '$[' || (o.turn - 2) || ']')
                END AS prompt,
            {_RESPONSE}, o.finish_reason, o.model_version, o.service_tier, o.request_id,
            {_of("o", TOKEN_COLUMNS)}, {_of("o", RATES)}, {_USAGE} AS usage, o.cost, o.cost_source, o.latency_s,
            o.ended_at AS answered_at, o.position,
            {_of("o", REUSE)}
        FROM outcomes o JOIN runs r ON r.id = o.run_id
            LEFT JOIN run_scenarios s -- an inner one would be joined before the runs: each answer with each scenario
                ON s.run_id = o.run_id AND s.scenario = o.position // r.arms
            {_LONG.format("response")}
        WHERE o.is_answer AND NOT o.is_superseded""",
    "attempts": f"""
        SELECT {_ID.format("i.position")} || '.' || i.turn || '.' || i.attempt AS attempt_id, i.run_id,
            {_ID.format("i.position")} AS probe_id, i.turn, i.attempt, a.provider, a.model, i.started_at, o.ended_at,
            o.status_code, o.error_code, o.error_message, o.latency_s, i.waited_s, i.wait_reason, o.request_id,
            coalesce(o.maybe_billed, false) AS maybe_billed, i.request,
            coalesce(o.reply, reply.text) AS reply,
            {_USAGE} AS usage, o.service_tier, o.cost, o.cost_source, i.worst_case, i.position, i.dropped,
            i.request_hash, i.batch
        FROM intents i JOIN runs r ON r.id = i.run_id
            JOIN run_arms a ON a.run_id = i.run_id AND a.arm = i.position % r.arms
            LEFT JOIN outcomes o ON o.run_id = i.run_id AND o.position = i.position AND o.turn = i.turn
                AND o.attempt = i.attempt
            {_LONG.format("reply")}""",
}
"""To change one, add an empty migration step: all views are recreated after any step."""

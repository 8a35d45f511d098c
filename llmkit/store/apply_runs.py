"""Turn lines of runs into rows, in SQL: DuckDB parses the JSON, which Python never decodes.

Each statement can be repeated, and gives the same rows whatever the order of the lines.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from llmkit.records import PRICE_COLUMNS, TOKEN_COLUMNS
from llmkit.records.columns import RESULT
from llmkit.store.events import ARCHIVE, OF_RUN
from llmkit.store.heads import OUTCOME_TEXTS, SCENARIO_TEXTS
from llmkit.store.run_lines import RunLines
from llmkit.store.schema import PIECES, RATES, REUSE, USAGE
from llmkit.store.segments import HEAD

_KEY = {"position": "BIGINT", "turn": "INTEGER", "attempt": "INTEGER"}
_SCENARIO = {
    "scenario_id": "VARCHAR", "prompt": "VARCHAR", "system": "VARCHAR", "followups": "JSON", "dimensions": "JSON",
    "template": "VARCHAR", "messages": "JSON", "question": "JSON",
}  # fmt: skip
_RUN = {
    "name": "VARCHAR", "kind": "VARCHAR", "simulated": "BOOLEAN", "settings": "JSON", "models": "JSON",
    "samples": "BIGINT", "n_scenarios": "BIGINT", "estimate": "JSON", "at": "TIMESTAMP",
}  # fmt: skip
_INTENT = {
    **_KEY, "started_at": "TIMESTAMP", "waited_s": "DOUBLE", "wait_reason": "VARCHAR", "worst_case": "DECIMAL(18, 10)",
    "dropped": "JSON", "batch": "VARCHAR", "request_hash": "VARCHAR", "request": "VARCHAR",
}  # fmt: skip
_ANSWER = {
    "response": "VARCHAR", "response_at": "VARCHAR", "finish_reason": "VARCHAR", "model_version": "VARCHAR",
    **RATES,
}  # fmt: skip
_OUTCOME = {
    **_KEY, "ended_at": "TIMESTAMP", "status_code": "INTEGER", "error_code": "VARCHAR", "error_message": "VARCHAR",
    "latency_s": "DOUBLE", "request_id": "VARCHAR", "maybe_billed": "BOOLEAN", "reply": "VARCHAR",
    "service_tier": "VARCHAR", "cost": "DECIMAL(18, 10)", "cost_source": "VARCHAR", **REUSE, **PIECES,
}  # fmt: skip
_PART = 2_000
"""Characters per row of a long text: DuckDB recompresses 16,384 rows at once."""
_TEXT = {**_KEY, "name": "VARCHAR", "piece": "INTEGER", "text": "VARCHAR"}
_RESULT = {"position": "BIGINT", "session": "INTEGER", **RESULT}
_TOLD = {
    **{name: f"e.usage.{name}" for name in TOKEN_COLUMNS},
    **{name: f"e.answer.{name}" for name in ("finish_reason", "model_version", *list(RATES)[:2])},
    **{name: f"e.{name}" for name in ("service_tier", "cost_source", "latency_s")},
    "estimated_cost": "e.cost", "completed_at": "e.ended_at", "status": "'ok'", "turns": "1", "attempts": "1",
    "wasted_cost": "0", "maybe_billed": "0",
}  # fmt: skip
"""Columns of a probe's result that follow from its only outcome; its line has the others (:func:`untold`)."""
_ALONE = {"session": "INTEGER", **{name: kind for name, kind in RESULT.items() if name not in _TOLD}}
_SHORT = {
    **{name: kind for name, kind in _OUTCOME.items() if name != "reply"}, "usage": USAGE, "probe": _ALONE,
    "answer": {name: kind for name, kind in _ANSWER.items() if name != "response"},
}  # fmt: skip
"""The fields of an outcome except its texts."""
_STATE = {
    "number": "INTEGER", "status": "VARCHAR", "message": "VARCHAR", "again": "JSON", "at": "TIMESTAMP", "spent": "JSON",
    "spent_so_far": "JSON", "changes": "JSON",
}  # fmt: skip
_SKIP = {"session": "INTEGER", "reference": "VARCHAR", "error_code": "VARCHAR", "error_message": "VARCHAR"}
_NOTE = {"position": "BIGINT", "name": "VARCHAR", "value": "JSON", "actor": "VARCHAR", "at": "TIMESTAMP"}
_PRICES = (*PRICE_COLUMNS, "batch_discount", "default_costs")


def _parsed(kind: str, shape: Mapping[str, object]) -> str:
    """The lines of one type as a table with a struct ``e``."""
    return f"(SELECT run_id, event_id, from_json(line, '{json.dumps(shape)}') AS e FROM incoming_{kind})"


def _fields(names: Sequence[str], struct: str = "e") -> str:
    return ", ".join(f'{struct}."{name}"' for name in names)


def _set(names: Sequence[str], value: str = "excluded.{}") -> str:
    return ", ".join(f"{name} = {value.format(name)}" for name in names)


def _text(table: str) -> str:
    return f"coalesce({', '.join(f'{table}.{name}::VARCHAR' for name in OUTCOME_TEXTS)})"


_DROPPED = f"""run_id IN (FROM incoming) AND run_id IN (
            SELECT run_id FROM annotations WHERE position = {OF_RUN} AND name = '{ARCHIVE}')"""
_AT_KEY = "o.run_id = n.run_id AND o.position = n.position"
_AGAIN = "/* applied before? */"
"""In a statement, before what new lines do not need: looking for earlier ones takes a third of the time."""
_SCENARIOS = f"""
    SELECT run_id, first + unnest(range(len(s))) AS scenario,
        {", ".join(f"unnest(s).{name} AS {name}" for name in _SCENARIO)}
    FROM (
        SELECT run_id, e.first, e.scenarios AS s
        FROM {_parsed("scenarios", {"first": "BIGINT", "scenarios": [_SCENARIO]})}
    )"""
_LATEST = f"""ON CONFLICT DO UPDATE SET {_set(list(_RESULT)[1:])}
        WHERE results.status IS NULL OR excluded.session >= results.session"""


def _spent(positions: str) -> str:
    """Note what probes in progress took: an interrupted run has spent it even if its probes never end."""
    known = ("estimated_cost", *TOKEN_COLUMNS, "turns", "attempts", "maybe_billed", "started_at")
    return f"""
        INSERT INTO results BY NAME
        SELECT o.run_id, o.position, 0 AS session, TRY_CAST(sum(o.cost) AS DECIMAL(18, 10)) AS estimated_cost,
            {", ".join(f"sum(o.{name})::BIGINT AS {name}" for name in TOKEN_COLUMNS)},
            count(*) FILTER (o.is_answer AND NOT o.is_superseded) AS turns, count(*) FILTER (o.attempt > 0) AS attempts,
            count(*) FILTER (o.maybe_billed) AS maybe_billed, min(i.started_at) AS started_at
        FROM outcomes o SEMI JOIN {positions} n ON {_AT_KEY}
            ANTI JOIN (FROM results WHERE status IS NOT NULL AND run_id IN (FROM incoming)) n ON {_AT_KEY}
            LEFT JOIN intents i USING (run_id, position, turn, attempt) GROUP BY o.run_id, o.position
        ON CONFLICT DO UPDATE SET {_set(known)}
        WHERE results.status IS NULL"""


_STATEMENTS = (
    ("scenarios", f"INSERT INTO run_scenarios BY NAME {_SCENARIOS} {_AGAIN} ON CONFLICT DO NOTHING"),
    ("run", f"""
        INSERT INTO runs
        SELECT run_id, e.name, e.kind, 'running', NULL, e.simulated,
            e.n_scenarios * json_array_length(e.models) * e.samples, e.settings, e.models, e.estimate, e."at", NULL,
            json_array_length(e.models) * e.samples, 0, event_id
        FROM {_parsed("run", _RUN)} {_AGAIN} ON CONFLICT DO NOTHING"""),
    ("run", f"""
        INSERT INTO run_arms BY NAME
        SELECT run_id, arm, m ->> '$.provider' AS provider,
            (m ->> '$.provider') || ':' || (m ->> '$.model_id') AS model, m ->> '$.config' AS config,
            m ->> '$.system' AS system, arm % samples + 1 AS sample,
            TRY_CAST(m ->> '$.cost_input_per_million' AS DECIMAL(18, 8)) AS cost_input_per_million,
            TRY_CAST(m ->> '$.cost_output_per_million' AS DECIMAL(18, 8)) AS cost_output_per_million,
            json_object({", ".join(f"'{name}', m -> '$.{name}'" for name in _PRICES)}) AS price_snapshot
        FROM (
            SELECT run_id, arm, samples, json_extract(models, '$[' || (arm // samples) || ']') AS m
            FROM (
                SELECT run_id, e.samples AS samples, e.models AS models,
                    unnest(range((json_array_length(e.models) * e.samples)::BIGINT)) AS arm
                FROM {_parsed("run", _RUN)}
            )
        ) {_AGAIN} ON CONFLICT DO NOTHING"""),
    ("skip", f"""
        INSERT INTO run_skips SELECT event_id, run_id, {_fields(list(_SKIP))} FROM {_parsed("skip", _SKIP)}
        {_AGAIN} ON CONFLICT DO NOTHING"""),
    ("run_state", f"""
        INSERT INTO run_states BY NAME
        SELECT event_id, run_id, e.number, e.status, e.message, e.again, e."at", e.changes
        FROM {_parsed("run_state", _STATE)} {_AGAIN} ON CONFLICT DO NOTHING"""),
    ("run_state", f"""
        INSERT INTO provider_balance_deductions BY NAME
        SELECT event_id, provider, run_id, TRY_CAST(e.spent ->> provider AS DECIMAL(18, 10)) AS amount, e."at",
            TRY_CAST(e.spent_so_far ->> provider AS DECIMAL(18, 10)) AS so_far
        FROM (SELECT *, unnest(json_keys(e.spent)) AS provider FROM {_parsed("run_state", _STATE)})
        WHERE amount IS NOT NULL {_AGAIN} ON CONFLICT DO NOTHING"""),
    ("run run_state", """
        UPDATE runs SET status = s.status, message = s.message, session = s.session,
            ended_at = CASE WHEN s.status != 'running' THEN s."at" END
        FROM (
            SELECT *, coalesce(max(number) FILTER (status = 'running') OVER (PARTITION BY run_id), 0) AS session
            FROM run_states WHERE run_id IN (FROM incoming)
            QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY number DESC, event_id DESC) = 1
        ) s WHERE s.run_id = runs.id"""),
    ("intent", f"""
        INSERT INTO intents BY NAME
        SELECT run_id, {_fields(list(_INTENT)[:-2])}, unhex(e.request_hash) AS request_hash, e.request
        FROM {_parsed("intent", _INTENT)} {_AGAIN} ON CONFLICT DO NOTHING"""),
    ("batch", f"""
        INSERT INTO run_batches SELECT run_id, e.batch, e.batch_id, event_id
        FROM {_parsed("batch", {"batch": "VARCHAR", "batch_id": "VARCHAR"})}
        QUALIFY row_number() OVER (PARTITION BY run_id, e.batch ORDER BY event_id DESC) = 1
        ON CONFLICT DO UPDATE SET batch_id = excluded.batch_id, event_id = excluded.event_id
        WHERE excluded.event_id > run_batches.event_id"""),
    ("text", f"""
        INSERT INTO text_pieces BY NAME
        SELECT run_id, {_fields(list(_TEXT)[:-1])}, unnest(range(length(e.text) // {_PART} + 1)) AS part,
            substring(e.text, part * {_PART} + 1, {_PART}) AS text
        FROM {_parsed("text", _TEXT)} {_AGAIN} ON CONFLICT DO NOTHING"""),
    ("outcome answer", f"""
        INSERT INTO outcomes BY NAME
        SELECT run_id, {_fields(list(_OUTCOME))}, {_fields(list(USAGE), "e.usage")},
            {_fields(list(_ANSWER), "e.answer")}, e.answer IS NOT NULL AS is_answer, false AS is_superseded
        FROM {_parsed("outcome", {**_OUTCOME, "usage": USAGE, "answer": _ANSWER})} {_AGAIN} ON CONFLICT DO NOTHING"""),
    ("outcome answer", f"""
        CREATE OR REPLACE TEMP TABLE new_outcomes AS
        SELECT run_id, {_fields(list(_KEY))}, {_fields(list(_ALONE), "e.probe")},
            {", ".join(f"{how} AS {name}" for name, how in _TOLD.items())}
        FROM {_parsed("outcome", _SHORT)}"""),
    ("outcome answer", f"""
        INSERT INTO intents BY NAME SELECT DISTINCT run_id, {", ".join(_KEY)} FROM temp.new_outcomes WHERE attempt > 0
        ON CONFLICT DO NOTHING"""),
    ("outcome", """
        UPDATE outcomes SET is_superseded = true
        FROM (
            SELECT o.* FROM outcomes o SEMI JOIN temp.new_outcomes n ON n.run_id = o.run_id
            WHERE o.attempt > 1 AND o.is_answer
        ) later
        WHERE later.run_id = outcomes.run_id AND later.position = outcomes.position AND later.turn = outcomes.turn
            AND later.attempt > outcomes.attempt AND outcomes.is_answer AND NOT outcomes.is_superseded"""),
    ("probe", f"""
        INSERT INTO results BY NAME
        SELECT run_id, {_fields(list(_RESULT))} FROM {_parsed("probe", _RESULT)}
        QUALIFY row_number() OVER (PARTITION BY run_id, e.position ORDER BY e.session DESC, event_id DESC) = 1
        {_LATEST}"""),
    ("answer", f"""
        INSERT INTO results BY NAME
        SELECT * EXCLUDE (turn, attempt) FROM temp.new_outcomes WHERE session IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY run_id, position ORDER BY session DESC) = 1
        {_AGAIN} {_LATEST}"""),
    ("outcome", _spent("temp.new_outcomes")),
    ("note", f"""
        INSERT INTO annotations BY NAME
        SELECT run_id, event_id, {_fields(list(_NOTE))} FROM {_parsed("note", _NOTE)}
        QUALIFY row_number() OVER (PARTITION BY run_id, e.position, e.name, e.actor ORDER BY event_id DESC) = 1
        ON CONFLICT DO UPDATE SET {_set(("event_id", "value", '"at"'))}
        WHERE excluded.event_id > annotations.event_id"""),
)  # fmt: skip
_SELDOM = (
    ("run note", "name", f"""
        UPDATE runs SET name = nullif(n.notes ->> '$.name', '') FROM probe_notes n
        WHERE n.run_id = runs.id AND n.run_id IN (SELECT run_id FROM incoming) AND n.position = {OF_RUN}
            AND json_exists(n.notes, '$.name')"""),
    # resumed: probes without an answer are pending again, whatever of their next session was applied before
    ("probe run_state", "resumed", f"""
        UPDATE results SET {_set(("status", "error_code", "error_message", "retryable", "attempts"), "NULL")}
        FROM run_states s WHERE s.run_id = results.run_id AND s.run_id IN (FROM incoming) AND s.status = 'running'
            AND results.session < s.number AND (results.status IN ('cancelled', 'skipped')
                OR results.status = 'failed' AND list_contains(s.again::VARCHAR[], results.error_code))"""),
    ("probe run_state", "resumed", _spent("(FROM results WHERE attempts IS NULL AND run_id IN (FROM incoming))")),
    # the texts of lines whose heads came first
    ("scenarios", HEAD, f"""
        UPDATE run_scenarios o SET {_set(SCENARIO_TEXTS, "n.{}")} FROM ({_SCENARIOS}) n
        WHERE o.run_id = n.run_id AND o.scenario = n.scenario AND o.prompt IS NULL AND n.prompt IS NOT NULL"""),
    ("outcome answer", HEAD, f"""
        UPDATE outcomes o SET {_set(OUTCOME_TEXTS, "n.{}")} FROM (
            SELECT run_id, {_fields(list(_OUTCOME))}, {_fields(list(_ANSWER), "e.answer")}
            FROM {_parsed("outcome", {**_OUTCOME, "answer": _ANSWER})}
        ) n WHERE {_AT_KEY} AND o.turn = n.turn AND o.attempt = n.attempt
            AND {_text("o")} IS NULL AND {_text("n")} IS NOT NULL"""),
    ("note scenarios", ARCHIVE, f"UPDATE run_scenarios SET {_set(SCENARIO_TEXTS, 'NULL')} WHERE {_DROPPED}"),
    ("note intent", ARCHIVE, f"UPDATE intents SET request = NULL WHERE {_DROPPED}"),
    ("note outcome answer", ARCHIVE, f"UPDATE outcomes SET {_set(OUTCOME_TEXTS, 'NULL')} WHERE {_DROPPED}"),
    ("note text", ARCHIVE, f"DELETE FROM text_pieces WHERE {_DROPPED}"),
)  # fmt: skip
"""Statements that change nothing unless the run has such a note, was resumed, or came without its texts first."""
_OCCASIONS = f"""
    SELECT name FROM annotations WHERE run_id IN (FROM incoming) AND position = {OF_RUN}
    UNION ALL SELECT 'resumed' FROM run_states WHERE run_id IN (FROM incoming) AND status = 'running'
    UNION ALL SELECT '{HEAD}' FROM journal_segments JOIN incoming ON contains(segment, run_id)
    WHERE ends_with(segment, '{HEAD}')"""

TYPES = frozenset(kind for kinds, _ in _STATEMENTS for kind in kinds.split())
"""The line types of runs."""


def untold(result: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a probe's result that its only outcome does not tell, without those that are empty."""
    return {name: result[name] for name in _ALONE if result.get(name) is not None}


def prepare() -> None:
    """Load what :func:`apply_lines` needs: to be called before a run begins.

    With its first array pyarrow loads its pandas support. At the end of a script stopped by Ctrl-C that is too late:
    any ``eval`` after the interrupt, such as a named tuple's, makes Python exit with 1 instead of by the signal.
    """
    pa.array([], pa.string())


def apply_lines(connection: duckdb.DuckDBPyConnection, lines: Mapping[str, RunLines], *, are_new: bool = False) -> None:
    """Apply the lines of runs, given by type; ``are_new`` spares looking for those that were applied before.

    Raises:
        duckdb.ConstraintException: some of them were applied before, or do not fit.
    """
    kinds = lines.keys()
    if "answer" in kinds:
        outcomes = lines["answer"] + lines.get("outcome", RunLines())
        lines = {**{kind: few for kind, few in lines.items() if kind != "answer"}, "outcome": outcomes}
    tables = {f"incoming_{kind}": few.table() for kind, few in lines.items()}
    run_ids = sorted({run_id for few in lines.values() for run_id in few.run_id})
    tables["incoming"] = pa.table({"run_id": pa.array(run_ids, pa.string())})
    try:
        for name, table in tables.items():
            connection.register(name, table)
        for of, statement in _STATEMENTS:
            if not kinds.isdisjoint(of.split()):
                connection.execute(statement.partition(_AGAIN)[0] if are_new else statement)
        occasions = {name for (name,) in connection.execute(_OCCASIONS).fetchall()}
        for of, occasion, statement in _SELDOM:
            if occasion in occasions and not kinds.isdisjoint(of.split()):
                connection.execute(statement)
    finally:
        for name in tables:
            with contextlib.suppress(duckdb.TransactionException):  # the next batch replaces it
                connection.unregister(name)

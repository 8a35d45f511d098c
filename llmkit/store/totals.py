"""What was spent: by run, by request, by probe. Sums are DECIMAL, and nothing is priced here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb

from llmkit.store.apply_catalog import deducted
from llmkit.store.queries import column, rows
from llmkit.store.schema import COUNTS, LOST


def total_cost(connection: duckdb.DuckDBPyConnection, run_id: str) -> Decimal:
    """The exact sum of the known costs of a run."""
    total = "SELECT coalesce(sum(estimated_cost), 0)::DECIMAL(38, 10) FROM results WHERE run_id = ?"
    return Decimal(column(connection, total, [run_id])[0])


def tally(connection: duckdb.DuckDBPyConnection, run_id: str, *, is_live: bool) -> dict[str, Any]:
    """The state of a run: its probes by status, ``cost`` (what is known, exact), and ``unknown``, how many probes are
    unpriced and how many requests without an answer may have been billed. Open ones of a live run are in flight.
    """
    return rows(
        connection,
        f"""
        SELECT {COUNTS}, coalesce(sum(estimated_cost), 0)::DECIMAL(38, 10) AS cost,
            count(*) FILTER (cost_source LIKE '%unpriced') + coalesce(sum(maybe_billed), 0)::BIGINT
                + (SELECT count(*) FROM open_attempts WHERE run_id = $1 AND {LOST} AND NOT $2) AS "unknown"
        FROM probe_states WHERE run_id = $1
        """,
        [run_id, is_live],
    )[0]


def by_configuration(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The state of each configuration of a run, in the order of the plan.

    Columns: config, probes, ok, failed, unasked, cut (ok, but cut off at a token limit), reused, sources (the runs
    that answers were reused from), tiers (which served answers; empty if the provider named none), left_out
    (parameters not sent), input_tokens, output_tokens, cost (what is known, exact), original_cost (of what was
    reused), unpriced, and maybe_billed (requests whose answers were lost).
    """
    return rows(
        connection,
        f"""
        SELECT config, count(*) AS probes, count(*) FILTER (status = 'ok') AS ok,
            count(*) FILTER (status = 'failed') AS failed,
            count(*) FILTER (status NOT IN ('ok', 'failed')) AS unasked,
            count(*) FILTER (status = 'ok' AND finish_reason = 'length') AS cut,
            count(*) FILTER (reused_from IS NOT NULL) AS reused,
            coalesce(list(DISTINCT split_part(reused_from, '.', 1)) FILTER (reused_from IS NOT NULL), []) AS sources,
            list_sort(coalesce(list(DISTINCT coalesce(service_tier, '')) FILTER (status = 'ok'), [])) AS tiers,
            list_sort(list_distinct(flatten(
                coalesce(list(left_out::VARCHAR[]) FILTER (json_type(left_out) = 'ARRAY'), [])))) AS left_out,
            sum(input_tokens)::BIGINT AS input_tokens, sum(output_tokens)::BIGINT AS output_tokens,
            coalesce(sum(estimated_cost), 0)::DECIMAL(38, 10) AS cost,
            coalesce(sum(original_cost), 0)::DECIMAL(38, 10) AS original_cost,
            count(*) FILTER (cost_source LIKE '%unpriced') AS unpriced,
            sum(maybe_billed + coalesce(in_flight, 0))::BIGINT AS maybe_billed
        FROM probe_states LEFT JOIN (
            SELECT run_id, position, count(*) AS in_flight FROM open_attempts WHERE {LOST} GROUP BY ALL
        ) USING (run_id, position)
        WHERE run_id = ? GROUP BY config ORDER BY min(position)
        """,
        [run_id],
    )


def unanswered(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """Counts of a run's probes without an answer, most frequent first: status, error_code, probes."""
    return rows(
        connection,
        "SELECT status, error_code, count(*) AS probes FROM probe_states WHERE run_id = ? AND status != 'ok' "
        "GROUP BY ALL ORDER BY probes DESC, status, error_code",
        [run_id],
    )


def sessions(connection: duckdb.DuckDBPyConnection, run_id: str) -> int:
    """How many times a run was started or resumed."""
    resumed = "SELECT count(DISTINCT number) FROM run_states WHERE run_id = ? AND status = 'running' AND number > 0"
    return 1 + int(column(connection, resumed, [run_id])[0])


def worst_unknown(connection: duckdb.DuckDBPyConnection, run_id: str) -> Decimal:
    """The most that a run's requests of unknown cost may have cost, exact."""
    unknown = "cost IS NULL AND (maybe_billed OR error_code IS NULL)"
    most = f"coalesce(sum(worst_case) FILTER ({unknown}), 0)::DECIMAL(38, 10)"
    return Decimal(column(connection, f"SELECT {most} FROM attempts WHERE run_id = ?", [run_id])[0])


def spent(connection: duckdb.DuckDBPyConnection, run_id: str) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """What a run has cost by provider, and what of it was deducted from the balances: all but what a process that died
    had no time to deduct.
    """
    sums = "SELECT provider, {0}::DECIMAL(38, 10) AS total FROM {1} WHERE run_id = ? GROUP BY ALL HAVING total > 0"
    known = (("sum(cost)", "attempts"), (deducted(), "provider_balance_deductions"))
    cost, taken = (connection.execute(sums.format(*each), [run_id]).fetchall() for each in known)
    return dict(cost), dict(taken)


def unfinished(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The real runs that have not ended: they are running, or their process died."""
    return column(connection, "SELECT id FROM runs WHERE status = 'running' AND NOT simulated ORDER BY id")


def billed_attempts(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The requests of a run that were answered or billed, in the order of their probes: probe_id, model, started_at,
    usage, service_tier, cost, cost_source.
    """
    return rows(
        connection,
        "SELECT probe_id, model, started_at, usage, service_tier, cost, cost_source FROM attempts "
        "WHERE run_id = ? AND cost_source IS NOT NULL ORDER BY position, turn, attempt",
        [run_id],
    )


def probe_costs(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The cost of each probe of a run, in order: probe_id, scenario_id, model, sample, status, estimated_cost,
    cost_source.
    """
    return rows(
        connection,
        "SELECT probe_id, scenario_id, model, sample, status, estimated_cost, cost_source FROM probe_states "
        "WHERE run_id = ? ORDER BY position",
        [run_id],
    )


def committed(connection: duckdb.DuckDBPyConnection, *, simulated: bool) -> list[dict[str, Any]]:
    """What every run has, or may have, spent: run_id, project, provider, month (of the requests, UTC), amount (exact;
    requests of unknown cost at their worst case).
    """
    return rows(
        connection,
        """
        SELECT r.id AS run_id, json_extract_string(r.settings, '$.project') AS project, a.provider,
            strftime(i.started_at, '%Y-%m') AS month, sum(CASE
                WHEN o.cost IS NOT NULL THEN o.cost
                WHEN o.run_id IS NULL OR o.maybe_billed OR o.error_code IS NULL THEN coalesce(i.worst_case, 0)
                ELSE 0 END)::DECIMAL(38, 10) AS amount
        FROM intents i JOIN runs r ON r.id = i.run_id
            JOIN run_arms a ON a.run_id = i.run_id AND a.arm = i.position % r.arms
            LEFT JOIN outcomes o ON o.run_id = i.run_id AND o.position = i.position AND o.turn = i.turn
                AND o.attempt = i.attempt
        WHERE r.simulated = ? GROUP BY ALL HAVING amount > 0
        """,
        [simulated],
    )


def versions(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[dict[str, Any]]:
    """The versions in which each model of a run answered, oldest first: model, version, answers, first, last."""
    return rows(
        connection,
        """
        SELECT a.model, o.model_version AS version, count(*) AS answers, min(o.ended_at) AS first,
            max(o.ended_at) AS last
        FROM outcomes o JOIN runs r ON r.id = o.run_id
            JOIN run_arms a ON a.run_id = o.run_id AND a.arm = o.position % r.arms
        WHERE o.run_id = ? AND o.is_answer AND NOT o.is_superseded AND o.model_version IS NOT NULL
        GROUP BY a.model, o.model_version ORDER BY a.model, first, version
        """,
        [run_id],
    )


def latest_versions(connection: duckdb.DuckDBPyConnection, *, simulated: bool) -> dict[str, str]:
    """The version that answered last, in any run, by model."""
    result = connection.execute(
        "SELECT a.model, arg_max(o.model_version, o.ended_at) FROM outcomes o JOIN runs r ON r.id = o.run_id "
        "JOIN run_arms a ON a.run_id = o.run_id AND a.arm = o.position % r.arms "
        "WHERE o.is_answer AND o.model_version IS NOT NULL AND r.simulated = ? GROUP BY a.model",
        [simulated],
    )
    return dict(result.fetchall())


def billable(connection: duckdb.DuckDBPyConnection, provider: str, *, simulated: bool) -> list[dict[str, Any]]:
    """The requests to a provider that were, or may have been, billed: model, started_at, usage, cost, service_tier,
    worst_case.
    """
    return rows(
        connection,
        """
        SELECT a.model, a.started_at, a.usage, a.cost, a.service_tier, a.worst_case
        FROM attempts a JOIN runs r ON r.id = a.run_id
        WHERE a.provider = ? AND r.simulated = ? AND a.attempt > 0
            AND (a.cost IS NOT NULL OR a.cost_source IS NOT NULL OR a.maybe_billed OR a.ended_at IS NULL)
        ORDER BY a.started_at
        """,
        [provider, simulated],
    )

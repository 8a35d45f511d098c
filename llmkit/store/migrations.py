"""The database schema, as a list of numbered steps that is only ever appended to.

Steps run in one transaction with the record that they ran. Columns declared elsewhere need none: see ``schema.py``. No
foreign keys: DuckDB rejects many updates of referenced rows; the code checks instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import duckdb

from llmkit.errors import CatalogTooNew, ValidationError
from llmkit.records import dialect_before
from llmkit.store import schema
from llmkit.store.derived import RATES, STEPS, Step


def add_dialects(connection: duckdb.DuckDBPyConnection) -> None:
    """How a provider deviates from its wire, which used to follow from its name."""
    connection.execute("ALTER TABLE llm_providers ADD COLUMN dialect VARCHAR")
    for row in connection.execute("SELECT name, base_url FROM llm_providers").fetchall():
        connection.execute("UPDATE llm_providers SET dialect = ? WHERE name = ?", [dialect_before(*row), row[0]])


MIGRATIONS: Mapping[str, Step] = {
    # providers, models, dated prices, settings, events, balance checks, and how far each segment was applied
    "create_catalog": f"""
        CREATE TABLE llm_providers (
            id BIGINT PRIMARY KEY,
            name VARCHAR NOT NULL UNIQUE,
            display_name VARCHAR NOT NULL,
            wire VARCHAR NOT NULL,
            base_url VARCHAR NOT NULL,
            api_key_env VARCHAR,
            max_parallel_requests INTEGER NOT NULL DEFAULT 1 CHECK (max_parallel_requests >= 1),
            requests_per_minute INTEGER NOT NULL DEFAULT 60 CHECK (requests_per_minute >= 1),
            tokens_per_minute BIGINT CHECK (tokens_per_minute >= 1),
            is_enabled BOOLEAN NOT NULL DEFAULT true,
            default_cost_input_per_million DECIMAL(18, 8) CHECK (default_cost_input_per_million >= 0),
            default_cost_output_per_million DECIMAL(18, 8) CHECK (default_cost_output_per_million >= 0),
            balance DECIMAL(18, 10),
            created_at TIMESTAMP NOT NULL,
            updated_at TIMESTAMP NOT NULL
        );
        CREATE TABLE llm_models (
            id BIGINT PRIMARY KEY,
            provider_id BIGINT NOT NULL,
            model_id VARCHAR NOT NULL,
            display_name VARCHAR NOT NULL,
            {RATES},
            price_tiers JSON,
            price_windows JSON,
            batch_discount DECIMAL(18, 8) CHECK (batch_discount BETWEEN 0 AND 1),
            status VARCHAR NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'DEPRECATED')),
            is_default BOOLEAN NOT NULL DEFAULT false,
            context_window BIGINT,
            max_output_tokens BIGINT,
            retires_on DATE,
            api_config JSON,
            created_at TIMESTAMP NOT NULL,
            updated_at TIMESTAMP NOT NULL,
            UNIQUE (provider_id, model_id)
        );
        -- one default a provider; DuckDB has no partial indexes, but NULLs never collide
        CREATE UNIQUE INDEX one_default_per_provider ON llm_models ((CASE WHEN is_default THEN provider_id END));
        CREATE TABLE llm_model_prices (
            event_id VARCHAR PRIMARY KEY,
            reference VARCHAR NOT NULL,
            valid_from TIMESTAMP,
            {RATES},
            price_tiers JSON,
            price_windows JSON,
            source VARCHAR,
            read_on DATE
        );
        CREATE TABLE system_settings (
            id BIGINT PRIMARY KEY,
            key VARCHAR NOT NULL UNIQUE,
            value JSON,
            updated_at TIMESTAMP NOT NULL
        );
        CREATE TABLE catalog_events (
            event_id VARCHAR PRIMARY KEY,
            edit_id VARCHAR NOT NULL,
            "at" TIMESTAMP NOT NULL,
            actor VARCHAR NOT NULL,
            action VARCHAR NOT NULL,
            entity VARCHAR NOT NULL,
            reference VARCHAR NOT NULL,
            before JSON,
            after JSON
        );
        CREATE TABLE provider_balance_syncs (
            event_id VARCHAR PRIMARY KEY,
            provider VARCHAR NOT NULL,
            system_balance DECIMAL(18, 10),
            entered_balance DECIMAL(18, 10) NOT NULL,
            delta DECIMAL(18, 10),
            "at" TIMESTAMP NOT NULL
        );
        CREATE TABLE journal_segments (
            segment VARCHAR PRIMARY KEY,
            applied_bytes BIGINT NOT NULL,
            last_event_id VARCHAR NOT NULL
        );
    """,
    # nothing: new databases no longer get the tables that ``derive_probes`` drops
    "create_runs": "",
    # the template that a probe's prompt was made from, and what each run has deducted from balances
    "add_templates_and_deductions": """
        ALTER TABLE IF EXISTS probes ADD COLUMN template VARCHAR;
        CREATE TABLE provider_balance_deductions (
            event_id VARCHAR NOT NULL,
            provider VARCHAR NOT NULL,
            run_id VARCHAR NOT NULL,
            amount DECIMAL(18, 10) NOT NULL,
            "at" TIMESTAMP NOT NULL,
            PRIMARY KEY (event_id, provider)
        );
    """,
    "add_dialects": add_dialects,
    **STEPS,
}
"""By name, append only."""


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring an older or empty database to this version, in one transaction with the record of it.

    Raises:
        CatalogTooNew: a newer llmkit wrote the file.
        ValidationError: the file holds tables of another program.
    """
    columns = schema.columns(connection)
    applied = _applied(connection, columns)
    if _is_current(applied, columns):
        return
    steps = {name: step for name, step in MIGRATIONS.items() if name not in applied}
    connection.begin()
    if not applied:
        connection.execute('CREATE TABLE migrations (number INTEGER PRIMARY KEY, name VARCHAR, "at" TIMESTAMP)')
    for step in steps.values():
        if isinstance(step, str):
            connection.execute(step)
        else:
            step(connection)
    missing = schema.missing(schema.columns(connection))
    for statement in missing.values():
        connection.execute(statement)
    for name, query in schema.VIEWS.items():
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
    if names := [*steps, *missing]:
        first, at = max(applied.values(), default=0) + 1, datetime.now(UTC).replace(tzinfo=None)
        rows = [[number, name, at] for number, name in enumerate(names, first)]
        connection.executemany("INSERT INTO migrations VALUES (?, ?, ?)", rows)
    connection.commit()


def is_current(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether :func:`migrate` has nothing to do."""
    columns = schema.columns(connection)
    return _is_current(_applied(connection, columns), columns)


def _is_current(applied: Mapping[str, int], columns: set[tuple[str, str]]) -> bool:
    has_views = schema.VIEWS.keys() <= {table for table, _ in columns}
    return has_views and applied.keys() >= MIGRATIONS.keys() and not schema.missing(columns)


def _applied(connection: duckdb.DuckDBPyConnection, columns: set[tuple[str, str]]) -> dict[str, int]:
    """The numbers of the steps applied and columns added so far, by name; empty for an empty database."""
    if ("migrations", "number") not in columns:
        if columns:
            raise ValidationError(
                "This database belongs to another program: name another file for llmkit.", field="path"
            )
        return {}
    applied = dict(connection.execute("SELECT name, number FROM migrations").fetchall())
    if applied.keys() - MIGRATIONS.keys() - schema.missing(()).keys():
        raise CatalogTooNew(
            f"This database has format {max(applied.values())}, which this version of llmkit does not know yet. "
            "Upgrade llmkit (pip install -U llmkit) or open another file."
        )
    return applied

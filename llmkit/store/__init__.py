"""The only place that knows DuckDB: journal, lease, migrations, projection, queries."""

from duckdb import DuckDBPyConnection as Snapshot

from llmkit.store import bought, cost_tables, events, past, queries, totals
from llmkit.store.edit import Edit
from llmkit.store.lines import Event
from llmkit.store.queries import CatalogState
from llmkit.store.store import Store

__all__ = [
    "CatalogState",
    "Edit",
    "Event",
    "Snapshot",
    "Store",
    "bought",
    "cost_tables",
    "events",
    "past",
    "queries",
    "totals",
]

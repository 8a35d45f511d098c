"""Runs as Parquet: one folder per table, one partition per run, read by DuckDB wherever the files are.

``runs/ scenarios/ probes/ turns/ attempts/`` each hold ``run_id=<id>/part-0.parquet``. Money stays DECIMAL; dimensions
and answer fields are typed columns of ``probes``. A folder or any URL that fsspec supports will do.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import posixpath
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from llmkit.errors import ValidationError
from llmkit.records import TOKEN_COLUMNS
from llmkit.records.columns import answer_column, note_column
from llmkit.store.lease import CONFIG, confine
from llmkit.store.queries import answer_fields, column, dimension_names, pointer
from llmkit.store.schema import USAGE
from llmkit.store.tables import literal, quoted
from llmkit.store.trouble import words
from llmkit.store.user_sql import stoppable

T = TypeVar("T")

TABLES = ("attempts", "turns", "probes", "scenarios", "runs")
"""In the order of writing: a run listed in ``runs`` is complete."""

HIDDEN = ("answer", "dimensions", "notes", "position", "price_snapshot", "template")
"""Columns that ``run.probes`` lacks, or has with other values: what it shows under such a name is archived as
``<name>.``. ``answer`` holds, as JSON, everything read from each answer."""

PAGED = ("attempts", "turns", "probes")
PAGE = 50_000
"""Probes whose rows are held in memory at once."""


# the other tables that cost tables and groupings read, as views of the archived ones
_DERIVED = {
    "probe_states": "FROM probes",
    "run_scenarios": "FROM scenarios",
    "run_arms": "SELECT p.run_id, p.position AS arm, p.provider, p.model, p.config, p.sample "
    "FROM probes p JOIN runs r ON r.id = p.run_id WHERE p.position < r.arms",
    "results": "FROM probes",
    "intents": "FROM attempts",
    "open_attempts": "FROM attempts WHERE ended_at IS NULL",
    "outcomes": "SELECT *, true AS is_answer, false AS is_superseded, false AS maybe_billed FROM turns UNION ALL "
    "BY NAME SELECT run_id, position, turn, attempt, false AS is_answer, false AS is_superseded, maybe_billed "
    "FROM attempts WHERE maybe_billed AND ended_at IS NOT NULL",
}


class Folder:
    """A folder of archived runs, local or behind a URL."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # loaded only if archives are used

        with reaching(url, "used"):
            self._files, self._root = url_to_fs(url)
        self.url = url
        is_local = "file" in self._files.protocol
        self.place = self._root if is_local else self._files.unstrip_protocol(self._root)
        """The full path or URL."""

    def write(self, table: str, run_id: str, pages: Iterator[pa.Table]) -> None:
        """Write or replace a table of one run; readers see it only once it is complete."""
        import pyarrow.parquet as pq  # as above

        file, first = f"{self._root}/{table}/run_id={run_id}/part-0.parquet", next(pages)
        with reaching(self.url, "written"):
            self._files.makedirs(posixpath.dirname(file), exist_ok=True)
            with self._files.open(f"{file}.part", "wb") as sink, pq.ParquetWriter(sink, first.schema) as writer:
                for page in itertools.chain([first], pages):
                    writer.write_table(page.cast(first.schema))
            self._files.mv(f"{file}.part", file)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection with a view for each table, which can reach only these files."""
        with reaching(self.url, "read"):
            is_empty = not self._files.glob(f"{glob.escape(self._root)}/runs/*/*.parquet")
        if is_empty:
            raise ValidationError(f"There are no archived runs at {self.url}: run.archive writes them.", field="url")
        connection = duckdb.connect(config=CONFIG)
        try:
            self._make_views(connection)
        except duckdb.Error as error:
            raise ValidationError(
                f"The archive at {self.url} is incomplete: {words(error)}. Archive its runs again.", field="url"
            ) from None
        return connection

    def _make_views(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self.place != self._root:
            connection.register_filesystem(self._files)
        pattern = glob.escape(self.place)  # taken literally: "study [2026]" could match other folders
        for table in TABLES:
            files = literal(f"{pattern}/{table}/*/*.parquet")
            connection.execute(
                f"CREATE VIEW {table} AS FROM read_parquet({files}, union_by_name = true, hive_partitioning = true, "
                "hive_types = {'run_id': VARCHAR})"
            )
        for name, query in _DERIVED.items():
            connection.execute(f"CREATE VIEW {name} AS {query}")
        connection.execute(
            "SET preserve_insertion_order = false; "
            f"SET allowed_directories = [{literal(self.place)}, {literal(pattern)}]"
        )
        confine(connection)


def ask(connection: duckdb.DuckDBPyConnection, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
    """Run a query on archived runs."""
    cursor = connection.cursor()
    try:
        return stoppable(cursor, lambda: question(cursor))
    except duckdb.Error as error:
        raise ValidationError(f"This query of the archived runs failed: {error}", field="sql") from None


def page(connection: duckdb.DuckDBPyConnection, table: str, run_id: str, first: int) -> pa.Table:
    """The rows of a table to archive; of a :data:`PAGED` one, those of :data:`PAGE` probes from ``first`` on."""
    probes = "WHERE run_id = $run AND position >= $first AND position < $after ORDER BY position"
    rest = {name: kind for name, kind in USAGE.items() if name not in TOKEN_COLUMNS}
    usage = "".join(f", json_extract_string(usage, '$.{name}')::{kind} AS {name}" for name, kind in rest.items())
    sql = {
        "runs": "SELECT * EXCLUDE (event_id), id AS run_id FROM runs WHERE id = $run",
        "scenarios": "FROM run_scenarios WHERE run_id = $run ORDER BY scenario",
        "probes": f"SELECT *{''.join(_columns(connection, run_id))} FROM probes {probes}" if table == "probes" else "",
        "turns": f"SELECT *, split_part(attempt_id, '.', 4)::INTEGER AS attempt{usage} FROM turns {probes}, turn",
        "attempts": f"FROM attempts {probes}, turn, attempt",
    }[table]
    bounds = {"first": first, "after": first + PAGE} if table in PAGED else {}
    return connection.sql(sql, params={"run": run_id, **bounds}).to_arrow_table()


def archived(name: str) -> str:
    """The archive's column for one of ``run.probes``."""
    return f"{name}." if name in HIDDEN else name


def tally(connection: duckdb.DuckDBPyConnection, run_id: str) -> tuple[Any, ...]:
    """The row counts and costs of a run's tables, which are equal in a catalog and its archive."""
    counts = ", ".join(
        f"(SELECT (count(*), {money}) FROM {table} WHERE run_id = $run)"
        for table, money in (
            ("run_scenarios", "NULL"),
            ("probe_states", "sum(estimated_cost)"),
            ("turns", "sum(cost)"),
            ("attempts", "sum(cost)"),
        )
    )
    return connection.execute(f"SELECT {counts}", {"run": run_id}).fetchone() or ()


def _columns(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[str]:
    """Dimensions, answer fields and notes as SQL columns typed by their values, under names that are not yet taken."""
    own = {*column(connection, "DESCRIBE probes")}.difference(HIDDEN)
    dimensions = [(name, "dimensions", name) for name in dimension_names(connection, run_id) if name not in own]
    answers = [(answer_column(name), "answer", name) for name in answer_fields(connection, run_id)]
    named = "SELECT DISTINCT unnest(json_keys(notes)) AS name FROM probe_notes WHERE run_id = ? ORDER BY name"
    taken = own.union(name for name, *_ in dimensions)
    notes = [(note_column(name, taken), "notes", name) for name in column(connection, named, [run_id])]
    columns = [*dimensions, *answers, *notes]
    return [_column(connection, run_id, archived(name), *each) for name, *each in columns]


def _column(connection: duckdb.DuckDBPyConnection, run_id: str, name: str, source: str, key: str) -> str:
    table, value = _SOURCES[source], f"{source}, {pointer(key)}"
    text = f"json_extract_string({value})"
    too_large = f"{text} SIMILAR TO '-?[0-9]+' AND TRY_CAST({text} AS BIGINT) IS NULL"  # for any type but text
    kind = f"if({too_large}, 'VARCHAR', json_type({value}))"
    types = column(connection, f"SELECT DISTINCT {kind} FROM {table} WHERE run_id = ?", [run_id])
    kinds = {*types} - {None, "NULL"}
    sql = next((sql for sql, all_of in _TYPES if kinds and kinds <= all_of), "VARCHAR")
    return f", {text if sql == 'VARCHAR' else f'TRY_CAST({text} AS {sql})'} AS {quoted(name)}"


_SOURCES = {"dimensions": "run_scenarios", "answer": "results", "notes": "probe_notes"}
_TYPES = (("BIGINT", {"BIGINT", "UBIGINT"}), ("DOUBLE", {"BIGINT", "UBIGINT", "DOUBLE"}), ("BOOLEAN", {"BOOLEAN"}))


@contextlib.contextmanager
def reaching(url: str, doing: str) -> Iterator[None]:
    """Raise errors as a sentence that says why a URL cannot be ``doing`` ("read", "written")."""
    try:
        yield
    except (OSError, ValueError, ImportError, NotImplementedError) as error:
        cause = str(error) or type(error).__name__
        raise ValidationError(f"{url} cannot be {doing}: {cause}. Name another folder.", field="url") from None

"""The store: the journal, the database and its lease behind the few operations that llmkit needs."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pandas as pd

from llmkit.errors import CatalogBusy, RunNotFound, ValidationError
from llmkit.records.checks import shapes
from llmkit.store import damage, lease, migrations, project, queries, run_rows, totals, user_sql
from llmkit.store.commit import Commit
from llmkit.store.compaction import compact
from llmkit.store.edit import Edit
from llmkit.store.journal import Journal
from llmkit.store.lease import Damaged, Lease
from llmkit.store.lines import Event
from llmkit.store.peers import Peers
from llmkit.store.queries import CatalogState
from llmkit.store.trouble import OutOfReach
from llmkit.store.upkeep import Upkeep

log = logging.getLogger("llmkit.store")

T = TypeVar("T")


class Store:
    """A database file and its journal. Threads and processes may share them; no lock is held between calls.

    Raises:
        CatalogTooNew: a newer llmkit wrote the file.
        ValidationError: the file cannot be created or opened, or its journal is incomplete or lacks a database.
            ``adopt`` accepts such a journal, salvages a damaged database, and takes in the runs of other journals.
    """

    def __init__(self, path: Path, *, adopt: bool = False) -> None:
        self.path = path
        self.journal = Journal.of(path)
        self._lease = Lease(path)
        self.peers = Peers(self.journal)
        self.unfinished: list[str] = []  # real runs not ended on opening; empty if it could not be opened
        self._known: tuple[Mapping[str, int], CatalogState] | None = None
        self._upkeep = Upkeep(self._lease, self.journal, lambda: self.peers.editing(waits=False), adopt=adopt)
        with shapes.reaching(path, "opened"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                path.stat()  # from Python 3.14 on, exists() is False for what cannot be opened, such as too long a name
            self.is_read_only = not all(os.access(place, os.W_OK) for place in (path.parent, path) if place.exists())
            if not (adopt or path.exists() or self._lease.was_used):
                damage.check_orphaned(path, self.journal)
            self._begin()

    def _begin(self) -> None:
        """Bring the database up to date and read the catalog; if that fails, later reads use the journal."""
        sizes, ask = self.journal.sizes(), self.read if self.is_read_only else self._synced
        try:
            if self._upkeep.takes_long:
                self.catalog()
            else:
                state, self.unfinished = ask(lambda c: (queries.catalog_state(c), totals.unfinished(c)))
                self._known = sizes, state
        except CatalogBusy:
            return
        except OutOfReach as error:
            if not self.journal.sizes():
                words = str(error)
                if self.is_read_only and not self.path.exists():
                    words = f"{self.path.parent} cannot be written: name a file in another folder."
                raise ValidationError(words, field="path") from error
            self._upkeep.tell(str(error))

    # --- writing ---

    @contextlib.contextmanager
    def edit(self, actor: str = "user") -> Iterator[Edit]:
        """Edit the catalog: one editor at a time across processes, all or nothing.

        Raises:
            CatalogBusy: another program holds the database open.
            JournalError: the change could not be saved.
        """
        self.settle()
        is_saved = False
        try:
            with self.peers.editing() as write, self._lease.hold(exclusive=True), contextlib.ExitStack() as stack:
                connection, edit = self._upkeep.rebuilding(lambda: self._begin_edit(stack, actor))
                yield edit
                if edit.events:
                    write(edit.events)
                    is_saved = True
                    fields = {name: edit.events[0][name] for name in ("actor", "action", "entity", "reference")}
                    log.info("catalog edit", extra={**fields, "changes": len(edit.events)})
                    project.project(connection, self.journal, catalog_only=True)
        except (OutOfReach, Damaged) as error:
            if not is_saved:
                raise
            self._upkeep.tell(str(error))  # the journal has it; the next read that can will apply it

    def append(self, events: Sequence[Event]) -> Commit:
        """Journal events of one run; the commit is done when they are on disk."""
        return self.journal.append(events)

    def sync(self) -> None:
        """Apply the journal to the database.

        Raises:
            CatalogBusy: another program holds the database open; nothing is lost, a later call applies it.
        """
        self._synced(lambda _: None)

    def settle(self) -> None:
        """Before something is decided on what the database holds: wait while it is being rebuilt."""
        if self._upkeep.takes_long:
            self.sync()

    # --- reading ---

    def catalog(self) -> CatalogState:
        """The whole catalog, read consistently; read again only after a change, here or in another kernel."""
        sizes = self.journal.sizes()
        known = self._known
        if known is None or self._lease.is_changed or not project.leaves_catalog(self.journal, known[0]):
            known = sizes, self.look(queries.catalog_state, catalog_only=True)
        self._known = sizes, known[1]
        return known[1]

    def catalog_events(self, reference: str | None = None) -> pd.DataFrame:
        """Who changed what, and when; oldest first."""
        return self.look(lambda c: queries.catalog_events(c, reference), catalog_only=True)

    def read(
        self, question: Callable[[duckdb.DuckDBPyConnection], T], *, catalog_only: bool = False, confined: bool = False
    ) -> T:
        """Run a query, such as a function of :mod:`llmkit.store.queries`.

        Holds a shared lease if the database is up to date, else an exclusive one while it is updated; if another
        program holds the file, queries a copy in memory made from the journal. ``catalog_only``: recent lines of runs
        may be missing. ``confined``: the query is the user's own SQL.
        """
        try:
            with contextlib.suppress(Damaged), self._as_it_is(confined) as connection:
                if connection is not None and self._upkeep.is_up_to_date(connection, catalog_only):
                    return question(connection)

            if self.is_read_only:
                raise OutOfReach(
                    f"{self.path} is read-only and not up to date. Copy it, with the folder {self.path.name}.journal, "
                    "to a writable location."
                )

            def ask() -> T:
                with self._upkeep.up_to_date(catalog_only):
                    pass
                with self._opened(confined) as connection:
                    return question(connection)

            return self._upkeep.run(ask)
        except (CatalogBusy, OutOfReach) as error:
            if not self.journal.sizes():
                raise
            if isinstance(error, OutOfReach) and not self.is_read_only:
                self._upkeep.tell(str(error))
            with duckdb.connect() as memory:
                migrations.migrate(memory)
                project.project(memory, self.journal)
                if confined:
                    lease.confine(memory)
                return question(memory)

    def look(
        self,
        question: Callable[[duckdb.DuckDBPyConnection], T],
        about: str | None = None,
        *,
        catalog_only: bool = False,
        confined: bool = False,
    ) -> T:
        """As :meth:`read`, for an answer that nothing but its reader depends on: while a database is being rebuilt, a
        run (``about``) is read as soon as it is whole, and everything else as far as it is there, with a warning.
        """
        with contextlib.suppress(CatalogBusy, OutOfReach, Damaged):
            while self._upkeep.takes_long:
                with self._as_it_is(confined) as connection:
                    if connection is not None and self._upkeep.is_enough(connection, about):
                        return question(connection)
                if self._upkeep.help():
                    break
        return self.read(question, catalog_only=catalog_only, confined=confined)

    def run(self, run_id: str, *, with_scenarios: bool = False) -> dict[str, Any]:
        """A run's own row; with its ``scenarios`` if requested, or a ValidationError if they are not here."""
        if not with_scenarios:
            return self.ask_of_run(run_id, lambda _, row: row)
        return self.ask_of_run(run_id, lambda c, row: {**row, "scenarios": run_rows.scenario_rows(c, row)}, whole=True)

    def ask_of_run(
        self, run_id: str, question: Callable[[duckdb.DuckDBPyConnection, dict[str, Any]], T], whole: bool = False
    ) -> T:
        """Ask something of a run, given its own row. If colleagues asked it, its texts are fetched first.

        Raises:
            RunNotFound: no run has that id.
        """
        if not isinstance(run_id, str):
            raise RunNotFound(
                f"Name a run by its id, such as kit.runs()['run_id'][0] or run.id, not by {shapes.kind(run_id)}."
            )
        self.peers.fetch(run_id)

        def ask(connection: duckdb.DuckDBPyConnection) -> T:
            if row := run_rows.run_row(connection, run_id):
                return question(connection, row)
            raise RunNotFound(f"There is no run {run_id!r} in {self.path}. kit.runs() lists all runs.")

        return self.read(ask) if whole else self.look(ask, run_id)

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Run the user's own SELECT on a connection that can neither write nor reach other files.

        A query that takes longer than ``user_sql.PATIENCE`` seconds is rerun on a copy, so that it blocks nobody.

        Raises:
            ValidationError: ``params`` is neither a list nor a dict, the statement fails (with DuckDB's reason), or its
                result does not fit into a DataFrame.
        """
        given = user_sql.checked(params)
        with contextlib.suppress(TimeoutError):
            return self.look(lambda c: user_sql.ask(c, sql, given, self.path, user_sql.PATIENCE), confined=True)
        with self.snapshot() as copy:
            lease.confine(copy)
            return user_sql.ask(copy, sql, given)

    def snapshot(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection for the user: all tables copied into memory, free to change."""
        return self.look(user_sql.copied)

    # --- who is running ---

    def claim_run(self, run_id: str) -> bool:
        """Claim a run for this process; ``False`` when another live process has it. The claim ends with the process."""
        self.settle()
        return self.peers.claim(run_id)

    def release_run(self, run_id: str, *, is_over: bool = True) -> None:
        """Release the claim and close the run's segment."""
        self.journal.end(run_id)
        self.peers.release(run_id, is_over=is_over)

    def is_live(self, run_id: str) -> bool:
        """Whether a process is running this run now."""
        return self.peers.is_live(run_id)

    def close(self) -> None:
        """Write what is queued, compact the journal, and release everything held."""
        self.journal.close()
        if not self.is_read_only:
            compact(self.journal, self._lease, self.is_live)
        self._lease.close()
        self.peers.close()

    # --- opening ---

    def _begin_edit(self, stack: contextlib.ExitStack, actor: str) -> tuple[duckdb.DuckDBPyConnection, Edit]:
        with contextlib.ExitStack() as opening:
            connection = opening.enter_context(self._upkeep.up_to_date(catalog_only=True, in_parts=False))
            history = cache(partial(queries.catalog_events, connection, None))
            edit = Edit(queries.catalog_state(connection), history, actor)
            stack.enter_context(opening.pop_all())
        return connection, edit

    def _synced(self, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Apply the journal and run a query on the same connection."""

        def ask() -> T:
            with self._upkeep.up_to_date() as connection:
                return question(connection)

        return self._upkeep.run(ask)

    @contextlib.contextmanager
    def _as_it_is(self, confined: bool) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """The database as it is while the shared lease is held; ``None`` if only a writer can open it."""
        with self._lease.hold(exclusive=False), contextlib.ExitStack() as stack:
            is_readable = self.path.exists() and not self._lease.has_wal  # whoever has the lease may rename it
            yield stack.enter_context(self._opened(confined)) if is_readable else None

    def _opened(self, confined: bool) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return self._lease.connect_confined() if confined else self._lease.connect(read_only=True)

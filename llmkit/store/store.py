"""The store: the journal, the database and its lease behind the few operations that llmkit needs."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pandas as pd

from llmkit.errors import CatalogBusy, RunNotFound, ValidationError
from llmkit.records.checks import shapes
from llmkit.store import damage, lease, migrations, outside, project, queries, run_rows, salvage, totals, user_sql
from llmkit.store.commit import Commit
from llmkit.store.compaction import compact
from llmkit.store.edit import Edit
from llmkit.store.journal import Journal
from llmkit.store.lease import Damaged, Lease
from llmkit.store.lines import Event
from llmkit.store.peers import Peers
from llmkit.store.queries import CatalogState
from llmkit.store.trouble import OutOfReach

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
        self._adopt = adopt
        self.journal = Journal(path.with_name(path.name + ".journal"))
        self._lease = Lease(path)
        self.peers = Peers(self.journal)
        self._told: set[str] = set()
        self._took_up = False
        self.unfinished: list[str] = []  # real runs not ended on opening; empty if it could not be opened
        self._known: tuple[Mapping[str, int], CatalogState] | None = None
        self._watch = outside.Watch(self._lease)
        with shapes.reaching(path, "opened"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.is_read_only = not all(os.access(place, os.W_OK) for place in (path.parent, path) if place.exists())
            if not (adopt or path.exists() or self._lease.was_used):
                damage.check_orphaned(path, self.journal)
            self._begin()

    def _begin(self) -> None:
        """Bring the database up to date and read the catalog; if that fails, later reads use the journal."""
        sizes, ask = self.journal.sizes(), self.read if self.is_read_only else self._synced
        try:
            state, self.unfinished = ask(lambda c: (queries.catalog_state(c), totals.unfinished(c)))
            self._known = sizes, state
        except CatalogBusy:
            return
        except OutOfReach as error:
            if not self.journal.sizes():
                raise ValidationError(str(error), field="path") from error
            self._tell(str(error))

    # --- writing ---

    @contextlib.contextmanager
    def edit(self, actor: str = "user") -> Iterator[Edit]:
        """Edit the catalog: one editor at a time across processes, all or nothing.

        Raises:
            CatalogBusy: another program holds the database open.
            JournalError: the change could not be saved.
        """
        is_saved = False
        try:
            with self.peers.editing() as write, self._lease.hold(exclusive=True), contextlib.ExitStack() as stack:
                connection, edit = self._rebuilding(lambda: self._begin_edit(stack, actor))
                yield edit
                if edit.events:
                    write(edit.events)
                    is_saved = True
                    fields = {name: edit.events[0][name] for name in ("actor", "action", "entity", "reference")}
                    log.info("catalog edit", extra={**fields, "changes": len(edit.events)})
                    project.project(connection, self.journal, project.due_for_catalog(connection, self.journal))
        except (OutOfReach, Damaged) as error:
            if not is_saved:
                raise
            self._tell(str(error))  # the journal has it; the next read that can will apply it

    def append(self, events: Sequence[Event]) -> Commit:
        """Journal events of one run; the commit is done when they are on disk."""
        return self.journal.append(events)

    def sync(self) -> None:
        """Apply the journal to the database.

        Raises:
            CatalogBusy: another program holds the database open; nothing is lost, a later call applies it.
        """
        self._synced(lambda _: None)

    # --- reading ---

    def catalog(self) -> CatalogState:
        """The whole catalog, read consistently; read again only after a change, here or in another kernel."""
        sizes = self.journal.sizes()
        known = self._known
        if known is None or self._watch.is_changed() or not project.leaves_catalog(self.journal, known[0]):
            known = sizes, self.read(queries.catalog_state, catalog_only=True)
        self._known = sizes, known[1]
        return known[1]

    def catalog_events(self, reference: str | None = None) -> pd.DataFrame:
        """Who changed what, and when; oldest first."""
        return self.read(lambda c: queries.catalog_events(c, reference), catalog_only=True)

    def read(
        self, question: Callable[[duckdb.DuckDBPyConnection], T], *, catalog_only: bool = False, confined: bool = False
    ) -> T:
        """Run a query, such as a function of :mod:`llmkit.store.queries`.

        Holds a shared lease if the database is up to date, else an exclusive one while it is updated; if another
        program holds the file, queries a copy in memory made from the journal. ``catalog_only``: recent lines of runs
        may be missing. ``confined``: the query is the user's own SQL.
        """
        opened = self._lease.connect_confined if confined else partial(self._lease.connect, read_only=True)
        try:
            if self.path.exists() and not self._lease.has_wal:
                with self._lease.hold(exclusive=False), contextlib.suppress(Damaged), opened() as connection:
                    if self._is_up_to_date(connection, catalog_only):
                        return question(connection)

            if self.is_read_only:
                raise OutOfReach(damage.read_only(self.path))

            def ask() -> T:
                with self._up_to_date(catalog_only):
                    pass
                with opened() as connection:
                    return question(connection)

            with self._lease.hold(exclusive=True):
                return self._rebuilding(ask)
        except (CatalogBusy, OutOfReach) as error:
            if not self.journal.sizes():
                raise
            if isinstance(error, OutOfReach) and not self.is_read_only:
                self._tell(str(error))
            with duckdb.connect() as memory:
                migrations.migrate(memory)
                project.project(memory, self.journal)
                if confined:
                    lease.confine(memory)
                return question(memory)

    def run(self, run_id: str, *, with_scenarios: bool = False) -> dict[str, Any]:
        """A run's own row, with its ``scenarios`` if requested.

        Raises:
            RunNotFound: no run has that id; ValidationError: its scenarios are requested but only in an archive.
        """
        if not isinstance(run_id, str):
            raise RunNotFound(
                f"Name a run by its id, such as kit.runs()['run_id'][0] or run.id, not by {shapes.kind(run_id)}."
            )
        row = self.read(lambda c: run_rows.run_row(c, run_id))
        if row is None:
            raise RunNotFound(f"There is no run {run_id!r} in {self.path}. kit.runs() lists all runs.")
        return {**row, "scenarios": self.read(lambda c: run_rows.scenario_rows(c, row))} if with_scenarios else row

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Run the user's own SELECT on a connection that can neither write nor reach other files.

        A query that takes longer than ``user_sql.PATIENCE`` seconds is rerun on a copy, so that it blocks nobody.

        Raises:
            ValidationError: ``params`` is neither a list nor a dict, the statement fails (with DuckDB's reason), or its
                result does not fit into a DataFrame.
        """
        statement = user_sql.Statement.of(sql, params)
        with contextlib.suppress(user_sql.TakesLong):
            return self.read(lambda connection: statement.ask_briefly(connection, self.path), confined=True)
        with self.snapshot() as copy:
            lease.confine(copy)
            return statement.ask(copy)

    def snapshot(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection for the user: all tables copied into memory, free to change."""
        return self.read(user_sql.copied)

    # --- who is running ---

    def claim_run(self, run_id: str) -> bool:
        """Claim a run for this process; ``False`` when another live process has it. The claim ends with the process."""
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

    def _is_up_to_date(self, connection: duckdb.DuckDBPyConnection, catalog_only: bool) -> bool:
        if not (migrations.is_current(connection) and self._watch.is_clean(connection)):
            return False
        due = project.due_for_catalog if catalog_only else project.behind
        return not due(connection, self.journal)

    def _begin_edit(self, stack: contextlib.ExitStack, actor: str) -> tuple[duckdb.DuckDBPyConnection, Edit]:
        with contextlib.ExitStack() as opening:
            connection = opening.enter_context(self._up_to_date(catalog_only=True))
            edit = Edit(queries.catalog_state(connection), actor)
            stack.enter_context(opening.pop_all())
        return connection, edit

    def _synced(self, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Apply the journal and run a query on the same connection."""

        def ask() -> T:
            with self._up_to_date() as connection:
                return question(connection)

        with self._lease.hold(exclusive=True):
            return self._rebuilding(ask)

    @contextlib.contextmanager
    def _up_to_date(self, catalog_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open for writing, migrate, and apply the journal."""
        if not self._adopt and not self.path.exists():
            damage.check_complete(self.path, self.journal)
        is_as_left = self._watch.is_as_left()
        with self._lease.connect(read_only=False) as connection:
            self._apply_journal(connection, catalog_only, is_as_left)
            yield connection
        self._watch.leave()

    def _apply_journal(self, connection: duckdb.DuckDBPyConnection, catalog_only: bool, is_as_left: bool) -> None:
        migrations.migrate(connection)
        project.follow(connection, self.journal)
        if not is_as_left:
            outside.take_over(connection, self.peers.editing(waits=False))
        if not self._took_up:
            project.take_up(connection)
            self._took_up = True
        before = project.set_aside(connection)
        if self._adopt:
            project.adopt(connection)
        only = project.due_for_catalog(connection, self.journal) if catalog_only else None
        if project.project(connection, self.journal, only, adopting=self._adopt):
            project.follow(connection, self.journal)
        if count := project.set_aside(connection) - before:
            warnings.warn(damage.aside(self.path, count), stacklevel=9)
        for words in damage.look(connection, self.journal).sentences(self.path):
            self._tell(words)

    def _tell(self, words: str) -> None:
        """Warn, once per message."""
        if words not in self._told:
            self._told.add(words)
            warnings.warn(words, stacklevel=8)

    def _rebuilding(self, action: Callable[[], T]) -> T:
        """Run an action on the database; if it turns out damaged, rebuild it from the journal and retry once."""
        try:
            return action()
        except Damaged as damaged:
            if not self.journal.sizes():
                raise ValidationError(damage.not_ours(self.path), field="path") from damaged
            if not self._adopt:
                damage.check_complete(self.path, self.journal, salvage.segments(self.path))
            salvage.make_way(self._lease, damaged, adopting=self._adopt)
            return action()

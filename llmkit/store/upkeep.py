"""Upkeep of the database: brought up to date with its journal, or rebuilt from it.

A long backlog, such as that of a rebuild, is applied in parts. Between them others may read what is there.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import duckdb

from llmkit.errors import ValidationError
from llmkit.records.user_warnings import warn
from llmkit.store import damage, migrations, outside, project, salvage
from llmkit.store.journal import Journal
from llmkit.store.lease import Damaged, Lease
from llmkit.store.peers import Peers, Write
from llmkit.store.project import Unfinished
from llmkit.store.segments import CATALOG
from llmkit.store.trouble import OutOfReach

T = TypeVar("T")

PART = 1.5
"""Seconds of work between two moments at which others may read: fewer than until a waiter is told who holds the lock.
Each part ends with a checkpoint of 0.1 s."""
PAUSE = 0.02
"""Seconds left to them: a lock that is taken again at once would hardly reach those who wait."""
PATIENCE = 10.0
"""Seconds between progress warnings."""
_CLAIM = "upkeep"


class Upkeep:
    """Keeps a database in line with its journal. ``editing`` as in :class:`Peers`; ``adopt`` as for ``Store``."""

    def __init__(
        self, lease: Lease, journal: Journal, editing: Callable[[], AbstractContextManager[Write]], *, adopt: bool
    ) -> None:
        self._path, self._lease, self._journal, self._editing, self._adopt = lease.path, lease, journal, editing, adopt
        self._told: set[str] = set()
        self._took_up = False
        self._aside: int | None = None

    def run(self, action: Callable[[], T]) -> T:
        """Run an action that brings the database up to date, part by part until it is done; see :meth:`rebuilding`."""
        claims, is_claimed, last = Peers(self._journal), False, time.monotonic()
        try:
            while True:
                try:
                    with self._lease.hold(exclusive=True):
                        return self.rebuilding(action)
                except Unfinished as so_far:
                    with contextlib.suppress(OutOfReach):  # then others are not let in, but take turns
                        is_claimed = is_claimed or claims.claim(_CLAIM)
                    if time.monotonic() - last > PATIENCE:
                        last = time.monotonic()
                        warn(f"{self._progress(so_far.share)}.")
                time.sleep(PAUSE)
        finally:
            claims.close()

    @property
    def takes_long(self) -> bool:
        """Whether somebody is applying a long backlog now."""
        return Peers(self._journal).is_live(_CLAIM)

    def help(self) -> bool:
        """Apply a part of the backlog; returns whether it was the last one.

        Raises:
            CatalogBusy, OutOfReach, Damaged: that is not possible now.
        """
        with contextlib.suppress(Unfinished), self._lease.hold(exclusive=True), self.up_to_date():
            return True
        return False

    def is_enough(self, connection: duckdb.DuckDBPyConnection, about: str | None) -> bool:
        """Whether a database whose backlog is being applied has the catalog and the run (``about``) by now; if all runs
        matter, a warning says how many of them may be missing.
        """
        if not migrations.is_current(connection):
            return False
        due = project.behind(connection, self._journal)
        if {each.segment.about for each in due} & {"", CATALOG, about}:
            return False
        if due and not about:
            left = sum(each.size - each.offset for each in due) / sum(self._journal.sizes().values())
            self.tell(f"{self._progress(1 - left)}. Until then, what is read may be incomplete.")
        return True

    def _progress(self, share: float) -> str:
        return f"{self._path.name} is being brought up to date with its journal: {share:.0%} so far"

    def is_up_to_date(self, connection: duckdb.DuckDBPyConnection, catalog_only: bool) -> bool:
        """Whether nothing has to be applied, migrated or taken over; ``catalog_only``: nothing of the catalog."""
        if self._lease.is_changed:
            if not migrations.is_current(connection):
                return False
            if not self._lease.is_as_left and any(outside.changes(connection)):
                return False
            self._lease.trust()
        return not project.behind(connection, self._journal, catalog_only=catalog_only)

    @contextlib.contextmanager
    def up_to_date(self, catalog_only: bool = False, *, in_parts: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the database for writing, migrate it, and apply the journal; only while the lease is held exclusively.

        Raises:
            Unfinished: one of several ``in_parts`` was applied.
        """
        if not self._adopt and not self._path.exists():
            damage.check_complete(self._path, self._journal)
        is_changed, is_as_left = self._lease.is_changed, self._lease.is_as_left
        try:
            with self._lease.connect(read_only=False) as connection:
                if is_changed:
                    migrations.migrate(connection)
                self._apply(connection, catalog_only, is_as_left, PART if in_parts else math.inf)
                yield connection
        except Unfinished:
            self._lease.leave()
            raise
        self._lease.leave()

    def _apply(
        self, connection: duckdb.DuckDBPyConnection, catalog_only: bool, is_as_left: bool, within: float
    ) -> None:
        project.follow(connection, self._journal)
        if not is_as_left:
            outside.take_over(connection, self._editing())
        if not self._took_up:
            project.take_up(connection)
            self._took_up = True
        if self._aside is None:  # the first part
            self._aside = project.set_aside(connection)
        if self._adopt:
            project.adopt(connection)
        if project.project(connection, self._journal, catalog_only=catalog_only, adopting=self._adopt, within=within):
            project.follow(connection, self._journal)
            if count := project.set_aside(connection) - self._aside:
                warn(damage.aside(self._path, count))
        self._aside = None
        for fault in damage.faults(connection, self._journal, self._path):
            self.tell(" ".join(fault))

    def tell(self, words: str) -> None:
        """Warn, once per message."""
        if words not in self._told:
            self._told.add(words)
            warn(words)

    def rebuilding(self, action: Callable[[], T]) -> T:
        """Run an action on the database; if it turns out damaged, rebuild it from the journal and retry once."""
        try:
            return action()
        except Damaged as damaged:
            if not self._journal.sizes():
                raise ValidationError(
                    f"{self._path} is not an llmkit database, or it is damaged and has no journal beside it to rebuild "
                    "it from. Name another file, or move this one away.",
                    field="path",
                ) from damaged
            if not self._adopt:
                damage.check_complete(self._path, self._journal, salvage.segments(self._path))
            salvage.make_way(self._lease, damaged, adopting=self._adopt)
            return action()

"""This process as a member of a team: it exchanges what members write, and shares their limits.

Runs are written locally first and uploaded within a second, so that only edits wait for the team's database. An edit is
made there first, under the team's lock, and then here: no edit exists that the others will not receive.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial

from llmkit.errors import CatalogBusy, LlmkitError
from llmkit.limiter import Gate
from llmkit.records.user_warnings import warn
from llmkit.store import Event
from llmkit.store.journal import Journal
from llmkit.store.peers import Peers, Write
from llmkit.store.segments import CATALOG, segment
from llmkit.team.address import PATIENCE, Address
from llmkit.team.exchange import Exchange, whole
from llmkit.team.roll import Member, Roll

log = logging.getLogger("llmkit.team")

BEAT = 1.0
"""Seconds between exchanges."""
REST = 0.2
"""Minimum seconds between exchanges, however many are requested."""


class Team(Peers):
    """Peers on all machines: every process that has opened its database with the same team."""

    are_elsewhere = True

    def __init__(self, journal: Journal, gate: Gate, address: Address, actor: str) -> None:
        super().__init__(journal)
        self._gate, self._address, self._actor = gate, address, actor
        self._begin()

    def _begin(self) -> None:
        self._roll = Roll(self._gate, self.journal.directory, self._actor, super().is_live)
        self._exchange: Exchange | None = None
        self._guard = threading.RLock()
        self._thread: threading.Thread | None = None
        self._is_over = False

    @property
    def is_reached(self) -> bool:
        """Whether the team's database answers."""
        return self._exchange is not None

    @property
    def seen(self) -> Sequence[Member]:
        """The members; while the team's database does not answer, nobody counts as online."""
        return self._roll.members if self.is_reached else [each._replace(is_on=False) for each in self._roll.members]

    # --- joining and leaving ---

    def join(self) -> None:
        """Synchronize with the team's database, from now on in the background. If it cannot be reached, warn."""
        try:
            self._beat()
        except CatalogBusy as error:
            if not any(segment(name).about == CATALOG for name in self.journal.sizes()):
                raise
            warn(
                f"{error} Runs continue; those that share a budget wait once they have used their part of it. As soon "
                "as it is back, your colleagues' work appears here and the catalog can be edited."
            )
        self._start()

    def close(self) -> None:
        """Upload what is left, and leave the team."""
        self._is_over = True
        self._roll.need.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)
        if self.is_reached:
            with contextlib.suppress(LlmkitError, OSError):  # then uploaded when next opened
                self._beat()
                with self._connected() as exchange:
                    self._roll.leave(exchange.session)
            self._disconnect()
        super().close()

    def _start(self) -> None:
        if self._thread is None and not self._is_over:  # the first time, and in a forked child
            self._thread = threading.Thread(target=self._beat_forever, name="llmkit-team", daemon=True)
            self._thread.start()

    def _beat_forever(self) -> None:
        told = ""
        while not self._is_over:
            try:
                self._beat()
                told = ""
            except (LlmkitError, OSError) as error:
                if str(error) != told:
                    log.warning("nothing is exchanged with the team", extra={"reason": str(error)})
                told = str(error)
                self._roll.go_on_alone()
            time.sleep(REST)
            self._roll.need.wait(BEAT)
            self._roll.need.clear()

    def _beat(self) -> None:
        with self._connected() as exchange:
            self._roll.call(exchange.session, set(self._mine))
            exchange.pull()
            exchange.push()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Exchange]:
        """The exchange in one session, for one thread at a time; begun anew after any failure."""
        with self._guard, self._address.reached():
            try:
                if self._exchange is None:
                    self._exchange = Exchange(self._address.session(), self.journal, self._roll.member)
                    self._address.check(self._exchange.session)
                    self._exchange.found()
                yield self._exchange
            except BaseException:
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.session.close()

    def _forget(self) -> None:
        """In a forked child, where psycopg leaves the parent's session open."""
        super()._forget()
        self._begin()

    # --- edits ---

    @contextlib.contextmanager
    def editing(self, *, waits: bool = True) -> Iterator[Write]:
        """Hold the lock of the whole team, after fetching all edits by others. Nothing is exchanged meanwhile."""
        self._start()
        if not self._guard.acquire(timeout=PATIENCE if waits else BEAT):
            raise CatalogBusy("Another thread edits the catalog, or waits for the team's database. Try again.")
        try:
            with self._connected() as exchange:
                is_nested = exchange.session.is_locked
                exchange.lock_edits(waits=waits)
            try:
                yield partial(self._give, exchange)
            finally:
                if exchange is self._exchange:
                    with contextlib.suppress(CatalogBusy), self._connected():
                        exchange.session.commit()
                        if is_nested:  # the lock of the edit around this one is used up
                            exchange.lock_edits(waits=waits)
        finally:
            self._guard.release()

    def _give(self, exchange: Exchange, events: Sequence[Event]) -> None:
        with self._connected():
            exchange.edit(events)

    # --- runs ---

    def fetch(self, run_id: str | None = None) -> None:
        """Fetch the texts of a run, or of all, as far as they can be had."""
        names = [name for name in self.journal.sizes() if run_id in (None, segment(name).about)]
        runs = {segment(name).about for name in names} - whole(names)
        if runs and self.is_reached:
            with contextlib.suppress(LlmkitError, OSError), self._connected() as exchange:  # then they are not here
                exchange.fetch(runs)

    def claim(self, run_id: str) -> bool:
        """Claim a run for this process; ``False`` when another process has it, here or elsewhere."""
        self._start()
        is_new = not any(segment(name).about == run_id for name in self.journal.sizes())
        if not super().claim(run_id):
            return False
        self._roll.need.set()
        until = time.monotonic() + 2 * BEAT  # a run that has just ended is released with the next beat
        while not is_new:
            with contextlib.suppress(LlmkitError, OSError):  # then judge by what was last seen
                self._beat()
            if not self._roll.is_elsewhere(run_id):
                break  # the others know that it is ours
            if time.monotonic() > until:
                self.release(run_id)
                return False
            time.sleep(REST)
        return True

    def is_live(self, run_id: str) -> bool:
        """Whether any process has the run now, here or elsewhere."""
        return super().is_live(run_id) or self._roll.is_elsewhere(run_id)

    def left_elsewhere(self, run_id: str) -> str | None:
        """Who had a run, on which other machine, when its process died, in words; ``None`` if it was on this one."""
        names = (f"{each.actor} on {each.host}" for each in self._roll.members if run_id in each.runs)
        return None if self._path(run_id).exists() else next(names, "a colleague on another machine")

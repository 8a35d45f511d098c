"""This process as a member of a team: it exchanges what members write, and shares their limits.

Runs are written locally first and uploaded within a second, so that only edits wait for the team's database. An edit is
made there first, under the team's lock, and then here: no edit exists that the others will not receive.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from llmkit.errors import CatalogBusy, LlmkitError
from llmkit.limiter import Gate, Portions, Use, portion
from llmkit.records.user_warnings import warn
from llmkit.store import Event
from llmkit.store.journal import Journal
from llmkit.store.peers import Peers, Write
from llmkit.store.segments import CATALOG, machine, segment
from llmkit.team.address import PATIENCE, Address
from llmkit.team.exchange import Exchange
from llmkit.team.relay import Member, Relay
from llmkit.team.treasury import LINGER, Treasury

log = logging.getLogger("llmkit.team")

BEAT = 1.0
"""Seconds between exchanges."""
REST = 0.1
"""Minimum seconds between exchanges, however many are requested."""
MEANWHILE = (
    "Runs continue; those that share a budget wait once they have used their part of it. As soon as it is back, your "
    "colleagues' work appears here and the catalog can be edited."
)
"""What is said of an outage to whoever has a copy of the catalog here."""


class Team(Peers):
    """Peers on all machines: every process that has opened its database with the same team."""

    are_elsewhere = True

    def __init__(self, journal: Journal, gate: Gate, address: Address, actor: str) -> None:
        super().__init__(journal)
        self.members: Sequence[Member] = ()
        """All members, this one included, as last seen."""
        self._gate, self._address = gate, address
        where = hashlib.blake2b(f"{machine()} {journal.directory}".encode(), digest_size=8).hexdigest()
        self._me = Member("", where, actor, platform.node(), (), {})
        self._begin()

    def _begin(self) -> None:
        self._me = self._me._replace(member=secrets.token_hex(8))
        self._exchange = Exchange(self.journal, self._me.member)
        self._relay: Relay | None = None
        self._guard = threading.RLock()
        self._wanted: dict[str, tuple[float, int]] = {}
        self._wake = threading.Event()
        self._portions = Portions(self._wake.set)
        self._treasury = Treasury(self._portions, self._me.gate, super().is_live, self._is_elsewhere)
        self._gate.share(self._portions)
        self._thread: threading.Thread | None = None
        self._is_over = False

    @property
    def is_reached(self) -> bool:
        """Whether the team's database answers."""
        return self._relay is not None

    @property
    def seen(self) -> Sequence[Member]:
        """The members; while the team's database does not answer, nobody counts as online."""
        return self.members if self.is_reached else [each._replace(is_on=False) for each in self.members]

    # --- joining and leaving ---

    def join(self) -> None:
        """Synchronize with the team's database, from now on in the background. If it cannot be reached, warn."""
        try:
            self._beat()
        except CatalogBusy as error:
            if not any(segment(name).about == CATALOG for name in self.journal.sizes()):
                raise
            warn(f"{error} {MEANWHILE}")
            self._go_on_alone()
        self._start()

    def close(self) -> None:
        """Upload what is left, and leave the team."""
        self._is_over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)
        if self._relay is not None:
            with contextlib.suppress(LlmkitError), self._connected() as relay:  # then uploaded when next opened
                self._exchange.push(relay)
                self._call_the_roll(relay)
                relay.leave([self._me.member])
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
                self._go_on_alone()
            time.sleep(REST)
            self._wake.wait(REST if self._treasury.is_short else BEAT)
            self._wake.clear()

    def _beat(self) -> None:
        with self._connected() as relay:
            self._call_the_roll(relay)
            self._exchange.pull(relay)
            self._exchange.push(relay)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Relay]:
        """The session, for one thread at a time; replaced by a new one after any failure."""
        with self._guard:
            try:
                if self._relay is None:
                    self._relay = Relay(self._address)
                    self._exchange.catch_up(self._relay)
                yield self._relay
            except BaseException:
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()

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
            with self._connected() as relay:
                is_nested = relay.is_locked
                self._lock_edits(relay, waits=waits)
            try:
                yield partial(self._give, relay)
            finally:
                if relay is self._relay:
                    with contextlib.suppress(CatalogBusy), self._connected():
                        if is_nested:  # what was written has used up the lock of the edit around this one
                            self._lock_edits(relay, waits=waits)
                        else:
                            relay.commit()
        finally:
            self._guard.release()

    def _lock_edits(self, relay: Relay, *, waits: bool) -> None:
        relay.lock_edits(waits=waits)
        self._exchange.pull(relay)

    def _give(self, relay: Relay, events: Sequence[Event]) -> None:
        with self._connected():
            self._exchange.edit(relay, events)

    # --- runs ---

    def fetch(self, run_id: str | None = None) -> None:
        """Fetch the texts of a run, or of all, as far as they can be had."""
        runs = self._exchange.short & ({run_id} if run_id else self._exchange.short)
        if runs and self.is_reached:
            with contextlib.suppress(LlmkitError, OSError), self._connected() as relay:  # then they are not here
                self._exchange.fetch(relay, runs)

    def claim(self, run_id: str) -> bool:
        """Claim a run for this process; ``False`` when another process has it, here or elsewhere."""
        self._start()
        is_new = not any(segment(name).about == run_id for name in self.journal.sizes())
        if not super().claim(run_id):
            return False
        self._wake.set()
        until = time.monotonic() + 2 * BEAT  # a run that has just ended is released with the next beat
        while not (is_new or self._is_ours(run_id)):
            if time.monotonic() > until:
                self.release(run_id)
                return False
            time.sleep(REST)
        return True

    def _is_ours(self, run_id: str) -> bool:
        """Whether nobody else has it; if so, the others are informed that we do."""
        with contextlib.suppress(CatalogBusy), self._connected() as relay:  # then judge by what was last seen
            self._call_the_roll(relay)
        return not self._is_elsewhere(run_id)

    def is_live(self, run_id: str) -> bool:
        """Whether any process has the run now, here or elsewhere."""
        return super().is_live(run_id) or self._is_elsewhere(run_id)

    def left_elsewhere(self, run_id: str) -> str | None:
        """Who had a run, on which other machine, when its process died, in words; ``None`` if it was on this one."""
        names = (f"{each.actor} on {each.host}" for each in self.members if run_id in each.runs)
        return None if self._path(run_id).exists() else next(names, "a colleague on another machine")

    def _is_elsewhere(self, run_id: str) -> bool:
        return any(run_id in each.runs for each in self.members if each.is_on and each.member != self._me.member)

    # --- presence and limits ---

    def _call_the_roll(self, relay: Relay) -> None:
        """Publish what runs here, and divide the limits among the members."""
        running = set(self._mine)
        with relay.roll() as (members, now):
            self.members = members
            slots = self._divided(now)
            before = self._portions.slots
            self._share({name: min(count, before.get(name, 0)) for name, count in slots.items()})
            uses = self._gate.uses()  # after the gate has been lowered
            taken = {name: Use(count, uses.get(name, (0, 0))[1]) for name, count in slots.items()}
            runs = sorted(run_id for run_id in running if not self._is_elsewhere(run_id))
            killed = [each.member for each in members if not (each.is_on or each.runs) and each.actor == self._me.actor]
            if killed:  # this process replaces them, and all entries are read with every beat
                relay.leave(killed)
            relay.enter(self._me._replace(runs=runs, uses=taken))
            ceilings = self._treasury.agree(relay, running, now)
        self._share(slots)
        self._treasury.grant(ceilings)

    def _go_on_alone(self) -> None:
        """Out of reach of the team: keep the current portions, and take an equal share of other limits wanted now."""
        slots, kept = self._divided(time.time(), by_number=True), self._portions.slots
        self._share({**slots, **{name: count for name, count in kept.items() if count and name in slots}})

    def _divided(self, now: float, *, by_number: bool = False) -> dict[str, int]:
        """The number of parallel requests for this gate, for each limit that is wanted here."""
        moment = time.monotonic()
        self._wanted |= {name: (moment, limit) for name, (limit, _) in self._gate.uses().items()}
        self._wanted = {name: each for name, each in self._wanted.items() if each[0] > moment - LINGER}
        others = defaultdict[str, dict[str, Use]](dict)
        for member in self.members:
            for name, (slots, in_flight) in member.uses.items():
                if member.is_on and member.gate != self._me.gate:
                    known = others[name].get(member.gate, Use())
                    both = Use(max(slots, known.slots), in_flight + known.in_flight)
                    others[name][member.gate] = Use() if by_number else both
        return {name: portion(limit, self._me.gate, others[name], now) for name, (_, limit) in self._wanted.items()}

    def _share(self, slots: Mapping[str, int]) -> None:
        if slots != self._portions.slots:
            self._portions = replace(self._portions, slots=slots)
            self._gate.share(self._portions)

"""The roll of the team: who is in it, what runs where, and this process's portion of the limits and budgets.

Limits are divided among those who ask now. How much each run may spend of a budget is agreed, and while the team's
database does not answer it goes no further than that: others may be granted the rest, or may have spent it. If no
process has a run any more, its whole ceiling counts as spent. If it died in a process that shared this local database,
its journal is here and shows the actual amount.
"""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from llmkit.limiter import Claim, Gate, Portions, Stake, Use, portion
from llmkit.store.segments import machine
from llmkit.team.address import ROLL, Session

LAPSE = 15
"""Seconds of silence after which a member counts as offline, and its portions are free."""
LINGER = 3.0
"""Seconds for which an unused portion is kept."""


class Member(NamedTuple):
    """A process in the team. Processes with the same ``gate`` share one local database.

    ``uses``: the allowed and the current number of requests in flight, by provider, or by model if it has its own
    limits.
    """

    member: str
    gate: str
    actor: str
    host: str
    seen_at: datetime
    runs: Sequence[str]
    uses: Mapping[str, tuple[int, int]]
    is_on: bool


class Roll:
    """The members' entries, and the portions of one of them.

    ``journal`` is its folder; ``is_here`` tells whether a run is live in a process with the same one.
    """

    def __init__(self, gate: Gate, journal: Path, actor: str, is_here: Callable[[str], bool]) -> None:
        self._gate, self._actor, self._is_here = gate, actor, is_here
        self._place = hashlib.blake2b(f"{machine()} {journal}".encode(), digest_size=8).hexdigest()
        self.member = secrets.token_hex(8)
        self.members: Sequence[Member] = ()
        """All members, this one included, as last seen."""
        self.need = threading.Event()
        """Set when a request waits for a portion, or a run may soon have to wait until others return part of theirs."""
        self._portions = Portions(self.need.set)
        self._wanted: dict[str, tuple[float, int]] = {}
        self._dead_since: dict[str, float] = {}
        gate.share(self._portions)

    def call(self, session: Session, running: Collection[str]) -> None:
        """Publish what runs here, and divide limits and budgets among the members.

        Smaller portions hold at once, larger ones as soon as the others know of them.
        """
        is_on = f"greatest(seen_at, pg_postmaster_start_time()) > clock_timestamp() - INTERVAL '{LAPSE} s'"
        query = f"""
            WITH gone AS (
                DELETE FROM llmkit_members WHERE seen_at < now() - INTERVAL '30 d'
                    OR actor = %s AND runs = '{{}}' AND NOT {is_on}  -- killed, and replaced by this process
            )
            SELECT member, gate, actor, host, seen_at, runs, uses, {is_on}, extract(epoch FROM now())::FLOAT
            FROM llmkit_members ORDER BY actor, host, member"""
        session.hold(ROLL)
        rows = session.execute(query, [self._actor]).fetchall()
        self.members, now = [Member(*row[:-1]) for row in rows], rows[0][-1] if rows else 0.0
        slots, before = self._divided(now), self._portions.slots
        self._share({name: min(count, before.get(name, 0)) for name, count in slots.items()})
        uses = self._gate.uses()  # after the gate has been lowered
        taken = {name: (count, uses.get(name, (0, 0))[1]) for name, count in slots.items()}
        runs = sorted(run_id for run_id in running if not self.is_elsewhere(run_id))
        session.execute(
            "INSERT INTO llmkit_members VALUES (%s, %s, %s, %s, clock_timestamp(), %s, %s) ON CONFLICT (member) "
            "DO UPDATE SET seen_at = excluded.seen_at, runs = excluded.runs, uses = excluded.uses",
            [self.member, self._place, self._actor, platform.node(), runs, json.dumps(taken)],
        )
        ceilings = self._ceilings(session, running, now)
        session.commit()
        self._share(slots)
        for claim, ceiling in ceilings:
            claim.ceiling = ceiling

    def leave(self, session: Session) -> None:
        """Delete this member's entry."""
        session.execute("DELETE FROM llmkit_members WHERE member = %s", [self.member])

    def go_on_alone(self) -> None:
        """Out of reach of the team: keep the current portions, and take an equal share of other limits wanted now."""
        slots, kept = self._divided(time.time(), by_number=True), self._portions.slots
        self._share({name: kept.get(name) or count for name, count in slots.items()})

    def is_elsewhere(self, run_id: str) -> bool:
        """Whether another member has a run."""
        return any(run_id in each.runs for each in self.members if each.is_on and each.member != self.member)

    # --- limits ---

    def _divided(self, now: float, *, by_number: bool = False) -> dict[str, int]:
        """The number of parallel requests for this gate, for each limit that is wanted here."""
        moment = time.monotonic()
        self._wanted |= {name: (moment, limit) for name, (limit, _) in self._gate.uses().items()}
        self._wanted = {name: each for name, each in self._wanted.items() if each[0] > moment - LINGER}
        others = defaultdict[str, dict[str, Use]](dict)
        for member in self.members:
            for name, (slots, in_flight) in member.uses.items():
                if member.is_on and member.gate != self._place:
                    known = others[name].get(member.gate, Use())
                    both = Use(max(slots, known.slots), in_flight + known.in_flight)
                    others[name][member.gate] = Use() if by_number else both
        return {name: portion(limit, self._place, others[name], now) for name, (_, limit) in self._wanted.items()}

    def _share(self, slots: Mapping[str, int]) -> None:
        if slots != self._portions.slots:
            self._portions.slots = slots
            self._gate.share(self._portions)

    # --- budgets ---

    def _ceilings(self, session: Session, running: Collection[str], now: float) -> list[tuple[Claim, Decimal]]:
        """The new ceilings of this process's runs; lower ones hold already."""
        query = """
            SELECT budget, run, gate, ceiling, used, spent, wants FROM llmkit_stakes
            WHERE budget = ANY(%s) OR gate = %s AND ceiling != spent"""
        stakes = dict[tuple[str, str], Stake]()
        budgets = [budget for budget, _ in tuple(self._portions.claims)]
        for budget, run, gate, *amounts in session.execute(query, [budgets, self._place]):
            stakes[budget, run] = self._settled(session, budget, run, gate, Stake(*amounts))
        with self._portions.lock:
            own = dict(self._portions.claims)
            for (budget, run), claim in own.items():
                wants = run in running and claim.wanted_at > time.monotonic() - LINGER
                others = {each: stake for (of, each), stake in stakes.items() if of == budget and each != run}
                stakes[budget, run], claim.elsewhere = claim.divided(run, others, now, wants=wants)
                claim.ceiling = min(claim.ceiling, stakes[budget, run].ceiling)
                if run not in running:
                    del self._portions.claims[budget, run]
        if any(stake.wants > stake.ceiling - stake.used for stake in stakes.values()):
            self.need.set()
        for budget, run in own:
            self._tell(session, budget, run, stakes[budget, run])
        return [(claim, stakes[key].ceiling) for key, claim in own.items()]

    def _settled(self, session: Session, budget: str, run: str, gate: str, stake: Stake) -> Stake:
        """The stake as it counts now; for a run that died here, by its journal once that has been read since."""
        if gate != self._place:
            return stake._replace(is_live=self.is_elsewhere(run))
        if self._is_here(run) or stake.ceiling == stake.spent:
            self._dead_since.pop(run, None)
            return stake
        since = self._dead_since.setdefault(run, time.monotonic())
        for (of, _), claim in tuple(self._portions.claims.items()):
            if of == budget and claim.counted_at > since:
                spent = claim.counted.get(run, Decimal(0))
                stake = Stake(spent, spent, spent)
                self._tell(session, budget, run, stake)
        return stake._replace(is_live=False)

    def _tell(self, session: Session, budget: str, run: str, stake: Stake) -> None:
        query = """
            INSERT INTO llmkit_stakes VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (budget, run) DO UPDATE SET
                (gate, ceiling, used, spent, wants) =
                (excluded.gate, excluded.ceiling, excluded.used, excluded.spent, excluded.wants)"""
        session.execute(query, [budget, run, self._place, *stake[:4]])

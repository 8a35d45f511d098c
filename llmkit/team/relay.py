"""A session with the team's PostgreSQL, which relays what members write and knows who is online. All SQL is here."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.pq import TransactionStatus

from llmkit.errors import CatalogBusy
from llmkit.limiter import Stake
from llmkit.team.address import LOCKS, PATIENCE, Address

LAPSE = 15
"""Seconds of silence after which a member counts as offline, and its portions are free."""
STALL, STALL_OF_EDITS = 5, 12
"""Seconds after which the server ends a transaction that holds a lock and says nothing: fewer than until ``LAPSE``."""
_EDIT, _PUSH, _ROLL = 1, 2, 3


class Part(NamedTuple):
    """Complete lines of a segment; ``start`` is the offset of the first byte."""

    segment: str
    start: int
    data: bytes


class Member(NamedTuple):
    """A process in the team. Processes with the same ``gate`` share one local database.

    ``uses``: the allowed and the current number of requests in flight, by provider, or by model if it has its own
    limits.
    """

    member: str
    gate: str
    actor: str
    host: str
    runs: Sequence[str]
    uses: Mapping[str, tuple[int, int]]
    seen_at: datetime | None = None
    is_on: bool = True


class Relay:
    """A session. Not thread-safe.

    Raises:
        CatalogBusy: the database does not answer; also raised by every method.
        ValidationError: it was not prepared for this version.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        with address.reached(), contextlib.ExitStack() as failing:
            self._session = failing.enter_context(address.session())
            address.check(self._session)
            failing.pop_all()

    def close(self) -> None:
        """End the session, and take back what is not committed."""
        self._session.close()

    @property
    def is_locked(self) -> bool:
        """Whether a transaction holds a lock."""
        return self._session.info.transaction_status != TransactionStatus.IDLE

    def lock_edits(self, *, waits: bool = True) -> None:
        """Take the edit lock, and put nothing for good until :meth:`commit`.

        Raises:
            CatalogBusy: a colleague holds it; raised at once unless this ``waits``.
        """
        with self._address.reached():
            self._lock(_EDIT, f"{PATIENCE}s" if waits else "1ms", STALL_OF_EDITS)

    def commit(self) -> None:
        """Make what was put since :meth:`lock_edits` visible to all, and release the lock."""
        with self._address.reached():
            self._session.commit()

    # --- parts of segments ---

    def pushing(self) -> contextlib.AbstractContextManager[None]:
        """Within the block nobody else puts parts, so that their numbers become visible in order."""
        return self._locked(_PUSH)

    def ends(self, seq: int) -> tuple[int, dict[str, int]]:
        """The number of the latest part, and the size in bytes of every segment with parts after number ``seq``."""
        rows = self._ask("SELECT segment, max(stop), max(seq) FROM llmkit_parts WHERE seq > %s GROUP BY segment", [seq])
        return max((row[2] for row in rows), default=seq), {segment: stop for segment, stop, _ in rows}

    def beyond(self, sizes: Mapping[str, int]) -> Iterator[Part]:
        """The parts of these segments that extend beyond the given sizes."""
        query = """
            SELECT p.segment, p.start, p.data FROM llmkit_parts p JOIN unnest(%s::TEXT[], %s::BIGINT[]) s (name, size)
                ON p.segment = s.name AND p.stop > s.size ORDER BY seq"""
        if sizes:
            with self._address.reached(), self._session.cursor(binary=True) as cursor:
                for row in cursor.stream(query, [list(sizes), list(sizes.values())], size=16):
                    yield Part(*row)

    def put(self, member: str, parts: Sequence[Part]) -> None:
        """Append parts to their segments; inside :meth:`pushing`.

        Raises:
            CatalogBusy: a part does not start at the end of its segment; nothing is added.
        """
        query = """
            INSERT INTO llmkit_parts (segment, start, stop, member, data) SELECT %(name)s, %(start)s, %(stop)s,
                %(member)s, %(data)b
            WHERE %(start)s = coalesce((SELECT max(stop) FROM llmkit_parts WHERE segment = %(name)s), 0) RETURNING 1"""
        for name, start, data in parts:
            values = {"name": name, "start": start, "stop": start + len(data), "member": member, "data": data}
            if not self._ask(query, values):
                raise CatalogBusy(f"{name} ends elsewhere in the team's database. Try again.")

    # --- members ---

    @contextlib.contextmanager
    def roll(self) -> Iterator[tuple[list[Member], float]]:
        """All members' entries, and the server's time in seconds; within the block no other member changes its own."""
        with self._locked(_ROLL):
            rows = self._ask(f"""
                SELECT member, gate, actor, host, runs, uses, seen_at, greatest(seen_at, pg_postmaster_start_time())
                    > clock_timestamp() - INTERVAL '{LAPSE} s' FROM llmkit_members ORDER BY actor, host, member""")
            yield [Member(*row) for row in rows], self._ask("SELECT extract(epoch FROM now())::FLOAT")[0][0]

    def enter(self, entry: Member) -> None:
        """Write this member's entry; inside :meth:`roll`."""
        self._ask(
            "INSERT INTO llmkit_members VALUES (%s, %s, %s, %s, clock_timestamp(), %s, %s) ON CONFLICT (member) "
            "DO UPDATE SET seen_at = excluded.seen_at, runs = excluded.runs, uses = excluded.uses",
            [*entry[:4], list(entry.runs), json.dumps(entry.uses)],
        )

    def leave(self, members: Sequence[str]) -> None:
        """Delete members' entries, and those that have not been seen for 30 days."""
        query = "DELETE FROM llmkit_members WHERE member = ANY(%s) OR seen_at < now() - INTERVAL '30 d'"
        self._ask(query, [list(members)])

    def stakes(self, budgets: Sequence[str], gate: str) -> list[tuple[str, str, str, Stake]]:
        """The stakes of runs in these budgets, and all unsettled ones at a gate: budget, run, gate, stake; inside
        :meth:`roll`.
        """
        query = """
            SELECT budget, run, gate, ceiling, used, spent, wants FROM llmkit_stakes
            WHERE budget = ANY(%s) OR gate = %s AND ceiling != spent"""
        return [(*row[:3], Stake(*row[3:])) for row in self._ask(query, [list(budgets), gate])]

    def stake(self, budget: str, run_id: str, gate: str, stake: Stake) -> None:
        """Write a run's stake in a budget; inside :meth:`roll`."""
        self._ask(
            "INSERT INTO llmkit_stakes VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (budget, run) DO UPDATE SET "
            "gate = excluded.gate, ceiling = excluded.ceiling, used = excluded.used, spent = excluded.spent, "
            "wants = excluded.wants",
            [budget, run_id, gate, *stake[:4]],
        )

    def _ask(self, query: Any, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with self._address.reached():
            answer = self._session.execute(query, values)
            return answer.fetchall() if answer.description else []

    @contextlib.contextmanager
    def _locked(self, lock: int) -> Iterator[None]:
        with self._address.reached():
            is_inner = self.is_locked
            self._lock(lock, f"{PATIENCE}s", STALL)
            yield
            if not is_inner:  # else committed with the edit; after an error, the session is ended
                self._session.commit()

    def _lock(self, lock: int, within: str, stall: int) -> None:
        """Take a lock that ends with its transaction, in one message. A pooler such as PgBouncer may give the next one
        another session; a member that is suspended meanwhile does not keep all others waiting.
        """
        begin = "" if self.is_locked else "BEGIN"
        how: Any = (
            f"{begin}; SET LOCAL lock_timeout = '{within}'; SET LOCAL statement_timeout = 0;"
            f"SET LOCAL idle_in_transaction_session_timeout = '{stall}s';"
            f"SELECT pg_advisory_xact_lock({LOCKS}, {lock})"
        )
        self._session.execute(how)

"""The team's database: its address, its schema, sessions and their locks, and the errors when it does not answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from llmkit.errors import CatalogBusy, ValidationError

PATIENCE = 10
"""Seconds to wait for a lock."""
SILENCE = 15
"""Seconds after which a server that says nothing counts as gone; a lock is refused sooner."""
STALL, STALL_OF_EDITS = 5, 12
"""Seconds after which the server ends a transaction that holds a lock and says nothing: fewer than until a member
counts as offline."""
_LOCKS, INIT, EDITS, PARTS, ROLL = 0x6C6C6D6B, 0, 1, 2, 3
"""The locks: on the schema, on edits, on uploads, also within edits, and on what members agree."""
_HOW = {"connect_timeout": 3, "application_name": "llmkit"}
_STEPS = (
    """CREATE TABLE llmkit_parts (
        seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, segment TEXT NOT NULL, start BIGINT NOT NULL,
        stop BIGINT NOT NULL, member TEXT NOT NULL, data BYTEA NOT NULL, UNIQUE (segment, start))""",
    """CREATE TABLE llmkit_members (
        member TEXT PRIMARY KEY, gate TEXT NOT NULL, actor TEXT NOT NULL, host TEXT NOT NULL,
        seen_at TIMESTAMPTZ NOT NULL, runs TEXT[] NOT NULL, uses JSONB NOT NULL)""",
    """CREATE TABLE llmkit_stakes (
        budget TEXT, run TEXT, gate TEXT NOT NULL, ceiling NUMERIC NOT NULL, used NUMERIC NOT NULL,
        spent NUMERIC NOT NULL, wants NUMERIC NOT NULL, PRIMARY KEY (budget, run))""",
)
"""The schema as a list of migrations, which is only ever appended to."""


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A session, which ends with its first failure."""

    def wait(self, gen: Generator[Any, Any, Any], *how: Any, **more: Any) -> Any:
        """As the library does, with an end. TCP does not notice a server that hangs: its system still answers."""
        try:
            return super().wait(_heard(gen), *how, **more)
        except psycopg.Error:
            self.pgconn.finish()
            raise

    @property
    def is_locked(self) -> bool:
        """Whether a transaction holds a lock."""
        return self.info.transaction_status != TransactionStatus.IDLE

    def hold(self, lock: int, *, waits: bool = True) -> None:
        """Take a lock that ends with its transaction, in one message. A pooler such as PgBouncer may give the next one
        another session; a member that is suspended meanwhile does not keep all others waiting.
        """
        self.execute(
            f"{'' if self.is_locked else 'BEGIN'}; SET LOCAL lock_timeout = '{PATIENCE if waits else 0.001}s';"
            f"SET LOCAL idle_in_transaction_session_timeout = '{STALL_OF_EDITS if lock == EDITS else STALL}s';"
            f"SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({_LOCKS}, {lock})"
        )


def _heard(steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The same steps, as long as something is sent or received now and then, however slowly."""
    ready, heard_at = None, time.monotonic()
    try:
        while time.monotonic() < heard_at + SILENCE:
            if ready := (yield steps.send(ready)):
                heard_at = time.monotonic()
    except StopIteration as end:
        return end.value
    raise psycopg.OperationalError(f"no answer for {SILENCE} s")


class Address:
    """The address of the team's database with its credentials. ``repr`` shows no password."""

    def __init__(self, url: str) -> None:
        try:
            if not isinstance(url, str) or not url.startswith(("postgresql://", "postgres://")):
                raise ValueError(url)
            # an @ ends the password, whose rest would be shown as the host; a NUL ends the URL
            if url.partition("?")[0].count("@") > 1 or "\0" in url:
                raise ValueError(url)
            self._parameters: dict[str, Any] = {**_HOW, **conninfo_to_dict(url.strip())}
        except (ValueError, psycopg.Error):  # whose message may quote the URL
            raise ValidationError(
                "team= is the URL of a PostgreSQL database, such as postgresql://lab@host/llmkit; in a password, @ is "
                "written %40.",
                field="team",
            ) from None

    def __repr__(self) -> str:
        known = {"user": "", "host": "localhost", **self._parameters}
        return f"{known['user']}@{known['host']}/{known.get('dbname', known['user'])}"

    def session(self) -> Session:
        """A new session; inside :meth:`reached`."""
        return Session.connect(autocommit=True, prepare_threshold=None, **self._parameters)

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """Turn errors of PostgreSQL into a sentence.

        Raises:
            CatalogBusy: the database cannot be reached, or a colleague holds the lock.
        """
        try:
            yield
        except psycopg.errors.LockNotAvailable:
            raise CatalogBusy(f"A colleague is editing the catalog of the team {self!r}. Try again.") from None
        except psycopg.Error as error:
            line, secret = (str(error).splitlines() or [type(error).__name__])[0], self._parameters.get("password")
            line = line.replace(str(secret), "***") if secret else line
            raise CatalogBusy(
                f"The team's database {self!r} cannot be used: {line}. Check its address and what its user may do "
                "there, or try again when it is back."
            ) from None

    def check(self, session: Session, *, is_new: bool = False) -> int:
        """The version of the database's schema: the current one, or with ``is_new`` any earlier one (0: none)."""
        ((is_seen, schema),) = session.execute("""
            SELECT bool_or(pg_table_is_visible(oid)), min(relnamespace::regnamespace::TEXT) FROM pg_class
            WHERE relname = 'llmkit_team'""")
        if schema and not (is_seen or is_new):  # else a colleague would found a team of one, with all of the limits
            raise ValidationError(
                f"The team in {self!r} is in the schema {schema}, which is not on your search_path: add "
                f"?options=-csearch_path%3D{quote(schema)} to the URL.",
                field="team",
            )
        version = next(session.execute("SELECT coalesce(max(version), 0) FROM llmkit_team"))[0] if is_seen else 0
        if version > len(_STEPS):
            raise ValidationError(f"{self!r} was prepared by a newer llmkit: pip install -U llmkit.", field="team")
        if version < len(_STEPS) and not is_new:
            raise ValidationError(f"{self!r} is not prepared for this version: llmkit team init URL.", field="team")
        return int(version)


def init(url: str) -> str:
    """Create the team's tables in a database, or upgrade them to this version; returns the database's name.

    Raises:
        CatalogBusy: it does not answer, or does not allow creating tables.
        ValidationError: not a PostgreSQL URL, or a newer llmkit has prepared it.
    """
    address = Address(url)
    with address.reached(), address.session() as session:  # which commits
        session.hold(INIT)
        for step in _STEPS[address.check(session, is_new=True) :]:
            session.execute(step)
        session.execute("CREATE TABLE IF NOT EXISTS llmkit_team (version INTEGER NOT NULL)")
        session.execute("DELETE FROM llmkit_team")
        session.execute("INSERT INTO llmkit_team VALUES (%s)", [len(_STEPS)])
    return repr(address)

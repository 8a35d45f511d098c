"""The address of the team's database, its preparation, and the errors when it does not answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from llmkit.errors import CatalogBusy, ValidationError

PATIENCE = 10
"""Seconds to wait for a lock."""
SILENCE = 15
"""Seconds after which a server that says nothing counts as gone; a lock is refused sooner."""
LOCKS = 0x6C6C6D6B
"""The first key of advisory locks other than those on gates."""
_HOW = {"connect_timeout": 3, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
        "tcp_user_timeout": 10_000, "application_name": "llmkit"}  # fmt: skip
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


class _Session(psycopg.Connection[tuple[Any, ...]]):
    """A session that ends when its server hangs. TCP does not notice that: the server's system still answers."""

    def wait(self, gen: Generator[Any, Any, Any], *how: Any, **more: Any) -> Any:
        """As the library does, with an end."""
        return super().wait(self._heard(gen), *how, **more)

    def _heard(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        heard_at = time.monotonic()
        try:
            wanted = next(steps)
            while True:
                if ready := (yield wanted):
                    heard_at = time.monotonic()
                elif time.monotonic() > heard_at + SILENCE:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer for {SILENCE} s")
                wanted = steps.send(ready)
        except StopIteration as end:
            return end.value


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

    def session(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A new session; inside :meth:`reached`."""
        return _Session.connect(autocommit=True, prepare_threshold=None, **self._parameters)

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

    def check(self, session: psycopg.Connection[tuple[Any, ...]], *, is_new: bool = False) -> int:
        """The version of the database's schema: the current one, or with ``is_new`` any earlier one (0: none)."""
        places = session.execute("""
            SELECT pg_table_is_visible(oid), relnamespace::regnamespace::TEXT FROM pg_class
            WHERE relname = 'llmkit_team' ORDER BY 1 DESC""").fetchall()
        is_seen = bool(places) and places[0][0]
        if places and not (is_seen or is_new):  # else a colleague would found a team of one, with all of the limits
            raise ValidationError(
                f"The team in {self!r} is in the schema {places[0][1]}, which is not on your search_path: add "
                f"?options=-csearch_path%3D{quote(places[0][1])} to the URL.",
                field="team",
            )
        row = session.execute("SELECT max(version) FROM llmkit_team").fetchone() if is_seen else None
        version = int(row[0] or 0) if row else 0
        if version > len(_STEPS):
            raise ValidationError(f"{self!r} was prepared by a newer llmkit: pip install -U llmkit.", field="team")
        if version < len(_STEPS) and not is_new:
            raise ValidationError(f"{self!r} is not prepared for this version: llmkit team init URL.", field="team")
        return version


def init(url: str) -> str:
    """Create the team's tables in a database, or upgrade them to this version; returns the database's name.

    Raises:
        CatalogBusy: it does not answer, or does not allow creating tables.
        ValidationError: not a PostgreSQL URL, or a newer llmkit has prepared it.
    """
    address = Address(url)
    with address.reached(), address.session() as session, session.transaction():
        session.execute("SELECT pg_advisory_xact_lock(%s, 0)", [LOCKS])
        for step in _STEPS[address.check(session, is_new=True) :]:
            session.execute(step)
        session.execute("CREATE TABLE IF NOT EXISTS llmkit_team (version INTEGER NOT NULL)")
        session.execute("DELETE FROM llmkit_team")
        session.execute("INSERT INTO llmkit_team VALUES (%s)", [len(_STEPS)])
    return repr(address)

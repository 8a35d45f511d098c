"""Where the team's database is, how it is prepared, and what is said when it does not answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from llmkit.errors import CatalogBusy, ValidationError

PATIENCE = 10
"""Seconds that somebody waits for a lock."""
LOCKS = 0x6C6C6D6B
"""The first half of locks that are not of runs."""
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
"""What is there, as steps that are only ever appended to."""


class Address:
    """Where the team's database is, and how to get in. Its text has no password."""

    def __init__(self, url: str) -> None:
        """Read a URL.

        Raises:
            ValidationError: it is none of PostgreSQL.
        """
        try:
            if not isinstance(url, str) or not url.startswith(("postgresql://", "postgres://")):
                raise ValueError(url)
            self.parameters: dict[str, Any] = {**_HOW, **conninfo_to_dict(url)}
        except (ValueError, psycopg.Error):  # which may quote the URL
            raise ValidationError(
                "team= is the URL of a PostgreSQL database, such as postgresql://lab@host/llmkit.", field="team"
            ) from None

    @property
    def text(self) -> str:
        """As libpq takes it; with the password."""
        return make_conninfo(**self.parameters)

    def __repr__(self) -> str:
        known = {"user": "", "host": "localhost", **self.parameters}
        return f"{known['user']}@{known['host']}/{known.get('dbname', known['user'])}"

    def words(self, error: psycopg.Error) -> str:
        """The first line of what went wrong, without the password."""
        line, secret = (str(error).splitlines() or [type(error).__name__])[0], self.parameters.get("password")
        return line.replace(str(secret), "***") if secret else line

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """Say it in a sentence when the database cannot be reached.

        Raises:
            CatalogBusy: it cannot.
        """
        try:
            yield
        except psycopg.errors.LockNotAvailable:
            raise CatalogBusy(f"A colleague edits the catalog of the team {self!r}. Try again.") from None
        except psycopg.Error as error:
            raise CatalogBusy(
                f"The team's database {self!r} does not answer: {self.words(error)}. Runs go on; what colleagues do "
                "appears here, and edits can be made, when it is back."
            ) from None

    def check(self, session: psycopg.Connection[Any], *, is_new: bool = False) -> int:
        """The version for which a database is prepared: this one, or an earlier one if ``is_new`` may be prepared.

        Raises:
            ValidationError: it is another one.
        """
        exists = session.execute("SELECT to_regclass('llmkit_team')").fetchone()
        row = session.execute("SELECT max(version) FROM llmkit_team").fetchone() if exists and exists[0] else None
        version = int(row[0] or 0) if row else 0
        if version > len(_STEPS):
            raise ValidationError(f"A newer llmkit has prepared {self!r}: pip install -U llmkit.", field="team")
        if version < len(_STEPS) and not is_new:
            raise ValidationError(f"{self!r} is not prepared for this version: llmkit team init URL.", field="team")
        return version


def init(url: str) -> str:
    """Create what a team needs in a database, or bring it up to this version; returns which database that is.

    Raises:
        CatalogBusy: it does not answer, or does not let tables be made.
        ValidationError: no URL of PostgreSQL, or a newer llmkit has prepared it.
    """
    address = Address(url)
    with address.reached(), psycopg.connect(address.text, prepare_threshold=None) as session:
        session.execute("SELECT pg_advisory_xact_lock(%s, 0)", [LOCKS])
        for step in _STEPS[address.check(session, is_new=True) :]:
            session.execute(step)
        session.execute("CREATE TABLE IF NOT EXISTS llmkit_team (version INTEGER NOT NULL)")
        session.execute("DELETE FROM llmkit_team")
        session.execute("INSERT INTO llmkit_team VALUES (%s)", [len(_STEPS)])
    return repr(address)

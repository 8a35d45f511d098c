"""The lease: decides who may open the database now, and opens it.

A process that polls for DuckDB's own lock can read a header that is about to change, and lose rows. So a sidecar file
is locked around open … close: exclusively to write, shared to read, and never between operations.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import duckdb
from portalocker import LockFlags

from llmkit.errors import CatalogBusy, ValidationError
from llmkit.records.memory import give_back
from llmkit.store import intruders, locks, seals, trouble
from llmkit.store.tables import literal
from llmkit.store.trouble import OutOfReach

CONFIG: dict[str, Any] = {**trouble.CONFIG, "python_enable_replacements": False, "threads": 2}
CONFINED: dict[str, Any] = {**CONFIG, "enable_external_access": False}
_ROWS = 8_192
"""Rows of a row group, DuckDB's unit of compression: each operation recompresses the last group of each table."""
_LARGE = 1 << 29
"""Bytes of a database from which on two threads read it: a table of costs takes half the time, a third more memory."""
_INTERRUPTED = "Query interrupted"
"""DuckDB's message when a query is interrupted (Stop, Ctrl-C)."""
_BESIDE = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
"""The suffixes of a database and of the files that DuckDB keeps with it."""

_REMEDY = (
    "Free some space, check the folder's permissions, or raise the limit on open files (ulimit -n); everything "
    "acknowledged so far is saved in the journal beside it."
)


class Damaged(Exception):
    """The database file cannot be opened or read; internal to the store, which rebuilds it."""


class Lease:
    """Access to the database at ``path`` for the threads of this process and for other processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lockfile = path.with_name(path.name + ".lock")
        self._queue = path.with_name(path.name + ".queue.lock")
        self._mutex = _mutex(path)
        self._engine: duckdb.DuckDBPyConnection | None = None
        self._reaches = [path]
        self._seen = b""
        self._sidecar: IO[bytes] | None = None
        _leases.add(self)

    @contextlib.contextmanager
    def hold(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the sidecar lock, waiting for other llmkit processes, which hold it for milliseconds. A reader waits for
        one of those who write, however many there are: writers queue, and let in who came to read before the next.

        Raises:
            CatalogBusy: one of them has held it for ten seconds, or another thread of this process for two minutes.
            OutOfReach: the file cannot be locked.
        """
        kind = LockFlags.EXCLUSIVE if exclusive else LockFlags.SHARED
        with self._turn(), contextlib.ExitStack() as opened:
            queue, file = (opened.enter_context(self._opened(at, exclusive)) for at in (self._queue, self._lockfile))
            if files := [each for each in (queue, file) if each is not None]:
                locks.lock(files, kind, self.path)
            if exclusive and queue is not None:  # the next writer goes on waiting, and readers may come before it
                locks.try_lock(queue, LockFlags.SHARED)
            self._sidecar = file
            yield  # closing the file releases the lock, also when the process dies

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Let in one thread of this process at a time."""
        if not self._mutex.acquire(timeout=locks.AT_MOST):
            raise CatalogBusy(
                f"Another thread of this process has held the catalog {self.path} for {locks.AT_MOST:.0f} s. Wait for "
                "it; runs keep writing to the journal meanwhile.",
                pid=os.getpid(),
            )
        try:
            yield
        finally:
            self._mutex.release()

    def _opened(self, path: Path, exclusive: bool) -> contextlib.AbstractContextManager[IO[Any] | None]:
        try:
            return locks.to_lock(path, exclusive)
        except OSError as error:
            raise OutOfReach(f"{path} cannot be opened: {trouble.reason(error)}. {_REMEDY}") from error

    @property
    def is_changed(self) -> bool:
        """Whether anything, perhaps llmkit in another process, has written the file since :meth:`trust`."""
        return self._stamp != self._seen

    @property
    def is_as_left(self) -> bool:
        """Whether the file is as this user's llmkit left it, here or in another process; only while :meth:`hold` is
        held. The mark of somebody else does not count: the file beside the database may have come with it.
        """
        stamp = self._stamp
        if stamp != self._seen and self._sidecar is not None:
            self._sidecar.seek(0)
            return stamp == seals.opened(self._sidecar.read())
        return stamp == self._seen

    def trust(self) -> None:
        """Remember that the file, as it is now, is in order."""
        self._seen = self._stamp

    def leave(self) -> None:
        """Mark the file as llmkit's latest; only while :meth:`hold` is held exclusively."""
        self.trust()
        if self._sidecar is not None:
            with contextlib.suppress(OSError):  # a full disk: without the mark the database is merely checked again
                self._sidecar.seek(0)
                self._sidecar.truncate()
                self._sidecar.write(seals.sealed(self._seen))

    @contextlib.contextmanager
    def connect(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the database for one short operation; only while :meth:`hold` is held.

        Raises:
            CatalogBusy: a program that is not llmkit holds the file.
            Damaged: the file cannot be opened or read.
            ValidationError: it holds views or macros that llmkit did not make, or its tables do not fit.
        """
        # Starting DuckDB takes ten times as long as opening a file, so the engine stays, with no database attached.
        mode = "READ_ONLY" if read_only else "READ_WRITE"
        try:
            with _private_files():
                engine = self._started()
                is_new = not (self.path.exists() or self.has_wal)
                engine.execute(f"ATTACH {literal(self.path)} AS catalog (TYPE duckdb, {mode}, ROW_GROUP_SIZE {_ROWS})")
                try:
                    with engine.cursor() as connection:
                        connection.execute("USE catalog")
                        if not is_new:
                            self._vet(connection)
                        yield connection
                finally:
                    engine.execute("DETACH catalog")
                    if not read_only:
                        give_back()
        except duckdb.Error as error:
            self.close()
            raise self._translate(error) from error
        except RuntimeError as error:
            if str(error) == _INTERRUPTED:
                raise KeyboardInterrupt from None
            raise

    @contextlib.contextmanager
    def connect_confined(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the database for the user's own statements: read-only, and nothing else can be reached."""
        try:
            with duckdb.connect(self.path, read_only=True, config=CONFINED) as connection:
                self._vet(connection)
                confine(connection)
                yield connection
        except duckdb.Error as error:
            raise self._translate(error) from error

    def close(self) -> None:
        """End the engine after the current operation; the next one starts another."""
        with self._turn():
            engine, self._engine = self._engine, None
            if engine is not None:
                with contextlib.suppress(duckdb.Error):
                    engine.close()

    def _started(self) -> duckdb.DuckDBPyConnection:
        if self._engine is None:
            is_large = self.path.exists() and self.path.stat().st_size > _LARGE
            engine = self._engine = duckdb.connect(config={**CONFIG, "threads": 2 if is_large else 1})
            paths = ", ".join(literal(f"{path}{suffix}") for path in self._reaches for suffix in _BESIDE)
            engine.execute(f"SET allowed_paths = [{paths}]; {_CONFINE}")
        return self._engine

    def _vet(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Check for views and macros that llmkit did not make, unless it was the last to write the file."""
        if not self.is_as_left:
            intruders.refuse(connection, self.path)

    @property
    def _stamp(self) -> bytes:
        """A value that changes with every change of the file, even by somebody who puts its time back."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return b"no file"
        return f"{state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {self.has_wal}".encode()

    def set_aside(self) -> Path:
        """Rename a damaged database and its write-ahead log; returns the new path, which the engine can then read."""
        stem = f"{self.path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        aside = next(place for place in map(self.path.with_name, names) if not place.exists())
        self.path.rename(aside)
        wal = self.path.with_name(self.path.name + ".wal")
        if wal.exists():
            wal.rename(aside.with_name(aside.name + ".wal"))
        self._reaches.append(aside)
        self.close()  # an engine reaches only paths named when it was started
        return aside

    @property
    def was_used(self) -> bool:
        """Whether a database of this name was ever opened here."""
        return self._lockfile.exists()

    @property
    def has_wal(self) -> bool:
        """Whether a killed writer left a write-ahead log, which only a writer may replay."""
        return self.path.with_name(self.path.name + ".wal").exists()

    def _translate(self, error: duckdb.Error) -> Exception:
        if trouble.is_held(error):
            pid = trouble.holder(error) or os.getpid()
            who = "this very process (a duckdb.connect in the notebook?)" if pid == os.getpid() else f"process {pid}"
            return CatalogBusy(
                f"{self.path} is held open by {who}. Close that connection, or work on kit.snapshot() there instead; "
                "runs keep writing to the journal meanwhile.",
                pid=pid,
            )
        if trouble.is_damage(error, self.path):
            return Damaged(trouble.words(error))
        if isinstance(error, duckdb.OperationalError | duckdb.FatalException):  # the disk, or a limit of the process
            return OutOfReach(f"{self.path} cannot be opened or written: {trouble.words(error)}. {_REMEDY}")
        if isinstance(error, duckdb.ProgrammingError | duckdb.PermissionException):  # the tables do not fit our SQL
            return ValidationError(
                f"{self.path} is not as llmkit created it: {trouble.words(error)}. Name another file; or move this one "
                "away, and rebuild it from the journal beside it with llmkit.open(path, adopt=True).",
                field="path",
            )
        return error


def confine(connection: duckdb.DuckDBPyConnection) -> None:
    """Bar a connection from other files, and make its errors plain text; neither can be undone."""
    connection.execute(f"SET GLOBAL errors_as_json = false; {_CONFINE}")


_CONFINE = "SET enable_external_access = false; SET lock_configuration = true"


_leases: weakref.WeakSet[Lease] = weakref.WeakSet()
_forking = contextlib.ExitStack()


def _before_fork() -> None:
    """Close all engines before a fork: the child would have them without their threads, and DuckDB would crash."""
    for lease in tuple(_leases):
        _forking.enter_context(lease._turn())
        lease.close()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(before=_before_fork, after_in_parent=_forking.close, after_in_child=_forking.close)


_mutexes: dict[str, threading.RLock] = {}


def _mutex(path: Path) -> threading.RLock:
    """One lock per database in this process: ``flock`` alone would let a thread lock itself out."""
    return _mutexes.setdefault(os.path.realpath(path), threading.RLock())


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    """Create files, including DuckDB's write-ahead log, for this user only. The mask is the process's: the last of
    several databases at work restores it.
    """
    with _masking:
        _masked.append(os.umask(0o077))
    try:
        yield
    finally:
        with _masking:
            before = _masked.pop()
            if not _masked:
                os.umask(before)


_masking, _masked = threading.Lock(), list[int]()

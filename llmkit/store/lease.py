"""The lease: who may open the database now, and the only place that opens it.

A process that polls for DuckDB's own lock can read a header that is about to change, and lose rows. So a sidecar file
is locked around open … close: exclusively to write, shared to read. Nobody holds it between operations.
"""

from __future__ import annotations

import contextlib
import errno
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
from llmkit.store import intruders, locks, trouble
from llmkit.store.trouble import OutOfReach

CONFIG: dict[str, Any] = {**trouble.CONFIG, "python_enable_replacements": False, "threads": 2}
CONFINED: dict[str, Any] = {**CONFIG, "enable_external_access": False}
_ROWS = 16_384
"""Of a group, the least that is compressed: at the end of each operation the last of each table is, once more."""
_INTERRUPTED = "Query interrupted"
"""What DuckDB makes of an interrupt (Stop, Ctrl-C) while it answers."""
_BESIDE = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
"""What DuckDB appends to a database's name for its own files."""

_REMEDY = (
    "Free some space, check the folder's permissions or let a process open more files (ulimit -n); everything "
    "acknowledged so far is saved in the journal beside it."
)


class Damaged(Exception):
    """The database file does not open or does not read; internal to the store, which rebuilds it."""


class Lease:
    """Access to the database at ``path`` for the threads of this process and for other processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lockfile = path.with_name(path.name + ".lock")
        self._mutex = _mutex(path)
        self._engine: duckdb.DuckDBPyConnection | None = None
        self._reaches = [path]
        self._vetted: bytes | None = None
        self._sidecar: IO[bytes] | None = None
        _leases.add(self)

    @contextlib.contextmanager
    def hold(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the sidecar lock. Waits for other llmkit processes, which hold it for milliseconds.

        Raises:
            CatalogBusy: one of them has held it for ten seconds, or another thread of this process for two minutes.
            OutOfReach: the system does not let it be locked.
        """
        with self._turn(), self._opened(exclusive) as file:
            if file is not None:
                locks.lock(file, LockFlags.EXCLUSIVE if exclusive else LockFlags.SHARED, self.path)
            self._sidecar = file
            yield  # closing the file releases the lock, also when the process dies

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread of this process at a time."""
        if not self._mutex.acquire(timeout=locks.AT_MOST):
            raise CatalogBusy(
                f"Another thread of this process has held the catalog {self.path} for {locks.AT_MOST:.0f} s. Wait for "
                "it; runs go on into the journal meanwhile.",
                pid=os.getpid(),
            )
        try:
            yield
        finally:
            self._mutex.release()

    def _opened(self, exclusive: bool) -> contextlib.AbstractContextManager[IO[Any] | None]:
        """The file to lock; ``None`` in a folder that is read-only, where nobody wrote yet."""
        try:
            fd = os.open(self._lockfile, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if not exclusive and error.errno in (errno.EROFS, errno.EACCES):
                return open(self._lockfile, "rb") if self._lockfile.exists() else contextlib.nullcontext()
            raise OutOfReach(f"{self._lockfile} cannot be opened: {error.strerror or error}. {_REMEDY}") from error
        return open(fd, "rb+", buffering=0)

    def note(self, mark: bytes) -> None:
        """Leave a mark for whoever holds the lease next; only while :meth:`hold` is held exclusively."""
        if self._sidecar is not None:
            with contextlib.suppress(OSError):  # a full disk: without the mark the database is looked into once more
                self._sidecar.seek(0)
                self._sidecar.truncate()
                self._sidecar.write(mark)

    @property
    def mark(self) -> bytes:
        """What was noted last; only while :meth:`hold` is held."""
        if self._sidecar is None:
            return b""
        self._sidecar.seek(0)
        return self._sidecar.read()

    @contextlib.contextmanager
    def connect(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the database for one short operation; only while :meth:`hold` is held.

        Raises:
            CatalogBusy: a program that is not llmkit holds the file.
            Damaged: the file does not open or read.
            ValidationError: it holds views or macros of somebody else, or is not as llmkit made it.
        """
        # Starting DuckDB takes ten times as long as opening a file, so the engine stays, with nothing open in it.
        mode = "READ_ONLY" if read_only else "READ_WRITE"
        try:
            with _private_files():
                engine = self._started()
                engine.execute(f"ATTACH {literal(self.path)} AS catalog (TYPE duckdb, {mode}, ROW_GROUP_SIZE {_ROWS})")
                try:
                    with engine.cursor() as connection:
                        connection.execute("USE catalog")
                        self._vet(connection)
                        yield connection
                finally:
                    engine.execute("DETACH catalog")
        except duckdb.Error as error:
            self.close()
            raise self._translate(error) from error
        except RuntimeError as error:
            if str(error) == _INTERRUPTED:
                raise KeyboardInterrupt from None
            raise

    @contextlib.contextmanager
    def connect_confined(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The database for statements of the user's: read-only, and nothing else can be reached.

        Raises:
            CatalogBusy, Damaged, ValidationError: as for :meth:`connect`.
        """
        try:
            with duckdb.connect(self.path, read_only=True, config=CONFINED) as connection:
                self._vet(connection)
                confine(connection)
                yield connection
        except duckdb.Error as error:
            raise self._translate(error) from error

    def close(self) -> None:
        """End the engine once nothing is under way; the next operation starts another."""
        with self._turn():
            engine, self._engine = self._engine, None
            if engine is not None:
                with contextlib.suppress(duckdb.Error):
                    engine.close()

    def _started(self) -> duckdb.DuckDBPyConnection:
        if self._engine is None:
            engine = self._engine = duckdb.connect(config=CONFIG)
            paths = ", ".join(literal(f"{path}{suffix}") for path in self._reaches for suffix in _BESIDE)
            engine.execute(f"SET allowed_paths = [{paths}]; {_CONFINE}")
        return self._engine

    def _vet(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Look for what somebody else has put into the file, unless llmkit was the last to write it."""
        stamp = self.stamp
        if self._vetted is None or stamp not in (self._vetted, self.mark):
            intruders.refuse(connection, self.path)
        self._vetted = stamp

    @property
    def stamp(self) -> bytes:
        """What changes with every change of the file."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return b"no file"
        return f"{state.st_ino} {state.st_size} {state.st_mtime_ns} {self.has_wal}".encode()

    def set_aside(self) -> Path:
        """Rename a damaged database, and its write-ahead log, out of the way; returns the new path, which can be read
        from then on.
        """
        stem = f"{self.path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        aside = next(place for place in map(self.path.with_name, names) if not place.exists())
        self.path.rename(aside)
        wal = self.path.with_name(self.path.name + ".wal")
        if wal.exists():
            wal.rename(aside.with_name(aside.name + ".wal"))
        self._reaches.append(aside)
        self.close()  # an engine reaches what was named when it was started
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
                "runs go on into the journal meanwhile.",
                pid=pid,
            )
        if trouble.is_damage(error, self.path):
            return Damaged(trouble.words(error))
        if isinstance(error, duckdb.OperationalError | duckdb.FatalException):  # the disk, or a limit of the process
            return OutOfReach(f"{self.path} cannot be opened or written: {trouble.words(error)}. {_REMEDY}")
        if isinstance(error, duckdb.ProgrammingError | duckdb.PermissionException):  # our own SQL does not fit
            return ValidationError(
                f"{self.path} is not as llmkit made it: {trouble.words(error)}. Name another file; or move this one "
                "away, and have another made of the journal beside it with llmkit.open(path, adopt=True).",
                field="path",
            )
        return error


def confine(connection: duckdb.DuckDBPyConnection) -> None:
    """From now on the connection reaches no other file, and errors are for people; neither can be changed back."""
    connection.execute(f"SET errors_as_json = false; {_CONFINE}")


def literal(text: object) -> str:
    """A text in SQL."""
    return "'" + str(text).replace("'", "''") + "'"


_CONFINE = "SET enable_external_access = false; SET lock_configuration = true"


_leases: weakref.WeakSet[Lease] = weakref.WeakSet()
_forking = contextlib.ExitStack()


def _before_fork() -> None:
    """DuckDB crashes in a child that has an engine without the engine's threads, so none is open across a fork."""
    for lease in tuple(_leases):
        _forking.enter_context(lease._turn())
        lease.close()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(before=_before_fork, after_in_parent=_forking.close, after_in_child=_forking.close)


_mutexes: dict[Path, threading.RLock] = {}


def _mutex(path: Path) -> threading.RLock:
    """One lock a database in this process: ``flock`` alone would let a thread lock itself out."""
    return _mutexes.setdefault(path.resolve(), threading.RLock())


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    """Files that DuckDB creates meanwhile, its write-ahead log too, are for this user only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)

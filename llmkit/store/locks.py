"""File locks between processes: a wait is announced, and never endless.

``flock``, which the system releases when a process dies; not ``lockf``, which any ``close`` of the file would release.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

import portalocker
from portalocker import LockFlags
from portalocker.exceptions import AlreadyLocked, LockException

from llmkit.errors import CatalogBusy
from llmkit.records.user_warnings import warn
from llmkit.store.trouble import OutOfReach

TELL, GIVE_UP, AT_MOST = 2.0, 10.0, 120.0
"""Seconds until a waiter is told who holds the lock, until it gives up on a single holder, and until it gives up on
many that take turns."""
DISK = 60.0
"""Seconds that a thread waits for its lines to be on disk."""


def to_lock(path: Path, exclusive: bool) -> contextlib.AbstractContextManager[IO[Any] | None]:
    """Open a file to lock it, for reading only if need be; ``None`` in a read-only folder that has none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if exclusive or error.errno not in (errno.EROFS, errno.EACCES):
            raise
        return open(path, "rb") if path.exists() else contextlib.nullcontext()
    return open(fd, "rb+", buffering=0)


def try_lock(file: IO[Any], kind: LockFlags) -> bool:
    """Lock a file unless another process or thread has it.

    Raises:
        OutOfReach: files cannot be locked on that disk.
    """
    try:
        portalocker.lock(file, kind | LockFlags.NON_BLOCKING)
    except AlreadyLocked:
        return False
    except LockException as error:
        raise OutOfReach(
            f"Files cannot be locked on the disk of the catalog ({_reason(error)}), so processes could overwrite each "
            "other's work. Keep the catalog on a local disk: llmkit.open(path), or $LLMKIT_DB."
        ) from error
    return True


def _reason(error: LockException) -> str:
    cause = next((each for each in error.args if isinstance(each, OSError)), None)
    return str(error) if cause is None else cause.strerror or str(cause)


def lock(files: Sequence[IO[Any]], kind: LockFlags, catalog: Path) -> None:
    """Lock files, one after the other; if one process holds them long, warn which.

    Raises:
        CatalogBusy: one holder keeps it for ``GIVE_UP`` seconds, or several for ``AT_MOST``.
        OutOfReach: files cannot be locked on that disk.
    """
    if not all(try_lock(file, kind) for file in files):
        _queue(files, kind, catalog)
    with contextlib.suppress(OSError):  # not on a read-only file
        os.utime(files[-1].fileno())


def _queue(files: Sequence[IO[Any]], kind: LockFlags, catalog: Path) -> None:
    taken: Future[None] = Future()
    threading.Thread(target=_take, args=(files, kind, taken), name="llmkit-waits", daemon=True).start()
    file = files[-1]
    last, waited = _last_taken(file), TELL
    try:
        return taken.result(TELL)
    except TimeoutError:
        if last == (last := _last_taken(file)):
            warn(f"{_holder(files)[1]} has held the catalog {catalog.name} for {TELL:.0f} s.")
    rest = 0.0 if _given_up.get(catalog) == last else GIVE_UP - TELL
    while True:
        try:
            return taken.result(rest)
        except TimeoutError:
            waited, rest = waited + rest, GIVE_UP - TELL
        if last == (last := _last_taken(file)) or waited >= AT_MOST:
            _given_up[catalog] = last
            pid, who = _holder(files)
            raise CatalogBusy(
                f"{who} has held the catalog {catalog} for {waited:.0f} s. Wait for it, or end it if it is suspended; "
                "runs keep writing to the journal meanwhile.",
                pid=pid,
            )


_given_up: dict[Path, int] = {}
"""When the lock had last been taken as a wait was given up: nobody waits so long again for a holder still stuck."""


def _last_taken(file: IO[Any]) -> int:
    """When somebody last got the lock: the system's queue is not quite fair when processors are scarce."""
    return os.fstat(file.fileno()).st_mtime_ns


def _take(files: Sequence[IO[Any]], kind: LockFlags, taken: Future[None]) -> None:
    """Wait in the system's queue. Whoever gives up closes the files, so that a lock granted later is free at once."""
    try:
        for file in files:
            portalocker.lock(file, kind)
    except Exception as error:  # noqa: BLE001 - the waiter gets it
        taken.set_exception(error)
    else:
        taken.set_result(None)


def _holder(files: Sequence[IO[Any]]) -> tuple[int | None, str]:
    """Who holds the last of the files that is held, and what to call that process, where the system tells (Linux)."""
    try:
        entries = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        entries = []
    for status in (os.fstat(file.fileno()) for file in reversed(files)):
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for entry in entries:
            if entry[1] == "FLOCK" and entry[5] == place:
                return int(entry[4]), f"pid {entry[4]}"
    return None, "Another process"

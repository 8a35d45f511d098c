"""Locks of files, between processes: waited for with a sentence, and never without end.

``flock``, which the system frees when a process dies; not ``lockf``, which any ``close`` of the file would free.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import IO, Any

import portalocker
from portalocker import LockFlags
from portalocker.exceptions import AlreadyLocked, LockException

from llmkit.errors import CatalogBusy
from llmkit.store.trouble import OutOfReach

TELL, GIVE_UP, AT_MOST = 2.0, 10.0, 120.0
"""Seconds after which somebody who waits is told whom for, after which the wait is over if it is for one holder, and
for many that take turns."""
DISK = 60.0
"""Seconds for which a thread waits for the disk to take what it has written."""


def try_lock(file: IO[Any], kind: LockFlags) -> bool:
    """Lock a file unless another process or thread has it.

    Raises:
        OutOfReach: files are not locked on that disk.
    """
    try:
        portalocker.lock(file, kind | LockFlags.NON_BLOCKING)
    except AlreadyLocked:
        return False
    except LockException as error:
        raise OutOfReach(
            f"Files cannot be locked on the disk of the catalog ({_reason(error)}), so that processes would overwrite "
            "each other's work. Keep the catalog on a disk of this machine: llmkit.open(path), or $LLMKIT_DB."
        ) from error
    return True


def _reason(error: LockException) -> str:
    cause = next((each for each in error.args if isinstance(each, OSError)), None)
    return str(error) if cause is None else cause.strerror or str(cause)


def lock(file: IO[Any], kind: LockFlags, catalog: Path) -> None:
    """Lock a file; while that takes long, say who has it.

    Raises:
        CatalogBusy: somebody has it for longer than ``GIVE_UP`` seconds.
        OutOfReach: files are not locked on that disk.
    """
    if not try_lock(file, kind):
        _queue(file, kind, catalog)
    with contextlib.suppress(OSError):  # a file that may only be read tells nobody
        os.utime(file.fileno())


def _queue(file: IO[Any], kind: LockFlags, catalog: Path) -> None:
    taken: Future[None] = Future()
    threading.Thread(target=_take, args=(file, kind, taken), name="llmkit-waits", daemon=True).start()
    try:
        taken.result(TELL)
    except FutureTimeout:
        warnings.warn(f"{_holder(file)[1]} has held the catalog {catalog.name} for {TELL:.0f} s.", stacklevel=7)
        _wait_on(file, taken, catalog)


def _wait_on(file: IO[Any], taken: Future[None], catalog: Path) -> None:
    last, waited = _last_taken(file), TELL
    rest = 0.0 if _given_up.get(catalog) == last else GIVE_UP - TELL
    while True:
        try:
            return taken.result(rest)
        except FutureTimeout:
            waited, rest = waited + rest, GIVE_UP - TELL
        if last == (last := _last_taken(file)) or waited >= AT_MOST:
            _given_up[catalog] = last
            pid, who = _holder(file)
            raise CatalogBusy(
                f"{who} has held the catalog {catalog} for {waited:.0f} s. Wait for it, or end it if it is stopped; "
                "runs go on into the journal meanwhile.",
                pid=pid,
            )


_given_up: dict[Path, int] = {}
"""When it had been taken last as it was given up: nobody waits so long again for a holder that is still stopped."""


def _last_taken(file: IO[Any]) -> int:
    """When somebody got the lock last: the system's queue is not quite fair while a processor is short."""
    return os.fstat(file.fileno()).st_mtime_ns


def _take(file: IO[Any], kind: LockFlags, taken: Future[None]) -> None:
    """Wait in the system's queue, which is fair. Who gives up closes the file: what is locked then is free at once."""
    try:
        portalocker.lock(file, kind)
    except Exception as error:  # noqa: BLE001 - whoever waits is told
        taken.set_exception(error)
    else:
        taken.set_result(None)


def _holder(file: IO[Any]) -> tuple[int | None, str]:
    """The process that has a file locked, where the system tells (Linux)."""
    status = os.fstat(file.fileno())
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        entries = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        entries = []
    pids = [int(entry[4]) for entry in entries if entry[1] == "FLOCK" and entry[5] == place]
    return (pids[0], f"pid {pids[0]}") if pids else (None, "Another process")

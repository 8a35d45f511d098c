"""What the processes of one catalog share: the pace of a provider in a small locked file, its slots as locked files.

Locks are ``flock`` (through portalocker), never waited for. The system frees them when a process dies.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import portalocker
from portalocker.exceptions import AlreadyLocked

from llmkit.limiter.pace import Limits, PaceState, healed

Clock = Callable[[], float]
Transition = Callable[[PaceState], PaceState]

FROZEN = 2.0  # seconds: nobody holds the pace for more than a millisecond, unless it was stopped or the disk hangs
TRIES = 3
LARGEST = 1 << 20  # bytes of a pace file that are read
ONLY_MINE = 0o600


class Held:
    """The pace while this process holds its lock; what is assigned to ``state`` is written on release."""

    def __init__(self, state: PaceState) -> None:
        self.state = state


class PaceFile:
    """The pace of one provider or model, shared through ``path``. Not for several threads at once.

    Changes that cannot be written because another process holds the lock are kept, and made with the next that can.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._fd: int | None = None
        self._pid = 0
        self._changes: list[Transition] = []
        self._contended_since: float | None = None

    def change(self, transition: Transition) -> None:
        """Change the state: now where possible, else with the next access."""
        self._changes.append(transition)
        for _ in range(TRIES):
            with self.hold() as held:
                if held is not None:
                    return

    def later(self, transition: Transition) -> None:
        """Change the state with the next access, which comes soon."""
        self._changes.append(transition)

    @contextmanager
    def hold(self) -> Iterator[Held | None]:
        """The pace to look at and to change; ``None`` while another process holds it."""
        fd = self._lock()
        if fd is None:
            yield None
            return
        try:
            data = os.pread(fd, LARGEST, 0).partition(b"\n")[0]
            before = PaceState.from_bytes(data)
            held = Held(healed(before, self._clock()))
            for transition in self._changes:
                held.state = transition(held.state)
            self._changes.clear()
            yield held
            if held.state is not before:
                # One line in one call; what an earlier, longer line left behind it is not read.
                os.pwrite(fd, held.state.to_bytes() + b"\n", 0)
        finally:
            portalocker.unlock(fd)

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _lock(self) -> int | None:
        fd = self._open()
        if not _locked(fd):
            now = self._clock()
            if self._contended_since is None or now < self._contended_since:
                self._contended_since = now
            elif now > self._contended_since + FROZEN:
                self._replace()
            return None
        if not self._is_current(fd):  # another process replaced the file
            portalocker.unlock(fd)
            self.close()
            return None
        self._contended_since = None
        return fd

    def _open(self) -> int:
        if self._pid != os.getpid():  # a forked child shares its parent's locks until it opens its own
            self._fd, self._pid = None, os.getpid()
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, ONLY_MINE)
        return self._fd

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _replace(self) -> None:
        """Put a copy in the place of a file whose holder is frozen; when it wakes, it holds a file that is gone."""
        data = os.pread(self._open(), LARGEST, 0).partition(b"\n")[0]
        copy, name = tempfile.mkstemp(dir=self._path.parent, prefix=".pace-")
        try:
            os.write(copy, data + b"\n")
        finally:
            os.close(copy)
        os.replace(name, self._path)
        self._contended_since = None
        self.close()


class Slot:
    """A place among the requests in flight, held until released or until this process dies."""

    def __init__(self, index: int, fd: int, taken: set[int]) -> None:
        self.index = index
        self._fd: int | None = fd
        self._taken = taken
        taken.add(index)

    def release(self) -> None:
        """Give the place back; a second call changes nothing."""
        fd, self._fd = self._fd, None
        if fd is not None:
            self._taken.discard(self.index)
            portalocker.unlock(fd)  # closing alone would leave it to children that were forked meanwhile
            os.close(fd)


class Slots:
    """The slots of one provider or model: ``stem`` followed by a number. Take them only while holding the pace."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self._taken: set[int] = set()  # by this process: no need to ask the system

    def __len__(self) -> int:
        """How many of them this process holds."""
        return len(self._taken)

    def take(self, limit: int, ever: int) -> tuple[Slot | None, int]:
        """A free slot below ``limit`` if there is one, and how many slots may be in use.

        ``ever`` is that number before: it is above ``limit`` after the limit was lowered, until the requests of the
        higher slots are over; they count.
        """
        if ever <= limit:
            for index in range(limit):
                if (slot := self._try(index)) is not None:
                    return slot, max(ever, index + 1)
            return None, ever
        free = [slot for index in range(ever) if (slot := self._try(index)) is not None]
        busy = set(range(ever)) - {slot.index for slot in free}
        mine = free[0] if free and free[0].index < limit and len(busy) < limit else None
        for slot in free:
            if slot is not mine:
                slot.release()
        return mine, max([limit, *(index + 1 for index in busy)])

    def _try(self, index: int) -> Slot | None:
        if index in self._taken:
            return None
        try:
            fd = os.open(f"{self._stem}{index:03}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, ONLY_MINE)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # the process may open no more: the others wait
                return None
            raise
        if _locked(fd):
            return Slot(index, fd, self._taken)
        os.close(fd)
        return None


class Track:
    """One set of limits and the files behind it: a provider's, or those of a model that has its own."""

    def __init__(self, directory: Path, name: str, limits: Limits, clock: Clock) -> None:
        stem = file_name(name)
        self.limits = limits
        self.pace = PaceFile(directory / f"{stem}.pace", clock)
        self.slots = Slots(directory / f"{stem}.slot-")


def file_name(name: str) -> str:
    """A file name for a provider's name or a model's reference, whatever characters it has."""
    safe = quote(name, safe="")
    return safe if len(safe) <= 100 else f"{safe[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _locked(fd: int) -> bool:
    try:
        portalocker.lock(fd, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except AlreadyLocked:
        return False
    return True

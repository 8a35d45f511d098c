"""The state of a provider shared by the processes of a catalog: one page for it, and one for each of its models.

Locks are ``flock``, held for microseconds and never waited for. The system releases them when a process dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from llmkit.limiter.pace import STATE_BYTES, PaceState, healed
from llmkit.limiter.slots import MOST_PROCESSES
from llmkit.records.forks import forgetting
from llmkit.records.private_files import replace_private

if sys.platform != "win32":
    import fcntl

Clock = Callable[[], float]
Transition = Callable[[PaceState], PaceState]

FROZEN = 2.0  # seconds: no process holds the file for more than a millisecond, unless it is stopped or the disk hangs
TRIES = 3  # to lock the file; another process holds it for less than a millisecond
PAGE = 4096  # bytes, written in one call: a killed process leaves either the old page or the new one
KEY_BYTES = 16  # at the end of a page: its subject
PROVIDER = ""  # the first page


class PaceFile:
    """The states of a provider and of its models, shared through one file. Not thread-safe.

    ``get`` and ``put`` are for use in a ``with`` block, whose value is the time at which the file was locked, or
    ``None`` if it could not be; changes are written when it ends. ``me`` is the number of this process.
    """

    def __init__(self, directory: Path, provider: str, clock: Clock) -> None:
        self.me = 0
        self._stem = str(directory / file_name(provider))
        self._path = f"{self._stem}.pace"
        self._clock = clock
        self._fd: int | None = None
        self._life: int | None = None  # a file whose lock says that this process is alive
        self._held: int | None = None  # the file while it is locked
        self._now = 0.0
        self._pages: dict[bytes, int] = {}
        self._count = 0
        self._last: dict[bytes, tuple[bytes, PaceState]] = {}  # what was last read or written
        self._states: dict[bytes, PaceState] = {}
        self._changes: deque[tuple[str, Transition]] = deque()
        self._contended_since: float | None = None
        _OPEN.add(self)

    def __enter__(self) -> float | None:
        self._held, self._now = self._lock(), self._clock()
        if (fd := self._held) is None:
            return None
        try:
            self._find_pages(fd)
            if self._life is None and not self._join():
                self._unlock(fd)
                return None
            while self._changes:
                model, transition = self._changes.popleft()
                self.put(model, transition(self.get(model)))
        except BaseException:
            self._unlock(fd)
            raise
        return self._now

    def __exit__(self, *_: object) -> None:
        fd = self._held
        if fd is None:
            return
        try:
            for key, state in self._states.items():
                if state is not self._last[key][1]:
                    self._write(fd, key, state)
        finally:
            self._unlock(fd)

    def get(self, model: str) -> PaceState:
        """The state of the provider or of a model, fresh if there is none."""
        return self._get(_key(model))

    def put(self, model: str, state: PaceState) -> None:
        """Replace a state that was read with ``get``."""
        self._states[_key(model)] = state

    def later(self, model: str, transition: Transition) -> None:
        """Change a state on the next access, which comes soon."""
        self._changes.append((model, transition))

    def change(self, model: str, transition: Transition) -> None:
        """Change a state: now, or on the next access if another process holds the file."""
        self.later(model, transition)
        with self:
            pass

    @property
    def is_behind(self) -> bool:
        """Whether there are pending changes."""
        return bool(self._changes)

    def is_alive(self, number: int) -> bool:
        """Whether the process with that number is alive; call it while holding the file."""
        if number == self.me:
            return True
        try:
            fd = os.open(self._life_path(number), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _locked(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Apply pending changes, and close the files; the next access reopens them."""
        with contextlib.suppress(OSError):  # on a failing disk, others read slightly outdated limits
            if self._changes:
                with self:
                    pass
            if self._life is not None:
                fcntl.flock(self._life, fcntl.LOCK_UN)  # closing alone would leave the lock to forked children
        self._forget()

    def _forget(self) -> None:
        """Close the files without releasing anything: in a forked child they belong to its parent."""
        self._close()
        if self._life is not None:
            os.close(self._life)
            self._life = None

    # --- locking ---

    def _lock(self) -> int | None:
        if self._fd is None:
            self._fd, self._pages, self._count = _open(self._path), {_key(PROVIDER): 0}, 1
        if not any(_locked(self._fd) for _ in range(TRIES)):
            self._contended()
            return None
        self._contended_since = None
        if self._is_current(self._fd):
            return self._fd
        self._close()
        return self._lock()

    def _unlock(self, fd: int) -> None:
        self._held = None
        self._states.clear()
        fcntl.flock(fd, fcntl.LOCK_UN)

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _contended(self) -> None:
        now = self._clock()
        if self._contended_since is None or now < self._contended_since:
            self._contended_since = now
        elif now > self._contended_since + FROZEN:
            self._replace()

    def _replace(self) -> None:
        """Replace a file whose holder is frozen by a copy; when the holder wakes, its file is gone."""
        frozen = Path(self._path)
        replace_private(frozen, frozen.read_bytes())
        self._contended_since = None
        self._close()

    def _join(self) -> bool:
        """Take the first free number; requests in flight of a dead process with that number are discarded."""
        for number in range(MOST_PROCESSES):
            fd = _open(self._life_path(number))
            if _locked(fd):
                self._life, self.me = fd, number
                for key in self._pages:
                    self._states[key] = self._get(key).without(number)
                return True
            os.close(fd)
        return False

    def _life_path(self, number: int) -> str:
        return f"{self._stem}.process-{number:02}"

    # --- pages ---

    def _find_pages(self, fd: int) -> None:
        count = os.fstat(fd).st_size // PAGE
        for page in range(self._count, count):
            self._pages[os.pread(fd, KEY_BYTES, (page + 1) * PAGE - KEY_BYTES)] = page
        self._count = max(self._count, count)

    def _get(self, key: bytes) -> PaceState:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = self._read(key)
        return state

    def _read(self, key: bytes) -> PaceState:
        page = self._pages.get(key)
        data = b"" if page is None or self._held is None else os.pread(self._held, STATE_BYTES, page * PAGE)
        last = self._last.get(key)
        if last is None or last[0] != data:  # another process wrote it
            last = self._last[key] = data, PaceState.from_bytes(data)
        return healed(last[1], self._now)

    def _write(self, fd: int, key: bytes, state: PaceState) -> None:
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = self._count
            self._count += 1
        data = state.to_bytes()
        os.pwrite(fd, data.ljust(PAGE - KEY_BYTES, b"\0") + key, page * PAGE)
        self._last[key] = data, state


def file_name(name: str) -> str:
    """A safe file name for any provider name."""
    safe = quote(name, safe="")
    return safe if len(safe) <= 100 else f"{safe[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@lru_cache(maxsize=1024)
def _key(model: str) -> bytes:
    return hashlib.sha256(model.encode()).digest()[:KEY_BYTES]


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


_OPEN = forgetting(PaceFile)

"""Who else writes this journal, and who has which run: a locked file for each, unlocked when its process dies."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import portalocker
from portalocker import LockFlags

from llmkit.records.forks import forgetting
from llmkit.store.journal import Journal
from llmkit.store.lines import Event
from llmkit.store.locks import try_lock
from llmkit.store.segment_files import is_at
from llmkit.store.trouble import OutOfReach

_LOOKED_AT = 0.3
"""Seconds for which a claim is tried: somebody who only looks whether a run is live holds its file for an instant."""


Write = Callable[[Sequence[Event]], None]
"""Puts an edit's events into the journal, or raises, and then they are nowhere."""


class Peers:
    """Processes of this machine. Those of a team on several are a :class:`llmkit.team.Team`. Threads may share it."""

    are_elsewhere = False
    """Whether there are others, with databases of their own."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._mine: dict[str, IO[Any]] = {}
        _PEERS.add(self)

    def editing(self, *, waits: bool = True) -> AbstractContextManager[Write]:
        """While the catalog is edited; the lease, which this machine's processes share, is not part of it.

        Raises:
            CatalogBusy: others edit, for longer than an edit takes, or at all unless this ``waits``.
        """
        return contextlib.nullcontext(self.journal.commit)

    def left_elsewhere(self, run_id: str) -> str | None:
        """Who had a run on which other machine when its process died, in words; ``None`` if it was none: nobody else
        knows all of it then.
        """
        return None

    def claim(self, run_id: str) -> bool:
        """Mark a run as this process's; ``False`` when another live process, or this one, has it already.

        Raises:
            OutOfReach: the system does not let the mark be made.
        """
        path, until = self._path(run_id), time.monotonic() + _LOOKED_AT
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            while (file := _claimed(path)) is None:
                if time.monotonic() > until:
                    return False
                time.sleep(0.01)
        except OSError as error:
            why = error.strerror or error
            raise OutOfReach(f"The run cannot be begun, since {path} cannot be written: {why}.") from error
        self._mine[run_id] = file
        return True

    def release(self, run_id: str, *, is_over: bool = True) -> None:
        """End the mark. The file of a run that is not over stays, unlocked, so that anybody may claim it."""
        file = self._mine.pop(run_id, None)
        if file is not None:
            if is_over:
                with contextlib.suppress(OSError):
                    self._path(run_id).unlink(missing_ok=True)
            portalocker.unlock(file)  # closing alone would leave it to children forked meanwhile
            file.close()

    def is_live(self, run_id: str) -> bool:
        """Whether some process has the run now."""
        if run_id in self._mine:
            return True
        try:
            with open(self._path(run_id), "rb", buffering=0) as file:
                return not try_lock(file, LockFlags.SHARED)
        except OSError:
            return False

    def close(self) -> None:
        """End all marks."""
        for run_id in tuple(self._mine):
            self.release(run_id)

    def _path(self, run_id: str) -> Path:
        return self.journal.directory / f"{run_id}.live"

    def _forget(self) -> None:
        while self._mine:
            self._mine.popitem()[1].close()


def _claimed(path: Path) -> IO[Any] | None:
    """The file, locked and still the one of that name: who had it before may have removed it since it was opened."""
    file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb+", buffering=0)  # noqa: SIM115
    try:
        if try_lock(file, LockFlags.EXCLUSIVE) and is_at(file, path):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    return None


_PEERS = forgetting(Peers)

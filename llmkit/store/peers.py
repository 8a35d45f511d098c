"""Who else writes this journal, and who has which run: a locked file per run, unlocked when its process dies."""

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
from llmkit.store.trouble import OutOfReach, reason

_LOOKED_AT = 0.3
"""Seconds for which a claim is tried: a process that merely checks whether a run is live briefly locks its file."""


Write = Callable[[Sequence[Event]], None]
"""Writes an edit's events to the journal, or raises and writes none."""


class Peers:
    """The processes of this machine; for those of a team, see :class:`llmkit.team.Team`. Threads may share it."""

    are_elsewhere = False
    """Whether there are others on other machines, with their own databases."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._mine: dict[str, IO[Any]] = {}
        _PEERS.add(self)

    def editing(self, *, waits: bool = True) -> AbstractContextManager[Write]:
        """Held while the catalog is edited; does not include the lease, which this machine's processes share.

        Raises:
            CatalogBusy: others are editing: for longer than an edit takes, or at all unless this ``waits``.
        """
        return contextlib.nullcontext(self.journal.commit)

    def left_elsewhere(self, run_id: str) -> str | None:
        """Who had a run, on which other machine, when its process died, in words; ``None`` if it was on this one, which
        then knows all of it.
        """
        return None

    def fetch(self, run_id: str | None = None) -> None:
        """Fetch the texts of a run, or of all, of which others have only sent the heads, as far as they can be had."""

    def claim(self, run_id: str) -> bool:
        """Claim a run for this process; ``False`` when another live process, or this one, already has it.

        Raises:
            OutOfReach: the file of the claim cannot be written or locked.
        """
        path, until = self._path(run_id), time.monotonic() + _LOOKED_AT
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            while (file := _claimed(path)) is None:
                if time.monotonic() > until:
                    return False
                time.sleep(0.01)
        except OSError as error:
            why = f"because {path} cannot be written: {reason(error)}"
            raise OutOfReach(f"The run cannot be started, {why}.") from error
        self._mine[run_id] = file
        return True

    def release(self, run_id: str, *, is_over: bool = True) -> None:
        """Release a claim. The file of a run that is not over stays, unlocked, so that anybody may claim it."""
        file = self._mine.pop(run_id, None)
        if file is not None:
            if is_over:
                with contextlib.suppress(OSError):
                    self._path(run_id).unlink(missing_ok=True)
            portalocker.unlock(file)  # closing alone would leave the lock to forked children
            file.close()

    def is_live(self, run_id: str) -> bool:
        """Whether a process has the run now."""
        if run_id in self._mine:
            return True
        try:
            with open(self._path(run_id), "rb", buffering=0) as file:
                return not try_lock(file, LockFlags.SHARED)
        except OSError:
            return False

    def close(self) -> None:
        """Release all claims."""
        for run_id in tuple(self._mine):
            self.release(run_id)

    def _path(self, run_id: str) -> Path:
        return self.journal.directory / f"{run_id}.live"

    def _forget(self) -> None:
        while self._mine:
            self._mine.popitem()[1].close()


def _claimed(path: Path) -> IO[Any] | None:
    """The file, locked and still under that name: its previous holder may have removed it since it was opened."""
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

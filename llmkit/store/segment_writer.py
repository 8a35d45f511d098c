"""The thread that writes a process's events into its own segments, and waits until they are on disk."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from llmkit.errors import JournalError
from llmkit.store import segment_files
from llmkit.store.commit import Commit
from llmkit.store.lines import Event, line
from llmkit.store.locks import DISK
from llmkit.store.segments import CATALOG
from llmkit.store.trouble import reason

_GATHER = 0.002
"""Seconds that a commit waits for others to join if the previous one had several."""
_PIECE = 1 << 20
"""Bytes written at a time: a new run may have a hundred megabytes of prompts."""


@dataclass(slots=True)
class _Open:
    """A segment being written."""

    path: Path
    file: IO[bytes]
    seq: int

    def save(self, lines: Iterable[bytes]) -> bool:
        """Write lines to disk; ``False`` if the file was moved or deleted, so that nobody could read them."""
        piece = bytearray()
        for each in lines:
            piece += each
            if len(piece) >= _PIECE:
                segment_files.write_all(self.file, piece)
                piece = bytearray()
        segment_files.write_all(self.file, piece)
        os.fsync(self.file.fileno())
        return segment_files.is_at(self.file, self.path)


class SegmentWriter:
    """Writes one journal until it is closed: one segment for each run, and one for the catalog.

    ``begin`` returns the name and the first line of a new segment. Threads may share the writer. Every commit ends:
    when its lines are on disk, when that fails, or with the thread, whatever ends it.

    Raises:
        JournalError: the system does not let this process start a thread.
    """

    def __init__(self, directory: Path, begin: Callable[[str], tuple[str, bytes]]) -> None:
        self._directory, self._begin = directory, begin
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Commit | str | None] = queue.SimpleQueue()
        self._gathering: dict[str, Commit] = {}
        self._segments: dict[str, _Open] = {}
        self._is_over = False
        self._thread = threading.Thread(target=self._serve, name="llmkit-journal", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise JournalError(f"The journal in {directory} cannot be written: {error}. End other programs.") from error

    def add(self, about: str, events: Sequence[Event]) -> Commit | None:
        """Queue events of a run or the catalog, to be written together; ``None`` if this writer has ended."""
        with self._lock:
            if self._is_over:
                return None
            commit = self._gathering.get(about)
            if commit is None:
                commit = self._gathering[about] = Commit(about)
                self._queue.put(commit)
            commit.events += events
            commit.calls += 1
            return commit

    def end(self, about: str) -> None:
        """Close a run's segment once everything queued is written."""
        self._queue.put(about)

    def close(self) -> None:
        """Write what is queued and end."""
        self._queue.put(None)
        self._thread.join(DISK)

    def _serve(self) -> None:
        item: Commit | str | None = None
        try:
            crowded = False
            while (item := self._queue.get()) is not None:
                if isinstance(item, str):
                    if (ended := self._segments.pop(item, None)) is not None:
                        ended.file.close()
                    continue
                if crowded:
                    time.sleep(_GATHER)
                with self._lock:
                    del self._gathering[item.about]
                crowded = item.calls > 1
                try:
                    item.end(self._write(item))
                except Exception as error:  # noqa: BLE001 - a bug must not end the writer; its waiters get the error
                    item.end(error)
        finally:
            with self._lock:
                self._is_over = True
            for commit in (*self._gathering.values(), *([item] if isinstance(item, Commit) else [])):
                commit.end(JournalError(f"The journal in {self._directory} was not written: its thread has ended."))
            while self._segments:
                self._segments.popitem()[1].file.close()

    def _write(self, commit: Commit) -> Exception | None:
        """Write the lines; return the error if that fails."""
        try:
            segment = self._segments.get(commit.about) or self._create(commit.about)
            start = segment.file.tell()
        except OSError as error:
            return self._explain(error)
        try:
            if not segment.save(line(event, segment.seq + number) for number, event in enumerate(commit.events)):
                return self._lose(commit.about, segment, start)
        except Exception as error:  # noqa: BLE001 - even a bug must not leave half a batch behind
            is_cut = self._abandon(commit.about, segment, start)
            if not isinstance(error, OSError):
                return error
            return self._explain(error, "" if is_cut else " Whether the last lines were saved is unknown.")
        segment.seq += len(commit.events)
        return None

    def _create(self, about: str) -> _Open:
        name, first = self._begin(about)
        file = segment_files.to_write(self._directory, name, os.O_EXCL | os.O_APPEND)
        try:
            segment_files.write_all(file, first)
            segment_files.sync_directory(self._directory)
        except OSError:
            file.close()
            with contextlib.suppress(OSError):
                (self._directory / name).unlink()
            raise
        created = self._segments[about] = _Open(self._directory / name, file, 1)
        return created

    def _lose(self, about: str, segment: _Open, start: int) -> JournalError:
        """Rewrite a segment that was deleted while open: without the edit, which fails, but with answers, which were
        paid for.
        """
        if about == CATALOG:
            segment.file.truncate(start)
        is_back = segment_files.bring_back(segment.file, segment.path)
        self._abandon(about, segment, start)
        remedy = (
            "It was written again. If the rest of the folder is gone too, restore that"
            if is_back
            else "Restore it from a copy or the trash: its contents may exist nowhere else"
        )
        return JournalError(
            f"{segment.path} was moved or deleted while it was being written. {remedy}. New lines go to another file."
        )

    def _abandon(self, about: str, segment: _Open, start: int) -> bool:
        """Cut off a half-written batch and return whether that worked; the next batch begins a new segment, whatever
        the state of this one.
        """
        is_cut = False
        with contextlib.suppress(OSError):
            segment.file.truncate(start)
            is_cut = True
        with contextlib.suppress(OSError):
            segment.file.close()
        self._segments.pop(about, None)
        return is_cut

    def _explain(self, error: OSError, doubt: str = "") -> JournalError:
        return JournalError(
            f"The journal in {self._directory} cannot be written: {reason(error)}. "
            f"Free some space or check the folder's permissions; everything acknowledged so far is saved.{doubt}"
        )

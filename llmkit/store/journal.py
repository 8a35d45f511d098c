"""The journal: append-only JSON lines beside the database, which make the database expendable.

Each process writes segments of its own, so writers need no lock. An event is acknowledged when it is on the disk
(``fsync``); one thread commits whatever has gathered, so that a hundred answers cost one ``fsync``. A torn last line,
left by a crash, is ignored by readers.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import logging
import os
import queue
import re
import secrets
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from llmkit.errors import JournalError

log = logging.getLogger("llmkit.store")

_BLOCK = 1 << 20
"""Bytes read at once. A thread that reads little and often lets go of the interpreter and takes it back before any
other thread has woken up, so that the event loop would wait for as long as the reading takes."""

_TYPE = re.compile(rb'\{"type":"(\w+)"')

Event = dict[str, Any]
"""One line: ``id`` (unique, ordered by time), ``type``, and the type's own fields (see :mod:`llmkit.store.events`)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it stands in a segment; ``end`` is the offset of the byte after its line."""

    event: Event
    segment: str
    end: int


class Journal:
    """The journal directory of one database, and this process's own segment in it.

    Threads may share it. The segment file is created by the first event.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[bytes, Future[None]] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._segment: IO[bytes] | None = None
        self._last_ns = 0
        self._tag = ""
        self._pid = 0

    def append(self, events: Sequence[Event], *, after: str = "") -> Future[None]:
        """Queue events and return a future that is done when they are on the disk.

        Gives each event its ``id``, later than every id given before here and than ``after``. The events of one call
        are written together. The future raises :class:`JournalError` when they cannot be written.
        """
        future: Future[None] = Future()
        with self._lock:
            self._start_writer()
            for event in events:
                event["id"] = self._next_id(after)
            data = b"".join(_line(event) for event in events)
            self._queue.put((data, future))
        return future

    def commit(self, events: Sequence[Event], *, after: str = "") -> None:
        """Write events and wait until they are on the disk.

        Raises:
            JournalError: the disk is full, read-only or gone.
        """
        self.append(events, after=after).result()

    def sizes(self) -> dict[str, int]:
        """Bytes of every segment, by name, oldest first."""
        try:
            found = [(e.name, e.stat().st_size) for e in os.scandir(self.directory) if e.name.endswith(".jsonl")]
        except FileNotFoundError:
            return {}
        return dict(sorted(found))

    def read(self, offsets: Mapping[str, int], only: Collection[str] | None = None) -> Iterator[Entry]:
        """Events after the given offsets, in the order of their ids over all segments, or ``only`` over some."""
        tails = (
            _read_segment(self.directory / name, offsets.get(name, 0), size)
            for name, size in self.sizes().items()
            if size > offsets.get(name, 0) and (only is None or name in only)
        )
        return heapq.merge(*tails, key=lambda entry: entry.event["id"])

    def types(self, offsets: Mapping[str, int]) -> dict[str, set[str]]:
        """Which types of event come after the given offsets, by segment. Costs less than reading them."""
        tails = {name: offsets.get(name, 0) for name, size in self.sizes().items() if size > offsets.get(name, 0)}
        return {name: _types(self.directory / name, offset) for name, offset in tails.items()}

    def close(self) -> None:
        """Write what is queued and end the writer thread."""
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is not None and self._pid == os.getpid():
                self._queue.put(None)
        if writer is not None and self._pid == os.getpid():
            writer.join()

    def _next_id(self, after: str) -> str:
        floor = int(after[:16], 16) if after else 0
        self._last_ns = max(time.time_ns(), self._last_ns + 1, floor + 1)
        return f"{self._last_ns:016x}-{self._tag}"

    def _start_writer(self) -> None:
        if self._pid != os.getpid():  # first use, or a fork: the parent keeps its segment and its thread
            self._pid, self._tag = os.getpid(), secrets.token_hex(4)
            self._segment, self._writer, self._queue = None, None, queue.SimpleQueue()
        if self._writer is None:
            self._writer = threading.Thread(
                target=self._write_forever, args=(self._queue,), name="llmkit-journal", daemon=True
            )
            self._writer.start()

    def _write_forever(self, source: queue.SimpleQueue[tuple[bytes, Future[None]] | None]) -> None:
        while (item := source.get()) is not None:
            batch, ending = [item], False
            with contextlib.suppress(queue.Empty):
                while not ending:
                    more = source.get_nowait()
                    if more is None:
                        ending = True
                    else:
                        batch.append(more)
            self._write(batch)
            if ending:
                break
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _write(self, batch: Sequence[tuple[bytes, Future[None]]]) -> None:
        try:
            segment = self._segment or self._open_segment()
            start = segment.tell()
        except OSError as error:
            return _fail(batch, self._explain(error))
        try:
            _write_all(segment, b"".join(data for data, _ in batch))
            os.fsync(segment.fileno())
        except OSError as error:
            self._abandon(segment, start)
            return _fail(batch, self._explain(error))
        for _, future in batch:
            future.set_result(None)
        return None

    def _open_segment(self) -> IO[bytes]:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{time.time_ns():016x}-{self._pid}-{secrets.token_hex(4)}.jsonl"
        fd = os.open(self.directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._segment = open(fd, "wb", buffering=0)  # noqa: SIM115 - lives as long as the writer
        self._sync_directory()
        return self._segment

    def _sync_directory(self) -> None:
        if hasattr(os, "O_DIRECTORY"):  # the new name must survive a power cut too; Windows has no such call
            fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _abandon(self, segment: IO[bytes], start: int) -> None:
        """Cut a half-written batch off; the next batch begins a new segment, whatever state this one is in."""
        with contextlib.suppress(OSError):
            segment.truncate(start)
        with contextlib.suppress(OSError):
            segment.close()
        self._segment = None

    def _explain(self, error: OSError) -> JournalError:
        return JournalError(
            f"The journal in {self.directory} cannot be written: {error.strerror or error}. "
            "Free some space or check the folder's permissions; everything acknowledged so far is saved."
        )


def _write_all(segment: IO[bytes], data: bytes) -> None:
    """Write everything: on a disk that is filling up, one write may take only a part and say so in its result."""
    rest = memoryview(data)
    while rest:
        rest = rest[segment.write(rest) :]


def _fail(batch: Sequence[tuple[bytes, Future[None]]], error: JournalError) -> None:
    for _, future in batch:
        future.set_exception(error)


def _line(event: Event) -> bytes:
    try:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate in a prompt or an answer has no UTF-8 form
        return json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _types(path: Path, offset: int) -> set[str]:
    with open(path, "rb", buffering=_BLOCK) as file:
        file.seek(offset)
        return {found[1].decode() if (found := _TYPE.match(line)) else "" for line in file}


def _read_segment(path: Path, offset: int, size: int) -> Iterator[Entry]:
    with open(path, "rb", buffering=_BLOCK) as file:
        file.seek(offset)
        end = offset
        for line in file:
            end += len(line)
            if end > size or not line.endswith(b"\n"):
                return  # torn, or still being written
            try:
                event = json.loads(line)
                event["id"], event["type"]
            except (ValueError, TypeError, KeyError):
                log.warning("a damaged line was skipped", extra={"segment": path.name, "end": end})
                continue
            yield Entry(event, path.name, end)

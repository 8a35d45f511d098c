"""The journal: append-only JSON lines next to the database, which can always be rebuilt from them.

Each writer has its own segments, so writers need no lock: one for its edits of the catalog, and one for each run. An
event is acknowledged once it is on disk (``fsync``); one thread commits whatever has gathered, so that a hundred
answers cost one ``fsync``. Readers ignore a torn last line, left by a crash. Closed segments are merged into packs,
which makes no difference to readers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from llmkit.errors import JournalError
from llmkit.records.forks import forgetting
from llmkit.store.commit import Commit
from llmkit.store.lines import Event, line, verified
from llmkit.store.packs import SUFFIX, Pack
from llmkit.store.segment_files import receive
from llmkit.store.segment_writer import SegmentWriter
from llmkit.store.segments import CATALOG, FIRST_LINE, Header, Segment, is_copy, machine, new_journal
from llmkit.store.trouble import reason

FORMAT = 2
"""The format that a segment's first line names; format 1 had no such line."""
_TYPE = re.compile(rb'"type":"(\w+)"')
_FILE = re.compile(rf"[^\ud800-\udfff]*(\.jsonl|{re.escape(SUFFIX)})")
"""The name of a segment or pack file; DuckDB takes no names that are not text."""


class Block(NamedTuple):
    """Complete lines of a segment, from the offset ``start`` up to, not including, ``end``."""

    segment: Segment
    lines: list[bytes]
    start: int
    end: int

    def singly(self) -> Iterator[Block]:
        """Yield each line as its own block."""
        start = self.start
        for data in self.lines:
            end = start + len(data) + 1
            yield Block(self.segment, [data], start, end)
            start = end


class Journal:
    """The journal directory of one database, and this process's own segments in it.

    Threads may share it. A segment is created by its first event.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.RLock()
        self._writer: SegmentWriter | None = None
        self._last_ns = 0
        self._packs: dict[str, Pack] = {}
        self._packed: dict[str, Pack] = {}
        self.belongs_to = ""
        """Identifies this journal; empty until its database has been read."""
        self._latest = ""
        self._tag = secrets.token_hex(4)
        _JOURNALS.add(self)

    @classmethod
    def of(cls, database: Path) -> Journal:
        """The journal of a database file, in the folder next to it."""
        return cls(database.with_name(f"{database.name}.journal"))

    def append(self, events: Sequence[Event]) -> Commit:
        """Queue events; they are on disk when the returned commit is done.

        Gives each event its ``id``, later than all earlier ones and than whatever :meth:`follow` named. The events of
        one call belong to one run or to the catalog, and are written together.
        """
        about = next((event["run_id"] for event in events if "run_id" in event), CATALOG)
        with self._lock:
            self.stamp(events)
            while self._writer is None or (commit := self._writer.add(about, events)) is None:
                self._writer = SegmentWriter(self.directory, self.header_of_new)
        return commit

    def commit(self, events: Sequence[Event]) -> None:
        """Write events and wait until they are on disk."""
        self.append(events).result()

    def stamp(self, events: Sequence[Event]) -> None:
        """Give events their ids as :meth:`append` does, without writing them."""
        with self._lock:
            for event in events:
                self._last_ns = max(time.time_ns(), self._last_ns + 1)
                event["id"] = f"{self._last_ns:016x}-{self._tag}"

    def sizes(self) -> dict[str, int]:
        """The size of every segment in bytes, by name, oldest first."""
        files, packed = self.files(), dict[str, Pack]()
        packs = [name for name in files if name.endswith(SUFFIX)]
        found = {name: size for name, size in files.items() if name not in packs}
        with self._reading():
            try:
                self._packs = {name: self._packs.get(name) or Pack(self.directory / name) for name in packs}
            except FileNotFoundError:  # it has just been merged into another one
                return self.sizes()
        for pack in self._packs.values():
            for name, (_, _, size) in pack.places.items():
                if size >= found.get(name, 0):
                    found[name], packed[name] = size, pack
        self._packed = packed
        return dict(sorted(found.items()))

    def files(self) -> dict[str, int]:
        """The size of every segment and pack file in bytes, by name; a folder with such a name is ignored."""
        found: dict[str, int] = {}
        with self._reading(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            with os.scandir(self.directory) as entries:
                named = [entry for entry in entries if _FILE.fullmatch(entry.name)]
            for entry in named:
                with contextlib.suppress(FileNotFoundError):  # just deleted, or a broken link
                    if entry.is_file():
                        found[entry.name] = entry.stat().st_size
        return found

    def blocks(self, segment: Segment, offset: int, size: int) -> Iterator[Block]:
        """The complete lines of a segment from an offset on, about ``size`` bytes at a time."""
        pieces, position = list[bytes](), offset
        while data := self.read(segment.name, position, size):
            position += len(data)
            pieces.append(data)
            if b"\n" in data:  # only then join them: a line may take many reads
                *lines, rest = b"".join(pieces).split(b"\n")
                pieces, end = [rest], position - len(rest)
                yield Block(segment, lines, offset, end)
                offset = end
        rest = b"".join(pieces)
        if verified(rest[:-1]):  # a complete line with a damaged line end, not one being written
            yield Block(segment, [rest[:-1]], offset, offset + len(rest))

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Part of a segment; only packs stay open, however many segments are read in parallel."""
        with self._reading():
            return self._part(name, offset, size)

    def header(self, name: str) -> Header | None:
        """A segment's first line; ``None`` if it is damaged, or of an earlier version."""
        with self._reading(), contextlib.suppress(FileNotFoundError):
            return Header.of(self._part(name, 0, FIRST_LINE).partition(b"\n")[0])
        return None

    def _part(self, name: str, offset: int, size: int) -> bytes:
        if name not in self._packed:
            with contextlib.suppress(FileNotFoundError), open(self.directory / name, "rb", buffering=0) as file:
                file.seek(offset)
                return file.read(size)
            self.sizes()  # it has just been merged into a pack
        if (pack := self._packed.get(name)) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return pack.read(name, offset, size)

    def receive(self, name: str, start: int, data: bytes) -> bool:
        """Store what another machine wrote, as :func:`segment_files.receive` does, even if the segment is in a pack."""
        if start and (pack := self._packed.get(name)):
            receive(self.directory, name, 0, pack.read(name, 0, start))
        return receive(self.directory, name, start, data)

    def follow(self, journal: str, latest: str, event_id: str) -> None:
        """Continue after the events in the database, whatever clock stamped them, even if they are no longer here."""
        with self._lock:
            self.belongs_to, self._latest = journal, latest
            self._last_ns = max(self._last_ns, int(event_id[:16] or "0", 16))

    def types(self, segment: Segment, offset: int) -> set[str]:
        """The types of events after an offset; cheaper than parsing them."""
        blocks = self.blocks(segment, offset, 1 << 20)
        found = (_TYPE.search(line, 0, 100) for block in blocks for line in block.lines)
        return {"" if kind is None else kind[1].decode() for kind in found}

    def end(self, about: str) -> None:
        """Close the segment of a run that this process no longer writes."""
        with self._lock:
            if self._writer is not None:
                self._writer.end(about)

    def close(self) -> None:
        """Write what is queued and end the writer thread; the next event starts another."""
        with self._lock:
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        self._packs, self._packed = {}, {}

    def _forget(self) -> None:
        """In a forked child: drop the writer, its segments and open files, which belong to the parent."""
        self._packs, self._packed = {}, {}
        self._lock, self._writer, self._tag = threading.RLock(), None, secrets.token_hex(4)

    def header_of_new(self, about: str) -> tuple[str, bytes]:
        """The name of a new segment, and its first line."""
        writer = secrets.token_hex(4)
        name = f"{time.time_ns():016x}-{about}-{writer}.jsonl"
        journal, before = self._place(name)
        header = {
            "id": f"{time.time_ns():016x}-{writer}",
            "type": "segment",
            "format": FORMAT,
            "about": about,
            "machine": machine(),
            "journal": journal,
            "before": before,
        }
        return name, line(header, 0)

    def _place(self, name: str) -> tuple[str, str | None]:
        """The journal that a new segment belongs to, and its latest segment so far."""
        names = [each for each in self.sizes() if not is_copy(each)]
        journal, before = self.belongs_to, self._latest
        for each in reversed(names):
            header = self.header(each)
            if header is None or not header.journal or header.journal == (journal or header.journal):
                journal, before = journal or (header.journal if header else ""), max(before, each)
                break
        return journal or new_journal([*names, name]), before or None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JournalError(f"{error.filename or self.directory} cannot be read: {reason(error)}.") from error


_JOURNALS = forgetting(Journal)

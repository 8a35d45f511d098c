"""Packs: many closed segments in one file, byte for byte, so that a journal of many runs is a few files.

The first line lists the segments and their sizes; the segments follow one after the other; the last line repeats the
first, in case that is damaged. A pack never changes. If a segment is in several files, the longest is read.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from llmkit.store.lines import line, verified
from llmkit.store.segment_files import to_write, write_all

SUFFIX, UNFINISHED = ".pack", ".unfinished"
_COPIED = 1 << 20


class Place(NamedTuple):
    """The position of a segment in a file."""

    path: Path
    start: int
    size: int


class Pack:
    """A pack, open for as long as it is referenced. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed with the object
        self._lock = threading.Lock()
        end, (start, sizes) = os.fstat(self._file.fileno()).st_size, _contents(self._file)
        self.places: dict[str, Place] = {}
        """Its segments; if the pack is cut off, what is left of them."""
        self.is_whole = end == 2 * start + sum(sizes.values()) > 0
        for name, size in sizes.items():
            self.places[name] = Place(path, start, max(0, min(size, end - start)))
            start += size

    def __del__(self) -> None:
        if "_file" in vars(self):  # weakref.finalize would not do: at the end of a process nothing new is finalized
            self._file.close()

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Part of a segment."""
        _, start, length = self.places[name]
        with self._lock:
            self._file.seek(start + offset)
            return self._file.read(max(0, min(size, length - offset)))


def _contents(file: IO[bytes]) -> tuple[int, dict[str, int]]:
    """Where the first segment begins, and the sizes of all; no segments if both lists of them are damaged."""
    for head in _heads(file):
        seen = verified(head)
        if seen is not None and seen[1] == "pack":
            sizes = json.loads(head)["segments"]
            if all(Path(name).name == name and isinstance(size, int) and size >= 0 for name, size in sizes.items()):
                return len(head) + 1, sizes
    return 0, {}


def _heads(file: IO[bytes]) -> Iterator[bytes]:
    yield file.readline()[:-1]
    file.seek(0)
    yield file.read()[:-1].rpartition(b"\n")[2]


def write(directory: Path, places: Mapping[str, Place]) -> Path:
    """Write segments into a file that readers ignore until it is renamed."""
    name = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
    list_ = line({"id": name, "type": "pack", "segments": {name: size for name, (_, _, size) in places.items()}}, 0)
    with to_write(directory, name + SUFFIX + UNFINISHED, os.O_EXCL) as file:
        write_all(file, list_)
        for path, start, size in places.values():
            _copy(path, start, size, file)
        write_all(file, list_)
        os.fsync(file.fileno())
    return directory / (name + SUFFIX + UNFINISHED)


def _copy(path: Path, start: int, size: int, file: IO[bytes]) -> None:
    with open(path, "rb") as source:
        source.seek(start)
        while size and (data := source.read(min(size, _COPIED))):
            write_all(file, data)
            size -= len(data)

"""Files of segments: open them for writing, write them completely, and store what other machines wrote."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO

from portalocker import LockFlags

from llmkit.store.locks import try_lock
from llmkit.store.trouble import OutOfReach


def to_write(directory: Path, name: str, flags: int = 0) -> IO[bytes]:
    """Open a segment for writing; a new one is readable by this user only. ``flags`` as for ``os.open``.

    It is locked while it is open, so that nobody takes it for closed.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = open(os.open(directory / name, os.O_RDWR | os.O_CREAT | flags, 0o600), "rb+", buffering=0)  # noqa: SIM115
    with contextlib.suppress(OutOfReach):  # where files cannot be locked, no segment counts as closed
        try_lock(file, LockFlags.SHARED)
    return file


def write_all(segment: IO[bytes], data: bytes | bytearray) -> None:
    """Write everything: on a disk that is filling up, a single write may take only part of the data."""
    rest = memoryview(data)
    while rest:
        rest = rest[segment.write(rest) :]


def is_at(file: IO[bytes], path: Path) -> bool:
    """Whether a file is still under that name: not moved, deleted or replaced."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def bring_back(file: IO[bytes], path: Path) -> bool:
    """Rewrite an open file that was deleted; ``False`` if it was moved instead, or cannot be written."""
    if os.fstat(file.fileno()).st_nlink:
        return False
    with contextlib.suppress(OSError), to_write(path.parent, path.name, os.O_EXCL) as again:
        file.seek(0)
        write_all(again, file.read())
        os.fsync(again.fileno())
        sync_directory(path.parent)
        return True
    return False


def sync_directory(directory: Path) -> None:
    """Make new names in a directory survive a power cut."""
    if hasattr(os, "O_DIRECTORY"):  # Windows has no such call
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def receive(directory: Path, name: str, start: int, data: bytes) -> bool:
    """Store the bytes of a segment from ``start`` on; what is already here stays as it is.

    Returns ``False`` if earlier bytes are missing or the segment is being merged. Several processes may receive the
    same bytes.
    """
    with to_write(directory, name) as file:
        if not (try_lock(file, LockFlags.SHARED) and is_at(file, directory / name)):
            return False  # it is being merged with others
        size = file.seek(0, os.SEEK_END)
        if start <= size < start + len(data):
            file.seek(start)
            write_all(file, data)
            os.fsync(file.fileno())
        return start <= size

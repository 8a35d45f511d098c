"""Merge closed segments into packs. If that is interrupted, some are in two files, which is harmless."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from portalocker import LockFlags

from llmkit.errors import JournalError, LlmkitError
from llmkit.store.journal import Journal
from llmkit.store.lease import Lease
from llmkit.store.lines import verified
from llmkit.store.locks import try_lock
from llmkit.store.packs import SUFFIX, UNFINISHED, Pack, Place, write
from llmkit.store.peers import Peers
from llmkit.store.segment_files import sync_directory
from llmkit.store.segments import is_copy, machine, segment, whole_of

log = logging.getLogger("llmkit.store")

MANY = 24
"""The number of files up to which a journal is left alone."""
_AT_ONCE = 128 << 20
"""The most bytes merged at once, so that a process does not end much later for it."""
_AT_REST = 86_400.0
"""Seconds without a write until a segment of another machine, whose locks may be invisible here, counts as closed."""


def compact(journal: Journal, lease: Lease, is_live: Callable[[str], bool]) -> None:
    """Merge the smallest files of a journal if there are many, but none that is being written, damaged or foreign.

    If the system or another process prevents that, it is left for the next time.
    """
    claims = Peers(journal)
    try:
        if len(journal.files()) > MANY and claims.claim("compaction"):
            for left in journal.directory.glob(f"*{SUFFIX}{UNFINISHED}"):
                left.unlink()
            closed = dict(_closed_ones(journal, is_live))
            # only then read them: a journal of a few large files is not read again at each close
            merged = {path: closed[path] for path in closed if _is_sound(path)} if len(closed) > MANY else {}
            if len(merged) > MANY:
                _replace(merged, journal.directory, lease)
    except (LlmkitError, OSError) as error:
        log.info("the journal was not compacted", extra={"reason": str(error)})
    finally:
        claims.close()


def _closed_ones(journal: Journal, is_live: Callable[[str], bool]) -> Iterator[tuple[Path, Mapping[str, Place]]]:
    """The smallest files that can be merged if they are sound, and the segments in them.

    The latest segment stays, so that versions that cannot read packs see from it that others are missing.
    """
    files, total = journal.files(), 0
    files.pop(max(journal.sizes(), default=""), None)
    for name, size in sorted(files.items(), key=lambda file: file[1]):
        total += size
        if total > _AT_ONCE:
            return
        with contextlib.suppress(OSError):  # it is left alone
            if places := _closed(journal, name, size, is_live):
                yield journal.directory / name, places


def _closed(journal: Journal, file: str, size: int, is_live: Callable[[str], bool]) -> Mapping[str, Place]:
    """The segments in a file, whose lines are not read here; none if it must be left alone."""
    path = journal.directory / file
    pack = Pack(path) if path.suffix == SUFFIX else None
    places = {file: Place(path, 0, size)} if pack is None else pack.places
    header = journal.header(next(iter(places), file))
    if header is None or header.journal != journal.belongs_to:
        return {}
    if pack is not None:
        return places if pack.is_whole else {}
    is_elsewhere = header.machine != machine() and time.time() - path.stat().st_mtime < _AT_REST
    about = segment(file).about
    if not about or is_copy(whole_of(file)) or is_live(about) or is_elsewhere:
        return {}
    with open(path, "rb+") as opened:
        return places if _is_over(opened, size) else {}


def _is_over(file: IO[bytes], size: int) -> bool:
    """Whether nobody is writing a segment, or has since it had this size. Locks it until ``file`` is closed."""
    return try_lock(file, LockFlags.EXCLUSIVE) and os.fstat(file.fileno()).st_size == size


def _is_sound(path: Path) -> bool:
    """Whether all lines of a file can be read, and are complete and undamaged."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return all(each.endswith(b"\n") and verified(each[:-1]) for each in file)
    return False


def _replace(merged: Mapping[Path, Mapping[str, Place]], directory: Path, lease: Lease) -> None:
    """Merge several files into one, and remove them."""
    places: dict[str, Place] = {}
    for name, place in sorted(itertools.chain.from_iterable(found.items() for found in merged.values())):
        if name not in places or place.size > places[name].size:
            places[name] = place
    unfinished = write(directory, places)
    try:
        pack = Pack(unfinished)
        if not (pack.is_whole and pack.places.keys() == places.keys() and _is_sound(unfinished)):
            raise JournalError(f"{unfinished} does not hold what was written into it.")
        with lease.hold(exclusive=True):  # readers see the journal as it was before, or after
            unfinished.rename(unfinished.with_suffix(""))
            sync_directory(directory)
            for path in merged:
                _remove(path, pack.places)
    finally:
        unfinished.unlink(missing_ok=True)


def _remove(path: Path, kept: Mapping[str, Place]) -> None:
    if path.suffix == SUFFIX:
        path.unlink()
        return
    with open(path, "rb+") as file:
        if _is_over(file, kept[path.name].size):
            path.unlink()

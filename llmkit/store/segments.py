"""A segment of the journal: its name, and its first line, which says what it belongs to."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import uuid
import zlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from llmkit.store.lines import verified

CATALOG = "catalog"
"""Takes the place of a run's id in the names of catalog segments."""

_NAME = re.compile(r"[0-9a-f]{16}-(.+?)-[0-9a-f]{8}(?![0-9a-f])")

HEAD = ".head.jsonl"
"""The end of the name of a segment's head: its lines without the texts, which a team sends ahead of the whole."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")

FIRST_LINE = 4_096
"""The most bytes of a first line."""


class Segment(NamedTuple):
    """What a segment's name says."""

    name: str
    about: str
    """:data:`CATALOG` or the id of a run; empty in format 1, where a process wrote everything into one segment."""


@lru_cache(maxsize=1024)
def segment(name: str) -> Segment:
    """Read a segment's name: ``<time>-<about>-<writer>.jsonl``."""
    about = _NAME.match(name)  # a copy has more after it
    return Segment(name, "" if about is None or about[1].isdigit() else about[1])


def head_of(name: str) -> str:
    """The name of a segment's head."""
    return name.removesuffix(".jsonl") + HEAD


def whole_of(name: str) -> str:
    """The name of the whole segment, given it or its head."""
    return name.removesuffix(HEAD) + ".jsonl" if name.endswith(HEAD) else name


def is_copy(name: str) -> bool:
    """Whether a segment's name was changed: as a head, or as sync programs do for copies that they make."""
    match = _NAME.match(name)
    return match is not None and name[match.end() :] != ".jsonl"


class Header(NamedTuple):
    """What a segment's first line says."""

    id: str
    journal: str
    """Identifies the journal: derived from the name of its first segment, and the same in all that follow."""
    before: str | None
    """The latest segment of its journal when this one was begun."""
    machine: str
    """The machine that began it, as identified by :func:`machine`."""

    @classmethod
    def of(cls, line: bytes | str | None) -> Header | None:
        """Read a first line; ``None`` if it is damaged, or of an earlier version."""
        data = (line.encode() if isinstance(line, str) else line or b"").rstrip(b"\n")
        seen = verified(data)
        if seen is None or seen[1] != "segment":
            return None
        event = json.loads(data)
        return cls(event["id"], event.get("journal", ""), event.get("before"), event.get("machine", ""))


def new_journal(names: Iterable[str]) -> str:
    """The id of a journal whose oldest segment is the first of these."""
    return hashlib.blake2b(min(names).encode(), digest_size=8).hexdigest()


def machine() -> str:
    """An id of this machine that reveals nothing else about it: of its name and a network card's address. Where Python
    can list no cards, as in a container without ``ip``, it makes one up in each process: then of its name and the boot.
    """
    card = uuid.getnode()
    is_made_up = card >> 40 & 1  # RFC 9562
    place = f"{platform.node()} {_BOOT.read_text() if is_made_up and _BOOT.exists() else card}"
    return f"{zlib.crc32(place.encode()):08x}"

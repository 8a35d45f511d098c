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
from typing import NamedTuple

from llmkit.store.lines import verified

CATALOG = "catalog"
"""Stands in a segment's name where others have the id of their run."""

_NAME = re.compile(r"[0-9a-f]{16}-(.+?)-[0-9a-f]{8}(?![0-9a-f])")

FIRST_LINE = 4_096
"""Bytes of a first line at most."""


class Segment(NamedTuple):
    """What a segment's name says."""

    name: str
    about: str
    """:data:`CATALOG` or the id of a run; empty in format 1, where a process wrote everything into one segment."""


@lru_cache(maxsize=1024)
def segment(name: str) -> Segment:
    """Read a segment's name: ``<time>-<about>-<writer>.jsonl``."""
    about = _NAME.match(name)  # a copy has more behind it
    return Segment(name, "" if about is None or about[1].isdigit() else about[1])


def is_copy(name: str) -> bool:
    """Whether a name is not one that llmkit gives, such as the name of a copy that a sync program made."""
    match = _NAME.match(name)
    return match is not None and name[match.end() :] != ".jsonl"


class Header(NamedTuple):
    """What a segment's first line says."""

    id: str
    journal: str
    """Tells journals apart: made of the name of the first segment, and the same in all that follow."""
    before: str | None
    """The segment that was the latest of its journal when this one was begun."""
    machine: str
    """Who began it, as :func:`machine` tells them apart."""

    @classmethod
    def of(cls, line: bytes | str | None) -> Header | None:
        """Read a first line; ``None`` where it is damaged, or of an earlier version."""
        data = (line.encode() if isinstance(line, str) else line or b"").rstrip(b"\n")
        seen = verified(data)
        if seen is None or seen[1] != "segment":
            return None
        event = json.loads(data)
        return cls(event["id"], event.get("journal", ""), event.get("before"), event.get("machine", ""))


def new_journal(names: Iterable[str]) -> str:
    """What tells a journal apart whose oldest segment is the first of these."""
    return hashlib.blake2b(min(names).encode(), digest_size=8).hexdigest()


def machine() -> str:
    """Tells machines apart, and nothing else about them."""
    return f"{zlib.crc32(f'{platform.node()} {uuid.getnode()}'.encode()):08x}"

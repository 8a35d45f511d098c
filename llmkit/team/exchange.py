"""Synchronize the local journal with the team's database: each gets the lines that it lacks.

Segments are relayed byte for byte in parts, and those of runs also as heads. A database takes the heads of colleagues'
runs at once, and a whole run when somebody opens it; from then on, all of that run.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from llmkit.errors import CatalogBusy, ValidationError
from llmkit.store import Event
from llmkit.store.heads import head
from llmkit.store.journal import Block, Journal
from llmkit.store.lines import line
from llmkit.store.segments import CATALOG, HEAD, head_of, is_copy, segment, whole_of
from llmkit.team.address import EDITS, PARTS, Session

log = logging.getLogger("llmkit.team")

_BLOCK, _BLOCKS = 1 << 18, 4
"""Bytes per part, and parts per transaction."""
_NAME = re.compile(r"[0-9a-f]{16}-[\w-]+-[0-9a-f]{8}(\.head)?\.jsonl")


class Part(NamedTuple):
    """Complete lines of a segment; ``start`` is the offset of the first byte."""

    segment: str
    start: int
    data: bytes


def whole(names: Iterable[str]) -> set[str]:
    """The runs that are there with their texts."""
    return {segment(name).about for name in names if not name.endswith(HEAD)}


class Exchange:
    """The synchronization in one session; after any failure, a new one compares everything anew. Not thread-safe."""

    def __init__(self, session: Session, journal: Journal, member: str) -> None:
        self.session, self._journal, self._member = session, journal, member
        self._until = 0
        self._ends: dict[str, int] = {}
        self._edits: tuple[str, int] | None = None

    def found(self) -> None:
        """Upload local edits that are not there: in a new team, or one made anew.

        Raises:
            ValidationError: both sides have edits that the other one lacks.
        """
        self._look()
        if not self._due(edits=True):
            return
        self.session.hold(EDITS)
        self._look()
        if self._behind(name for name in self._ends if segment(name).about == CATALOG):
            folder = self._journal.directory
            raise ValidationError(
                f"The catalog of {folder.stem} is not the one of this team, or was edited outside the team. Name a "
                f"new file; to bring the runs along, copy their files (all but those with -{CATALOG}- in the name) "
                f"from {folder.name} into the folder of its journal.",
                field="team",
            )
        self.push(edits=True)
        self.session.commit()

    def pull(self) -> None:
        """Fetch what others have uploaded since the last time."""
        if news := self._look():
            self._until, here = max(seq for _, _, seq in news), whole(self._journal.sizes())
            self._fetch(
                name
                for name, _, _ in news
                if name.endswith(HEAD) != (segment(name).about in here or head_of(whole_of(name)) not in self._ends)
            )

    def fetch(self, runs: Collection[str]) -> None:
        """Fetch whole runs."""
        self._fetch(name for name in self._ends if segment(name).about in runs and not name.endswith(HEAD))

    def push(self, *, edits: bool = False) -> None:
        """Upload what runs have written here, or local edits, for which the lock must be held."""
        is_edit = self.session.is_locked
        while self._due(edits=edits):
            self.session.hold(PARTS)  # so that their numbers become visible in order
            self._look()  # other processes with this database upload the same
            blocks = itertools.chain.from_iterable(map(self._blocks, self._due(edits=edits)))
            some = list(itertools.islice(blocks, _BLOCKS))
            self._put([part for block in some for part in self._parts(block)])
            if not is_edit:
                self.session.commit()
            if len(some) < _BLOCKS:  # a torn line stays due
                return

    def lock_edits(self, *, waits: bool) -> None:
        """Take the edit lock, and fetch all edits by others."""
        self.session.hold(EDITS, waits=waits)
        self.pull()

    def edit(self, events: Sequence[Event]) -> None:
        """Upload the events of an edit, for which the lock must be held, then write them to the local journal."""
        self._journal.stamp(events)
        if self._edits is None:
            (name, first), seq = self._journal.header_of_new(CATALOG), 1
            self.push()  # the segments that the new one's header says it follows
        else:
            (name, seq), first = self._edits, b""
        part = self._part(name, first + b"".join(line(event, seq + number) for number, event in enumerate(events)))
        self.session.hold(PARTS)
        self._put([part])
        self.session.commit()
        self._keep(part)
        self._edits = name, seq + len(events)

    def _look(self) -> list[tuple[str, int, int]]:
        """The segments with parts that have not been pulled yet, their sizes, and the number of the latest part."""
        query = "SELECT segment, max(stop), max(seq) FROM llmkit_parts WHERE seq > %s GROUP BY segment"
        news = self.session.execute(query, [self._until]).fetchall()
        self._ends |= {name: stop for name, stop, _ in news}
        return news

    def _behind(self, names: Iterable[str]) -> dict[str, int]:
        """Those of which less is here than there, with their sizes here."""
        sizes = self._journal.sizes()
        return {name: sizes.get(name, 0) for name in names if sizes.get(name, 0) < self._ends[name]}

    def _fetch(self, names: Iterable[str]) -> None:
        query = """
            SELECT p.segment, p.start, p.data FROM llmkit_parts p JOIN unnest(%s::TEXT[], %s::BIGINT[]) s (name, size)
                ON p.segment = s.name AND p.stop > s.size ORDER BY seq"""
        if behind := self._behind(names):
            with self.session.cursor(binary=True) as cursor:
                for row in cursor.stream(query, [list(behind), list(behind.values())]):
                    self._keep(Part(*row))

    def _keep(self, part: Part) -> None:
        if _NAME.fullmatch(part.segment) is None:
            log.warning("a segment of that name is not taken", extra={"segment": part.segment})
        elif not self._journal.receive(*part):
            raise CatalogBusy(f"{part.segment} has become shorter here. It is compared again.")

    def _due(self, *, edits: bool) -> list[str]:
        due = [name for name, size in self._journal.sizes().items() if size > self._ends.get(name, 0)]
        return [name for name in due if not is_copy(name) and (segment(name).about == CATALOG) == edits]

    def _blocks(self, name: str) -> Iterator[Block]:
        return self._journal.blocks(segment(name), self._ends.get(name, 0), _BLOCK)

    def _parts(self, block: Block) -> Iterator[Part]:
        (name, about), lines = block.segment, block.lines
        yield self._part(name, b"\n".join([*lines, b""]))
        if about not in ("", CATALOG) and (block.start == 0 or head_of(name) in self._ends):
            yield self._part(head_of(name), b"\n".join([*map(head, lines), b""]))

    def _part(self, name: str, data: bytes) -> Part:
        start = self._ends.get(name, 0)
        self._ends[name] = start + len(data)
        return Part(name, start, data)

    def _put(self, parts: Sequence[Part]) -> None:
        query = "INSERT INTO llmkit_parts (segment, start, stop, member, data) VALUES (%s, %s, %s, %s, %b)"
        rows = [(name, start, start + len(data), self._member, data) for name, start, data in parts]
        with self.session.cursor() as cursor:
            cursor.executemany(query, rows)

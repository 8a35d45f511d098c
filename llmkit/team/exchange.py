"""Synchronize the local journal with the team's database: each gets the lines that it lacks.

Segments are relayed byte for byte, and those of runs also as heads. A database takes the heads of colleagues' runs at
once, and a whole run when somebody opens it; from then on, all of that run.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from llmkit.errors import CatalogBusy, ValidationError
from llmkit.store import Event
from llmkit.store.heads import head
from llmkit.store.journal import Block, Journal
from llmkit.store.lines import line
from llmkit.store.segments import CATALOG, HEAD, head_of, is_copy, segment, whole_of
from llmkit.team.relay import Part, Relay

log = logging.getLogger("llmkit.team")

_BLOCK, _BLOCKS = 1 << 20, 16
"""Bytes per part, and parts per transaction."""
_NAME = re.compile(r"[0-9a-f]{16}-[\w-]+-[0-9a-f]{8}(\.head)?\.jsonl")


class Exchange:
    """The synchronization by one process. Not thread-safe."""

    def __init__(self, journal: Journal, member: str) -> None:
        self._journal, self._member = journal, member
        self._forget()

    def _forget(self) -> None:
        self._until = 0
        self._ends: dict[str, int] = {}
        self.short: set[str] = set()
        """The runs of which only heads are here."""
        self._edits: tuple[str, int] | None = None

    def catch_up(self, relay: Relay) -> None:
        """Compare everything anew, and upload local edits that are not there: in a new team, or one made anew.

        Raises:
            ValidationError: both sides have edits that the other one lacks.
        """
        self._forget()
        self._ends = relay.ends(0)[1]
        if self._due(edits=True):
            relay.lock_edits()  # until the session ends, if this fails
            self._ends = relay.ends(0)[1]
            if any(segment(name).about == CATALOG for name in self._behind(self._ends, self._journal.sizes())):
                folder = self._journal.directory
                raise ValidationError(
                    f"The catalog of {folder.stem} is not the one of this team, or was edited outside the team. Name a "
                    f"new file; to bring the runs along, copy their files (all but those with -{CATALOG}- in the name) "
                    f"from {folder.name} into the folder of its journal.",
                    field="team",
                )
            self.push(relay, edits=True)
            relay.commit()
        self.pull(relay)

    def pull(self, relay: Relay) -> None:
        """Fetch what others have uploaded since the last time."""
        self._until, ends = relay.ends(self._until)
        self._ends |= ends
        sizes = self._journal.sizes() if ends else {}
        whole = {segment(name).about for name in sizes if not name.endswith(HEAD)}
        self.short |= {segment(name).about for name in ends if name.endswith(HEAD)} - whole
        behind = {
            name: size
            for name, size in self._behind(ends, sizes).items()
            if name.endswith(HEAD) != (segment(name).about in whole or head_of(whole_of(name)) not in self._ends)
        }
        self._keep(relay.beyond(behind))

    def fetch(self, relay: Relay, runs: Collection[str]) -> None:
        """Fetch whole runs."""
        names = [name for name in self._ends if segment(name).about in runs and not name.endswith(HEAD)]
        self._keep(relay.beyond(self._behind(names, self._journal.sizes())))
        self.short.difference_update(runs)

    def push(self, relay: Relay, *, edits: bool = False) -> None:
        """Upload what runs have written here, or local edits, for which the lock must be held."""
        while self._due(edits=edits):
            with relay.pushing():
                self._ends |= relay.ends(self._until)[1]  # other processes with this database upload the same
                blocks = itertools.chain.from_iterable(map(self._blocks, self._due(edits=edits)))
                some = list(itertools.islice(blocks, _BLOCKS))
                relay.put(self._member, [part for block in some for part in self._parts(block)])
            if len(some) < _BLOCKS:  # a torn line stays due
                return

    def edit(self, relay: Relay, events: Sequence[Event]) -> None:
        """Upload the events of an edit, for which the lock must be held, then write them to the local journal."""
        self._journal.stamp(events)
        if self._edits is None:
            (name, first), seq = self._journal.header_of_new(CATALOG), 1
            self.push(relay)  # the segments that the new one's header says it follows
        else:
            (name, seq), first = self._edits, b""
        self._edits = None
        part = self._part(name, first + b"".join(line(event, seq + number) for number, event in enumerate(events)))
        with relay.pushing():
            relay.put(self._member, [part])
        relay.commit()
        self._keep([part])
        self._edits = name, seq + len(events)

    def _behind(self, names: Iterable[str], sizes: Mapping[str, int]) -> dict[str, int]:
        return {name: sizes.get(name, 0) for name in names if sizes.get(name, 0) < self._ends[name]}

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

    def _keep(self, parts: Iterable[Part]) -> None:
        for name, start, data in parts:
            if _NAME.fullmatch(name) is None:
                log.warning("a segment of that name is not taken", extra={"segment": name})
            elif not self._journal.receive(name, start, data):
                raise CatalogBusy(f"{name} has become shorter here. It is compared again.")

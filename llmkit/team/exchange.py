"""Synchronize the local journal with the team's database: each gets the parts that it lacks."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Sequence

from llmkit.errors import CatalogBusy, ValidationError
from llmkit.store import Event
from llmkit.store.journal import Journal
from llmkit.store.lines import line
from llmkit.store.segments import CATALOG, is_copy, segment
from llmkit.team.relay import Member, Part, Relay

log = logging.getLogger("llmkit.team")

_BLOCK, _BLOCKS = 1 << 20, 16
"""Bytes per part, and parts per transaction."""
_NAME = re.compile(r"[0-9a-f]{16}-[\w-]+-[0-9a-f]{8}\.jsonl")


class Exchange:
    """The synchronization by one process. Not thread-safe."""

    def __init__(self, journal: Journal, me: Member) -> None:
        self._journal, self._me = journal, me
        self._until = 0
        self._ends: dict[str, int] = {}
        self.has_joined = False
        self._edits: tuple[str, int, int] | None = None

    def catch_up(self, relay: Relay) -> None:
        """Compare all segments and fetch what is missing here. The first call, for which the edit lock must be held,
        also uploads local edits of the catalog.

        Raises:
            ValidationError: both sides have edits that the other one lacks.
        """
        self._until, self._ends, sizes = relay.latest(), relay.ends(), self._journal.sizes()
        behind = {name: sizes.get(name, 0) for name, end in self._ends.items() if end > sizes.get(name, 0)}
        ahead = [] if self.has_joined else [name for name in self._due(sizes) if segment(name).about == CATALOG]
        if ahead and any(segment(name).about == CATALOG for name in behind):
            folder = self._journal.directory
            raise ValidationError(
                f"The catalog of {folder.stem} is not the one of this team, or was edited outside the team. Name a "
                f"new file; to bring the runs along, copy their files (all but those with -{CATALOG}- in the name) "
                f"from {folder.name} into the folder of its journal.",
                field="team",
            )
        self._keep(relay.beyond(behind))
        self._put(relay, ahead)
        self.has_joined = True

    def pull(self, relay: Relay) -> None:
        """Fetch what other members have uploaded since the last time."""
        latest = relay.latest()
        if latest > self._until:
            self._keep(relay.since(self._until, latest, self._me.member))
            self._until = latest

    def push(self, relay: Relay) -> None:
        """Upload what runs have written here."""
        self._put(relay, [name for name in self._due(self._journal.sizes()) if segment(name).about != CATALOG])

    def edit(self, relay: Relay, lock: Relay, events: Sequence[Event]) -> None:
        """Upload the events of an edit in the session that holds the ``lock``, then write them to the local journal."""
        self._journal.stamp(events)
        if self._edits is None:
            name, head = self._journal.header_of_new(CATALOG)
            start, seq = 0, 1
            self.push(relay)  # the segments that the new one's header says it follows
        else:
            (name, start, seq), head = self._edits, b""
        self._edits = None
        part = Part(name, start, head + b"".join(line(event, seq + number) for number, event in enumerate(events)))
        lock.put(self._me.member, [part])
        self._keep([part])
        self._edits = name, part.stop, seq + len(events)

    def _due(self, sizes: dict[str, int]) -> list[str]:
        return [name for name, size in sizes.items() if size > self._ends.get(name, 0) and not is_copy(name)]

    def _keep(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if _NAME.fullmatch(part.segment) is None:
                log.warning("a segment of that name is not taken", extra={"segment": part.segment})
            elif not self._journal.receive(part.segment, part.start, part.data):
                raise CatalogBusy(f"{part.segment} has become shorter here. It is compared again.")
            self._ends[part.segment] = max(part.stop, self._ends.get(part.segment, 0))

    def _put(self, relay: Relay, names: Sequence[str]) -> None:
        parts = (
            Part(name, block.start, b"\n".join([*block.lines, b""]))
            for name in names
            for block in self._journal.blocks(segment(name), self._ends.get(name, 0), _BLOCK)
        )
        while some := list(itertools.islice(parts, _BLOCKS)):
            relay.put(self._me.member, some)
            self._ends |= {part.segment: part.stop for part in some}

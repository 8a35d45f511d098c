"""Who else writes this journal, and what is agreed with them: on one machine nothing but who has which run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from llmkit.store.claims import Claims
from llmkit.store.journal import Journal
from llmkit.store.lines import Event

Write = Callable[[Sequence[Event]], None]
"""Puts an edit's events into the journal, or raises, and then they are nowhere."""


class Peers(Claims):
    """Processes of this machine. Those of a team on several are a :class:`llmkit.team.Team`."""

    are_elsewhere = False
    """Whether there are others, with databases of their own."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal.directory)
        self.journal = journal

    def editing(self, *, waits: bool = True) -> AbstractContextManager[Write]:
        """While the catalog is edited; the lease, which this machine's processes share, is not part of it.

        Raises:
            CatalogBusy: others edit, for longer than an edit takes, or at all unless this ``waits``.
        """
        return contextlib.nullcontext(self.journal.commit)

    def left_elsewhere(self, run_id: str) -> str | None:
        """Who had a run on which other machine when its process died, in words; ``None`` if it was none: nobody else
        knows all of it then.
        """
        return None

"""The server side of a batch API: its URLs, submitted batches, and the state it reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.questions import Rejected

Action = Literal["answer", "list_models", "upload", "create", "poll", "cancel", "list", "results"]
GIVEN_UP = ("expired", "cancelled")
"""Outcomes of requests that were not asked."""


@dataclass(slots=True)
class Item:
    """A request of a batch; ``url`` is where it would be sent on its own. Once the batch has ended: how it did for this
    request, and unless it was given up, the status and body of the answer.
    """

    custom_id: str
    url: str
    body: Any
    outcome: Literal["answered", "refused", "expired", "cancelled"] | None = None
    status: int = 0
    reply: Any = None


@dataclass(slots=True)
class Batch:
    """A batch. Times are in seconds since the epoch; all answers arrive at once."""

    name: str | None
    items: Sequence[Item]
    batch_id: str = ""
    provider: str = ""
    created_at: float = 0.0
    cancelled_at: float | None = None
    ended_at: float | None = None

    def __post_init__(self) -> None:
        if not self.items:
            raise Rejected("The batch has no requests.", "requests")
        if len({item.custom_id for item in self.items}) < len(self.items):
            raise Rejected("custom_id must be unique within a batch.", "custom_id")

    @property
    def endpoint(self) -> str:
        """Where its requests would be sent on their own."""
        return self.items[0].url

    @property
    def status(self) -> Literal["in_progress", "completed", "expired", "cancelled"]:
        """Its status."""
        if self.ended_at is None:
            return "in_progress"
        if self.cancelled_at is not None:
            return "cancelled"
        return "expired" if self.ended(*GIVEN_UP) else "completed"

    def ended(self, *outcomes: str) -> Sequence[Item]:
        """The requests with one of these outcomes."""
        return [item for item in self.items if item.outcome in outcomes]


Routes = Sequence[tuple[str, str, Action]]
"""Method, end of the path (a group captures the batch or file), action."""


def routes_at(place: str, *more: tuple[str, str, Action], cancel: str = "/cancel") -> Routes:
    """The routes of batches below a path, plus ``more``."""
    return (
        *more,
        ("POST", rf"{place}$", "create"),
        ("GET", rf"{place}$", "list"),
        ("POST", rf"{place}/([^/]+){cancel}$", "cancel"),
        ("GET", rf"{place}/([^/]+)$", "poll"),
    )


class ServedBatches(ABC):
    """One provider's batch API."""

    routes: ClassVar[Routes]
    prefix: ClassVar[str] = "batch_"
    """How the ids of its batches begin."""

    @abstractmethod
    def read(self, body: Body, files: Mapping[str, bytes], path: str) -> Batch:
        """Parse a submitted batch, which has no id and no time yet, or raise ``Rejected``."""

    @abstractmethod
    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch."""

    @abstractmethod
    def listing(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """All batches, by their states, in one page."""

    def results(self, batch: Batch, reference: str) -> dict[str, Any] | list[dict[str, Any]]:
        """The results: an object, or the objects of a file of JSON lines; by default the state, which has them."""
        return self.state(batch)


def iso(seconds: float | None) -> str | None:
    """A time as ISO 8601."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

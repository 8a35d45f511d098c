"""The server side of a batch API: its URLs, submitted batches, and the state it reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from llmkit.simulator.problems import Rejected

Action = Literal["answer", "list_models", "upload", "create", "poll", "cancel", "list", "results"]
GivenUp = Literal["expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Item:
    """A request of a batch; ``url`` is where it would be sent on its own."""

    custom_id: str
    url: str
    body: Any


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a request: status and body of the answer, or why there is none."""

    status: int = 0
    body: Any = None
    given_up: GivenUp | None = None

    @property
    def outcome(self) -> Literal["answered", "refused"] | GivenUp:
        """Whether it was answered, ended in an error, or was given up."""
        return self.given_up or ("answered" if 200 <= self.status < 300 else "refused")


@dataclass(slots=True, kw_only=True)
class Batch:
    """A batch, with its items, creation time (``created_at``, seconds since the epoch) and results, which arrive all at
    once.
    """

    name: str | None
    items: Sequence[Item]
    endpoint: str = ""
    batch_id: str = ""
    provider: str = ""
    created_at: float = 0.0
    cancelled_at: float | None = None
    results: dict[str, Result] = field(default_factory=dict)
    ended_at: float | None = None

    def __post_init__(self) -> None:
        if not self.items:
            raise Rejected("The batch has no requests.", "requests")
        if len({item.custom_id for item in self.items}) < len(self.items):
            raise Rejected("custom_id must be unique within a batch.", "custom_id")

    @property
    def status(self) -> Literal["in_progress", "completed", "expired", "cancelled"]:
        """Its status."""
        if self.ended_at is None:
            return "in_progress"
        if self.cancelled_at is not None:
            return "cancelled"
        return "expired" if any(result.given_up for result in self.results.values()) else "completed"

    def count(self, outcome: str) -> int:
        """The number of requests with this ``Result.outcome``."""
        return sum(result.outcome == outcome for result in self.results.values())


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

    @abstractmethod
    def read(self, body: Mapping[str, Any], files: Mapping[str, bytes], path: str) -> Batch:
        """Parse a submitted batch, which has no id and no time yet, or raise ``Rejected``."""

    @abstractmethod
    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch."""

    @abstractmethod
    def listing(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """All batches in one page."""

    def results(self, batch: Batch, reference: str) -> dict[str, Any] | list[dict[str, Any]]:
        """The results: an object, or the objects of a file of JSON lines; by default the state, which has them."""
        return self.state(batch)


def iso(seconds: float | None) -> str | None:
    """A time as ISO 8601."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

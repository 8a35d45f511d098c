"""What a run needs from the senders of its requests: this process, or other processes that may die."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, Self

from llmkit.providers.wires import Wire
from llmkit.records import Failure, HttpResponse, Provider, Request
from llmkit.store import events


class Sender(Protocol):
    """Sends requests. Returns network failures instead of raising them."""

    @property
    def holdup(self) -> str | None:
        """What all requests wait for, in a few words; ``None`` while they are sent."""

    async def ready(self) -> None:
        """Wait until requests can be sent, or have waited too long; before that, no intent should be on disk."""

    async def send(
        self,
        provider: Provider,
        wire: Wire,
        request: Request,
        *,
        simulated: bool,
        timeout: float,
        trace: Mapping[str, str],
    ) -> HttpResponse | Failure:
        """Send one request, whose intent is on disk; like :meth:`llmkit.providers.transport.Transport.send`."""


class Place(NamedTuple):
    """The identity of one request."""

    probe_id: str
    turn: int
    attempt: int

    @classmethod
    def of(cls, run_id: str, row: Mapping[str, Any]) -> Self:
        """The place of a stored attempt."""
        return cls(events.probe_id(run_id, row["position"]), row["turn"], row["attempt"])

    @classmethod
    def traced(cls, trace: Mapping[str, str]) -> Self:
        """The place of a request in flight, from its headers for a simulator."""
        return cls(trace["x-llmkit-probe"], int(trace["x-llmkit-turn"]), int(trace["x-llmkit-attempt"]))

    @property
    def trace(self) -> dict[str, str]:
        """The headers that identify the request to a simulator."""
        return {
            "x-llmkit-probe": self.probe_id,
            "x-llmkit-turn": str(self.turn),
            "x-llmkit-attempt": str(self.attempt),
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """A reply, kept where it arrived, and the seconds that it took."""

    response: HttpResponse | Failure
    latency_s: float


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """The reply to an attempt that arrived while its run's process was dead."""

    started_at: datetime
    waited_s: float
    kept: Kept


class RemoteSender(Sender, Protocol):
    """Sends from other processes, which keep each reply until it is on disk here."""

    def sending(self, run_id: str) -> AbstractAsyncContextManager[None]:
        """A context in which it is ready to send for a run."""

    def kept(self, run_id: str) -> Mapping[Place, Kept]:
        """The replies kept for a run whose process died; waits for those still in flight."""

"""What a run needs of whoever sends its requests: this process, or other processes that may be lost meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, Self

from llmkit.providers.wires import Wire
from llmkit.records import Failure, HttpResponse, Provider, Request
from llmkit.runs.progress import RunEvent
from llmkit.store import events


class Sender(Protocol):
    """Sends requests. Never raises for the network."""

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
        """Send one request, whose intent is on the disk; as :meth:`llmkit.providers.transport.Transport.send`."""


class Place(NamedTuple):
    """Names one request."""

    probe_id: str
    turn: int
    attempt: int

    @classmethod
    def of(cls, run_id: str, row: Mapping[str, Any]) -> Self:
        """That of a stored attempt."""
        return cls(events.probe_id(run_id, row["position"]), row["turn"], row["attempt"])

    @classmethod
    def traced(cls, trace: Mapping[str, str]) -> Self:
        """That of a request under way, from the headers that a simulator gets with it."""
        return cls(trace["x-llmkit-probe"], int(trace["x-llmkit-turn"]), int(trace["x-llmkit-attempt"]))

    @property
    def trace(self) -> dict[str, str]:
        """The headers that name it to a simulator."""
        return {
            "x-llmkit-probe": self.probe_id,
            "x-llmkit-turn": str(self.turn),
            "x-llmkit-attempt": str(self.attempt),
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """What came back for a request, kept where it arrived, and how many seconds it took."""

    response: HttpResponse | Failure
    latency_s: float


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """What came back for an attempt while its run's process was dead."""

    started_at: datetime
    waited_s: float
    kept: Kept


class RemoteSender(Sender, Protocol):
    """Sends from other processes. They keep what arrives until it is on the disk here."""

    def sending(self, run_id: str) -> AbstractAsyncContextManager[None]:
        """Ready to send for a run while the block lasts."""

    def kept(self, run_id: str) -> Mapping[Place, Kept]:
        """What they have of a run whose process died; waits for what is still on its way to them."""

    def hear(self, event: RunEvent) -> None:
        """Told of all that happens in the run: of what is saved, for one."""

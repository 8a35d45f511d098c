"""How a kit reaches providers: keys, approved addresses, and the simulator that stands in for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmkit.errors import LlmkitError, RequestFailed, ValidationError, refuse
from llmkit.providers.credentials import Credentials
from llmkit.providers.transport import Transport
from llmkit.providers.wires import parse_models, wire_for
from llmkit.records import Failure, Model, Provider, RemoteModel
from llmkit.runs import Handle, background

if TYPE_CHECKING:
    from llmkit.simulator import Simulator

LIST_TIMEOUT = 30.0
"""Seconds within which a provider must list its models."""


class Connections:
    """The credentials and the transport of one kit. ``simulating``: all requests go to a simulator."""

    def __init__(self, credentials: Credentials, *, simulating: bool) -> None:
        self.simulating = simulating
        self.is_remote = False
        self.credentials = credentials
        self.transport = Transport(self.credentials, simulator=self.simulator_for)
        self._simulator: Simulator | None = None
        self._is_own = False

    def has_key(self, provider: Provider) -> bool:
        """Whether the provider can be used: it needs no key, its key is set, or this is a rehearsal."""
        return self.simulating or self.credentials.has_key(provider)

    def check(self, providers: Sequence[Provider]) -> None:
        """Refuse keys that cannot be sent and addresses that were not approved; in a rehearsal, start the simulator."""
        if self.simulating:
            self._running_simulator()
            return
        problems: list[LlmkitError] = []
        for provider in providers:
            try:
                self.credentials.check(provider)
                self.credentials.key(provider)
            except LlmkitError as problem:
                problems.append(problem)
        refuse(problems)

    def list_models(self, provider: Provider) -> Handle[list[RemoteModel]]:
        """Ask a provider for its models; the handle raises :class:`RequestFailed` if it returns none."""
        wire = wire_for(provider, Model(provider=provider.name, model_id="*", display_name="*"))

        async def ask() -> list[RemoteModel]:
            response = await self.transport.send(
                provider, wire, wire.list_models(), simulated=self.simulating, timeout=LIST_TIMEOUT
            )
            models = response if isinstance(response, Failure) else parse_models(response)
            if isinstance(models, Failure):
                raise RequestFailed(f"{provider.display_name}: {models.message}", code=models.code)
            return models

        return Handle(background.start(ask), lambda: None)

    def use(self, simulator: Simulator) -> None:
        """Send everything started from now on to this simulator."""
        if not callable(getattr(simulator, "url_for", None)):
            raise ValidationError(
                "Pass the simulator itself: with llmkit.simulator.serve() as sim: kit.use_simulator(sim).",
                field="simulator",
            )
        self._simulator, self._is_own, self.simulating = simulator, False, True

    def close(self) -> None:
        """Close the connections, and the simulator if it was started here."""
        if self.transport.is_connected:
            background.finish(self.transport.aclose)
        if self._is_own and self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def simulator_for(self, provider: Provider) -> str:
        """The base URL at which the simulator stands in for a provider."""
        return self._running_simulator().url_for(provider.name)

    def _running_simulator(self) -> Simulator:
        if self._simulator is None:
            from llmkit import simulator  # imported only for rehearsals: aiohttp's server is slow to load

            self._simulator, self._is_own = simulator.serve(), True
        return self._simulator

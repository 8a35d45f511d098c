"""The parts of a kit that ask, made when something is asked or a key is looked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmkit import tasks
from llmkit.analysis import Run
from llmkit.catalog import Catalog
from llmkit.kit.connections import Connections
from llmkit.kit.watching import watching
from llmkit.limiter import Gate
from llmkit.providers.credentials import Credentials
from llmkit.runs import Checker, PastAnswers, RunHandle, Runner, RunRequest, Services, Spending
from llmkit.runs.plan import Plan
from llmkit.store import CatalogState, Store
from llmkit.tasks.structured import answer_check


def gate_of(path: Path) -> Gate:
    """The gate of a catalog's file."""
    return Gate(path.with_name(path.name + ".gate"))


class Engine:
    """What lies between a request and its run. ``load`` returns a run by its id, and ``panel`` shows one."""

    def __init__(
        self,
        path: Path,
        store: Store,
        catalog: Catalog,
        gate: Gate,
        credentials: Credentials,
        *,
        simulate: bool,
        actor: str,
        load: Callable[[str], Run],
        panel: Callable[[RunHandle[Run]], Any],
    ) -> None:
        self._store, self._catalog = store, catalog
        self.gate = gate
        self.connections = Connections(credentials, simulating=simulate)
        services = Services(
            store=store,
            gate=gate,
            transport=self.connections.transport,
            spending=Spending(store, path.with_name(path.name + ".gate")),
            learn_rejected=catalog.learn_rejected,
            actor=actor,
        )
        self.spending = services.spending
        self.checker = Checker(self.connections, PastAnswers(store), services.spending, answer_check)
        self.runner: Runner[Run] = Runner(services, load, panel, watching)
        self.infra = tasks.Infra(catalog, self.start)

    def start(self, request: RunRequest, plan: Plan | None = None) -> RunHandle[Run]:
        """Check a request, and start its run."""
        return self.runner.start(self.checker.spec(request, self.settled_catalog(), plan))

    def settled_catalog(self) -> CatalogState:
        """The catalog with balances from which all runs were deducted."""
        self._store.settle()
        return self._catalog.state()

    def close(self, grace: float) -> None:
        """Stop all runs, and save what arrives within ``grace`` seconds."""
        self.infra.stop()
        self.runner.close(grace)
        self.infra.wait()
        self.connections.close()
        self.gate.close()

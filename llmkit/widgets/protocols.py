"""What the panels need of a kit, as protocols: no panel imports the kit that makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pandas as pd

from llmkit.analysis import Run
from llmkit.catalog import Catalog
from llmkit.money.estimate_table import Estimate
from llmkit.records import RemoteModel
from llmkit.runs import Handle, RunHandle
from llmkit.scenarios import Prompts


class HasCatalog(Protocol):
    """What the panels of the catalog need."""

    @property
    def catalog(self) -> Catalog:
        """The catalog that is shown and edited."""

    @property
    def simulated(self) -> bool:
        """Whether requests go to a simulator."""


class HasTeam(Protocol):
    """What the team's panel needs."""

    @property
    def is_in_team(self) -> bool:
        """Whether others share the catalog."""

    def team(self) -> pd.DataFrame:
        """Who they are."""


class Connects(HasCatalog, Protocol):
    """What the providers' panel needs besides."""

    def test_connection(self, provider: str) -> Handle[list[RemoteModel]]:
        """Ask a provider for its list of models."""


class HasSettings(Connects, HasTeam, Protocol):
    """What the panel of all settings needs."""


class StartsRuns(HasCatalog, Protocol):
    """What the run form needs besides."""

    def estimate(self, prompts: Prompts, models: Sequence[str], samples: int, **how: Any) -> Estimate:
        """What a run would probably cost, asked ``how``: some of the form's settings by keyword."""

    def budgets(self) -> pd.DataFrame:
        """What is left of the budgets that runs share."""

    @property
    def run(self) -> Callable[..., RunHandle[Run]]:
        """Start a run: prompts, models, and the form's settings by keyword."""

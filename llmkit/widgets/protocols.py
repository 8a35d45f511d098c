"""Protocols of the parts of a kit that panels use: no panel imports the kit that makes it."""

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
    """The part used by the settings and by the panels in their tabs."""

    @property
    def catalog(self) -> Catalog:
        """The catalog to show and edit."""

    @property
    def simulated(self) -> bool:
        """Whether requests go to a simulator."""

    def test_connection(self, provider: str) -> Handle[list[RemoteModel]]:
        """Ask a provider for its list of models."""

    @property
    def is_in_team(self) -> bool:
        """Whether others share the catalog."""

    def team(self) -> pd.DataFrame:
        """The members of the team."""


class StartsRuns(HasCatalog, Protocol):
    """The part used by the run form."""

    def estimate(self, prompts: Prompts, models: Sequence[str] | None, samples: int, **how: Any) -> Estimate:
        """Estimate a run with some of the form's settings as keywords."""

    def budgets(self) -> pd.DataFrame:
        """The shared budgets with what is left of them."""

    @property
    def run(self) -> Callable[..., RunHandle[Run]]:
        """Start a run of prompts and models with the form's settings as keywords."""

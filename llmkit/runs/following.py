"""What a run follows in the catalog while it runs: limits, and models that may no longer be asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from llmkit.catalog import Access, ObstacleKind
from llmkit.limiter import Block, Gate
from llmkit.limiter.pace import Limits
from llmkit.records import Failure, Model, Provider, Scope
from llmkit.store import CatalogState


def withdrawn(model: Model, catalog: CatalogState) -> Failure | None:
    """Why the catalog allows no more requests to a model of a run in progress; ``None`` if it does."""
    obstacle = Access(catalog, lambda _: True, date.min).blocking(catalog.models.get(model.reference, model))
    if obstacle is None:
        return None
    message = f"Not asked, because it {obstacle.reason}. {obstacle.remedy} Then resume the run."
    scope: Scope = "provider" if obstacle.kind is ObstacleKind.PROVIDER_DISABLED else "model"
    return Failure(code=obstacle.error().code, message=message, scope=scope)


def set_limits(gate: Gate, providers: Mapping[str, Provider], models: Mapping[str, Model]) -> None:
    """Apply the catalog's limits to the gate; a model may have its own in ``api_config["limits"]``, under the same
    names as its provider's.
    """
    for name, provider in providers.items():
        own = {
            model.reference: Limits.of(replace(provider, **model.api_config["limits"]))
            for model in models.values()
            if model.provider == name and model.api_config.get("limits")
        }
        gate.queue(name).set_limits(Limits.of(provider), own)


def words(block: Block) -> str:
    """What a provider waits for, and for how many more seconds."""
    seconds = "" if block.until is None else f", {max(0, round(block.until - time.time()))} s"
    return f"{block.reason}{seconds}"

"""How models are asked: live, or in batches if the provider has a batch API and the catalog a batch price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llmkit.errors import ValidationError, refuse
from llmkit.providers.wires import wire_for
from llmkit.records import BATCH_TIER, Provider
from llmkit.runs.plan import Configuration, Plan

Mode = Literal["live", "batch", "batch-or-live"]
"""``batch``: everything in batches; ``batch-or-live``: in batches where possible, the rest live."""


def batched_models(plan: Plan, providers: Mapping[str, Provider], mode: Mode) -> frozenset[str]:
    """The references of the models that run in batches."""
    if mode == "live":
        return frozenset()
    problems = [batch_problem(config, providers[config.model.provider]) for config in plan.configs]
    if mode == "batch":
        refuse([ValidationError(problem, field="mode") for problem in problems if problem])
    live = {config.model.reference for config, problem in zip(plan.configs, problems, strict=True) if problem}
    return frozenset(model.reference for model in plan.models) - live


def batch_problem(config: Configuration, provider: Provider) -> str | None:
    """Why a configuration cannot run in batches, in a sentence that says what to do; ``None`` if it can."""
    model = config.model
    if wire_for(provider, model).batches() is None:
        reason = (
            f"{config.label} cannot be asked in batches: {provider.display_name} has no batch API that llmkit supports"
        )
        return f'{reason}. Leave it out, or ask it at once with mode="batch-or-live".'
    if config.params.service_tier is not None:
        return (
            f"{config.label} is asked at the service tier {config.params.service_tier!r}, and batches are a tier of "
            "their own: leave service_tier or mode out."
        )
    if not any(variant.service_tier == BATCH_TIER for variant in model.full_price.price_variants):
        return (
            f"{config.label} has no batch price in the catalog, so its provider may not take it in batches. If it "
            f"does, kit.catalog.update_model({model.reference!r}, batch_discount=...) sets it; else ask it at once "
            'with mode="batch-or-live".'
        )
    return None

"""How the providers that speak OpenAI's chat format differ from one another: one record each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from llmkit.providers.wires.usage import ReportedCost
from llmkit.records import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One provider's way of OpenAI's formats.

    ``defaults`` are ``api_config`` values (see ``options``) for models that do not say otherwise; ``seed_param`` of
    ``None`` means that there is no seed. ``reasoning_apart``: completion tokens do not include reasoning.
    ``reported_cost`` is the unit of the cost that the provider reports, if it does.
    """

    max_tokens_param: str = "max_tokens"
    seed_param: str | None = "seed"
    reasoning_style: str = "effort"
    structured: str | None = "json_schema"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reasoning_apart: bool = False
    reported_cost: ReportedCost | None = None


PLAIN = Dialect()
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        # max_tokens is deprecated, and rejected by o-series and gpt-5 and later
        "openai": Dialect(max_tokens_param="max_completion_tokens"),
        "xai": Dialect(reasoning_apart=True, reported_cost="ticks"),
        # thinks unless told not to, and then ignores sampling without a word; takes no schema
        "deepseek": Dialect(
            seed_param=None,
            reasoning_style="thinking",
            structured="json_object",
            defaults=MappingProxyType({"sampling": "without_reasoning", "default_reasoning_effort": "high"}),
        ),
        "mistral": Dialect(seed_param="random_seed"),
        "openrouter": Dialect(reasoning_style="object", reported_cost="usd"),
    }
)


def dialect_of(model: Model) -> Dialect:
    """The dialect of the model's provider; the plain one for providers that are not in the table."""
    return DIALECTS.get(model.provider, PLAIN)

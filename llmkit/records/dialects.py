"""How the providers that speak OpenAI's formats differ from one another: one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A variant of OpenAI's formats, named by a provider's entry in the catalog.

    It is the default for new providers at ``domain`` or its subdomains. ``defaults`` are ``api_config`` values (see
    ``providers.wires.options``) for models that do not set their own; a ``seed_param`` of ``None`` means that there is
    no seed. ``reported_cost`` is the unit of the cost that the provider reports, if any. ``standard_tier`` is the
    request's name for the standard service tier, if it can be requested. ``batches`` names the batch API, if any.
    """

    domain: str = ""
    max_tokens_param: str = "max_tokens"
    seed_param: str | None = "seed"
    reasoning_style: str = "effort"
    structured: str | None = "json_schema"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reported_cost: Literal["usd", "ticks"] | None = None
    standard_tier: str | None = None
    batches: Literal["openai", "mistral", "xai"] | None = None


STANDARD = Dialect()
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        # max_tokens is deprecated, and rejected by o-series and gpt-5 and later
        "openai": Dialect(
            domain="openai.com",
            max_tokens_param="max_completion_tokens",
            standard_tier="default",
            batches="openai",
        ),
        "xai": Dialect(domain="x.ai", reported_cost="ticks", batches="xai"),
        # thinks by default, and then silently ignores sampling parameters; does not accept a schema
        "deepseek": Dialect(
            domain="deepseek.com",
            seed_param=None,
            reasoning_style="thinking",
            structured="json_object",
            defaults=MappingProxyType({"sampling": "without_reasoning", "default_reasoning_effort": "high"}),
        ),
        "mistral": Dialect(domain="mistral.ai", seed_param="random_seed", batches="mistral"),
        "openrouter": Dialect(domain="openrouter.ai", reasoning_style="object", reported_cost="usd"),
    }
)


def dialect_at(base_url: str) -> str | None:
    """The name of the dialect spoken at an address; ``None``, the wire's standard, where none is known."""
    host = base_url.partition("://")[2].partition("/")[0].partition(":")[0]
    return next((name for name, dialect in DIALECTS.items() if f".{host}".endswith(f".{dialect.domain}")), None)


def dialect_before(name: str, base_url: str) -> str | None:
    """The dialect of a provider stored before entries named one: back then the provider's name decided."""
    return name if name in DIALECTS else dialect_at(base_url)

"""The entries of the catalog: providers and models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Self, get_args

from llmkit.errors import ValidationError
from llmkit.records.dialects import dialect_before
from llmkit.records.prices import BATCH_TIER, EXACT, Price, PriceTier, PriceVariant
from llmkit.records.rows import Row

ModelStatus = Literal["ACTIVE", "DEPRECATED"]
WireName = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini"]
WIRE_NAMES: tuple[str, ...] = get_args(WireName)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(Row):
    """A company or endpoint with one rate limit; ``dialect`` names its deviations from the wire."""

    name: str
    display_name: str
    wire: str
    base_url: str
    dialect: str | None = None
    api_key_env: str | None = None
    max_parallel_requests: int = 1
    requests_per_minute: int = 60
    tokens_per_minute: int | None = None
    is_enabled: bool = True
    default_cost_input_per_million: Decimal | None = None
    default_cost_output_per_million: Decimal | None = None
    balance: Decimal | None = None
    id: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a provider from column values of the store or the journal."""
        if "dialect" not in row:
            row = {**row, "dialect": dialect_before(row["name"], row["base_url"])}
        return super(Provider, cls).from_row(row)  # a bare super() does not know the class that slots=True creates

    def __repr__(self) -> str:
        limits = f"requests at most {self.max_parallel_requests:,} at once, {self.requests_per_minute:,} a minute"
        key = f"key in {self.api_key_env}" if self.api_key_env else "no key"
        state = "" if self.is_enabled else "; disabled"
        return f"<Provider {self.name!r} at {self.base_url!r}: {limits}; {key}{state}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Row):
    """A priced model of a provider. ``model_id`` is the name sent to the API."""

    provider: str
    model_id: str
    display_name: str
    price: Price = field(default_factory=Price)
    batch_discount: Decimal | None = None
    status: ModelStatus = "ACTIVE"
    is_default: bool = False
    context_window: int | None = None
    max_output_tokens: int | None = None
    retires_on: date | None = None
    api_config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    id: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def reference(self) -> str:
        """``provider:model_id``."""
        return f"{self.provider}:{self.model_id}"

    ref = reference

    def __repr__(self) -> str:
        read, written = (
            "unknown" if rate is None else f"{rate.normalize(EXACT):f}"
            for rate in (self.cost_input_per_million, self.cost_output_per_million)
        )
        facts = (
            f"{read} in, {written} out (US dollars per million tokens)",
            f"{self.context_window:,} tokens of context" if self.context_window else "",
            "" if self.is_active else self.status.lower(),
            f"retires on {self.retires_on}" if self.retires_on else "",
            "default" if self.is_default else "",
        )
        return f"<Model {self.reference!r}: {', '.join(filter(None, facts))}>"

    @property
    def is_active(self) -> bool:
        """Whether new runs may use it."""
        return self.status == "ACTIVE"

    @property
    def cost_input_per_million(self) -> Decimal | None:
        """US dollars per million input tokens."""
        return self.price.cost_input_per_million

    @property
    def cost_output_per_million(self) -> Decimal | None:
        """US dollars per million output tokens, including reasoning."""
        return self.price.cost_output_per_million

    @property
    def cost_cached_input_per_million(self) -> Decimal | None:
        """US dollars per million input tokens read from the provider's cache."""
        return self.price.cost_cached_input_per_million

    @property
    def cost_cache_write_per_million(self) -> Decimal | None:
        """US dollars per million input tokens written to the provider's cache."""
        return self.price.cost_cache_write_per_million

    @property
    def price_tiers(self) -> tuple[PriceTier, ...]:
        """The long-context tiers, lowest first."""
        return self.price.price_tiers

    @property
    def priced_as(self) -> str:
        """The reference of the model whose price applies: for a snapshot that is not listed, its family's."""
        return str(self.api_config.get("priced_as", self.reference))

    @property
    def full_price(self) -> Price:
        """The price with the batch discount as an additional variant, unless it already has prices for batches."""
        if self.batch_discount is None or any(each.service_tier == BATCH_TIER for each in self.price.price_variants):
            return self.price
        batch = PriceVariant(service_tier=BATCH_TIER, factor=1 - self.batch_discount)
        return replace(self.price, price_variants=(*self.price.price_variants, batch))


def split_reference(reference: str) -> tuple[str, str]:
    """Split ``provider:model_id``. Model ids may contain colons (``ollama:llama3:8b``), provider names may not."""
    provider, colon, model_id = str(reference).partition(":")
    if not (colon and provider.strip() and model_id.strip()):
        raise ValidationError(
            f"{reference!r} is not a model reference. Write it as provider:model_id, for example openai:gpt-6-luna.",
            field="ref",
        )
    return provider.strip(), model_id.strip()

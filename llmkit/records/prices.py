"""Prices of tokens, in US dollars per million; unknown is ``None``, never 0."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Literal, get_args

from llmkit.records.rows import Row, field_names

EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
"""The context in which money is computed, whatever a notebook has set (``getcontext().prec = 6``): wide enough for
any sum of DECIMAL(18,8) prices times factors times token counts, so that only the last step rounds."""

CostSource = Literal["unpriced", "partly unpriced", "provider_default", "computed", "provider_reported", "reused"]
"""Where a cost comes from, least certain first. A partly unpriced cost lacks calls, or turns, whose price is unknown;
``reused`` answers cost nothing."""
_SOURCES: tuple[CostSource, ...] = get_args(CostSource)

STANDARD_TIER = "standard"
"""The service tier to which a model's base rates apply."""
BATCH_TIER = "batch"
"""The tier of batches; single requests cannot ask for it."""


def source_of_sum(sources: Collection[CostSource]) -> CostSource | None:
    """The source of a sum of costs: that of its least certain part; ``None`` without parts.

    An unpriced part makes the sum partly unpriced if another part has a price: what is known was billed.
    """
    least = next((source for source in _SOURCES if source in sources), None)
    return "partly unpriced" if least == "unpriced" and {*sources} - {"unpriced", "reused"} else least


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates(Row):
    """US dollars per million tokens, by kind of token; ``None`` where unknown.

    A ``cost_cached_input_per_million`` or ``cost_cache_write_per_million`` of ``None`` means that the provider bills
    those tokens as plain input (it publishes no other price).
    """

    cost_input_per_million: Decimal | None = None
    cost_output_per_million: Decimal | None = None
    cost_cached_input_per_million: Decimal | None = None
    cost_cache_write_per_million: Decimal | None = None
    cost_cache_write_1h_per_million: Decimal | None = None


RATE_COLUMNS = field_names(Rates)


class _Part(Rates):
    """Rates within a price that apply to some requests only."""

    __slots__ = ()

    def to_row(self) -> dict[str, Any]:
        """The part as JSON-ready values, without the empty ones."""
        return {name: value for name, value in Row.to_row(self).items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier(_Part):
    """Rates for a whole request with more than ``above`` input tokens."""

    above: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceWindow(_Part):
    """Rates for requests made at certain hours (UTC): ``weekdays`` are ISO (Monday is 1), ``end`` is exclusive."""

    weekdays: tuple[int, ...]
    start: time
    end: time


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVariant(_Part):
    """Rates for answers served at a service tier other than the standard one, or at all by the host of this name
    (``"api.eu.mistral.ai"``).

    Either ``factor`` times all standard rates; or the given rates, with their own long-context tiers, each replacing
    the standard rate of its kind.
    """

    service_tier: str
    factor: Decimal | None = None
    price_tiers: tuple[PriceTier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Rates):
    """Everything that determines the cost of a request at one moment: base rates, long-context tiers, peak hours,
    rates of other service tiers, and US dollars per thousand searches of the provider's own search tool.
    """

    cost_per_thousand_searches: Decimal | None = None
    price_tiers: tuple[PriceTier, ...] = ()
    price_windows: tuple[PriceWindow, ...] = ()
    price_variants: tuple[PriceVariant, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """The price as JSON-ready column values; tiers, windows and variants are ``None`` when there are none."""
        return {name: value or None for name, value in Row.to_row(self).items()}


PRICE_PARTS = ("price_tiers", "price_windows", "price_variants")
"""The columns of a price that hold lists of dicts."""
PRICE_COLUMNS = field_names(Price)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPrice(Row):
    """One entry of a model's price history: in force from ``valid_from`` (``None``: always) until the next entry."""

    reference: str
    valid_from: datetime | None = None
    price: Price
    source: str | None = None
    read_on: date | None = None


def since(valid_from: datetime | None) -> datetime:
    """The moment from which a price holds; the first of all moments if it has always held."""
    return valid_from or datetime.min.replace(tzinfo=UTC)


def price_on(entries: Iterable[DatedPrice], at: datetime) -> DatedPrice | None:
    """The entry in force at ``at``: the latest ``valid_from`` not after it; of equals, the one appended last.

    ``None`` when no entry has taken effect.
    """
    begun = [entry for entry in entries if since(entry.valid_from) <= at]
    return max(reversed(begun), key=lambda entry: since(entry.valid_from), default=None)

"""What tokens cost. US dollars per million tokens; unknown is ``None``, never 0."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal, Self, get_args

from llmkit.records.rows import as_day, as_decimal, as_moment, as_text

CostSource = Literal["unpriced", "partly unpriced", "provider_default", "computed", "provider_reported", "reused"]
"""How a cost is known, the most doubtful first. Of a partly unpriced one the tokens are known, the calls are not; what
was ``reused`` costs nothing."""
_SOURCES: tuple[CostSource, ...] = get_args(CostSource)

STANDARD_TIER = "standard"
"""The service tier that a model's own rates are those of."""
BATCH_TIER = "batch"
"""The one that no request can ask for: how it is sent decides."""


def source_of_sum(sources: Collection[CostSource]) -> CostSource | None:
    """The source of a sum of costs: that of its most doubtful part; ``None`` where there are no parts."""
    return next((source for source in _SOURCES if source in sources), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """US dollars per million tokens, by kind of token; ``None`` where unknown.

    ``cost_cached_input_per_million`` and ``cost_cache_write_per_million`` of ``None`` mean that the provider bills
    those tokens as plain input (it publishes no other price).
    """

    cost_input_per_million: Decimal | None = None
    cost_output_per_million: Decimal | None = None
    cost_cached_input_per_million: Decimal | None = None
    cost_cache_write_per_million: Decimal | None = None
    cost_cache_write_1h_per_million: Decimal | None = None

    def to_row(self) -> dict[str, Any]:
        """The rates as JSON-ready column values; decimals as strings."""
        return {name: as_text(getattr(self, name)) for name in RATE_COLUMNS}


RATE_COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Rates))


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier(Rates):
    """Rates of a whole request whose input has more than ``above`` tokens."""

    above: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a tier as ``to_row`` wrote it."""
        return cls(above=int(row["above"]), **_rates(row))

    def to_row(self) -> dict[str, Any]:
        """The tier as JSON-ready values; rates that are unknown are left out."""
        return {"above": self.above, **_known(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceWindow(Rates):
    """Rates of requests made at certain hours (UTC): ``weekdays`` are ISO (Monday is 1), ``end`` is exclusive."""

    weekdays: tuple[int, ...]
    start: time
    end: time

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a window as ``to_row`` wrote it."""
        return cls(
            weekdays=tuple(int(day) for day in row["weekdays"]),
            start=time.fromisoformat(row["start"]),
            end=time.fromisoformat(row["end"]),
            **_rates(row),
        )

    def to_row(self) -> dict[str, Any]:
        """The window as JSON-ready values; rates that are unknown are left out."""
        return {
            "weekdays": list(self.weekdays),
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            **_known(self),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVariant(Rates):
    """Rates of answers that were served at another service tier than the standard one.

    Either ``factor`` times all standard rates; or the rates that are named, with long-context tiers of their own, in
    place of the standard ones of their kind.
    """

    service_tier: str
    factor: Decimal | None = None
    price_tiers: tuple[PriceTier, ...] = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a variant as ``to_row`` wrote it."""
        return cls(
            service_tier=row["service_tier"],
            factor=as_decimal(row.get("factor")),
            price_tiers=tuple(PriceTier.from_row(tier) for tier in row.get("price_tiers") or ()),
            **_rates(row),
        )

    def to_row(self) -> dict[str, Any]:
        """The variant as JSON-ready values; what it does not have is left out."""
        row = {
            "service_tier": self.service_tier,
            "factor": as_text(self.factor),
            **_known(self),
            "price_tiers": [tier.to_row() for tier in self.price_tiers],
        }
        return {name: value for name, value in row.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Rates):
    """All that decides what a request to a model costs at one moment: base rates, long-context tiers, peak hours,
    rates of other service tiers, and US dollars per thousand searches of the provider's own search tool.
    """

    cost_per_thousand_searches: Decimal | None = None
    price_tiers: tuple[PriceTier, ...] = ()
    price_windows: tuple[PriceWindow, ...] = ()
    price_variants: tuple[PriceVariant, ...] = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a price from column values as the store, the journal or a TOML file holds them."""
        return cls(
            cost_per_thousand_searches=as_decimal(row.get("cost_per_thousand_searches")),
            price_tiers=tuple(PriceTier.from_row(tier) for tier in row.get("price_tiers") or ()),
            price_windows=tuple(PriceWindow.from_row(window) for window in row.get("price_windows") or ()),
            price_variants=tuple(PriceVariant.from_row(variant) for variant in row.get("price_variants") or ()),
            **_rates(row),
        )

    def to_row(self) -> dict[str, Any]:
        """The price as JSON-ready column values; tiers, windows and variants are ``None`` when there are none."""
        return {
            **{name: as_text(getattr(self, name)) for name in (*RATE_COLUMNS, "cost_per_thousand_searches")},
            **{name: [part.to_row() for part in getattr(self, name)] or None for name in PRICE_PARTS},
        }


PRICE_PARTS = ("price_tiers", "price_windows", "price_variants")
"""The columns of a price that hold lists of dicts."""
PRICE_COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Price))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPrice:
    """One entry of a model's price history: in force from ``valid_from`` (``None``: always) until the next entry."""

    reference: str
    valid_from: datetime | None
    price: Price
    source: str | None = None
    read_on: date | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read an entry from column values."""
        return cls(
            reference=row["reference"],
            valid_from=as_moment(row.get("valid_from")),
            price=Price.from_row(row),
            source=row.get("source"),
            read_on=as_day(row.get("read_on")),
        )

    def to_row(self) -> dict[str, Any]:
        """The entry as JSON-ready column values."""
        return {
            "reference": self.reference,
            "valid_from": as_text(self.valid_from),
            **self.price.to_row(),
            "source": self.source,
            "read_on": as_text(self.read_on),
        }


def _known(rates: Rates) -> dict[str, str]:
    return {name: as_text(value) for name in RATE_COLUMNS if (value := getattr(rates, name)) is not None}


def _rates(row: Mapping[str, Any]) -> dict[str, Decimal | None]:
    return {name: as_decimal(row.get(name)) for name in RATE_COLUMNS}

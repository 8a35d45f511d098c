"""Read the price data of genai-prices as our records. The package is optional and imported on first use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib import metadata
from typing import TYPE_CHECKING, Any

from llmkit.errors import Code, RequestFailed, ValidationError
from llmkit.money.pricing import blended
from llmkit.money.service_tiers import at_tier
from llmkit.records import RATE_COLUMNS, DatedPrice, Price, PriceTier, PriceVariant, PriceWindow, RemoteModel
from llmkit.records.prices import price_on, since

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

PROVIDER_IDS = {"xai": "x-ai"}
"""Names in genai-prices of providers that we call otherwise."""

_RATES = {
    "cost_input_per_million": "input_mtok",
    "cost_output_per_million": "output_mtok",
    "cost_cached_input_per_million": "cache_read_mtok",
    "cost_cache_write_per_million": "cache_write_mtok",
    "cost_cache_write_1h_per_million": "cache_write_1h_mtok",
}
_EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
_TIER_KEYS = ("processing", "service_tier", "speed")


@dataclass(frozen=True, slots=True)
class PriceList:
    """The data of genai-prices; ``source`` names it with its version, ``read_on`` is the day it was read."""

    source: str
    read_on: date
    _snapshot: Any

    def knows(self, provider: str) -> bool:
        """Whether the list covers a provider."""
        return self._models(provider) is not None

    def entries(self, provider: str, model_id: str) -> tuple[DatedPrice, ...]:
        """The price history of a model, oldest first; empty when unknown."""
        models = self._models(provider) or ()
        info = next((model for model in models if model.id == model_id), None)
        info = info or next((model for model in models if model.is_match(model_id)), None)
        if info is None:
            return ()
        return tuple(
            DatedPrice(
                reference=f"{provider}:{model_id}",
                valid_from=begins,
                # Gemini's grounding is free up to a daily quota, which replies do not report
                price=price if provider != "google" else replace(price, cost_per_thousand_searches=None),
                source=self.source,
                read_on=self.read_on,
            )
            for begins, price in _history(info)
        )

    def other_models(self, provider: str, ours: Collection[str], at: datetime) -> Iterator[RemoteModel]:
        """A provider's models priced by the token at ``at`` that are not deprecated and match none of our ids."""
        for info in self._models(provider) or ():
            entry = price_on(self.entries(provider, info.id), at)
            if info.deprecated or entry is None or blended(entry.price) is None:
                continue
            if info.id not in ours and not any(map(info.is_match, ours)):
                yield RemoteModel(
                    model_id=info.id, display_name=info.name, context_window=info.context_window, price=entry.price
                )

    def _models(self, provider: str) -> Sequence[ModelInfo] | None:
        theirs = PROVIDER_IDS.get(provider, provider)
        return next((each.models for each in self._snapshot.providers if each.id == theirs), None)


def read_price_list(fresh: bool | str = False) -> PriceList:
    """Read the data of the installed genai-prices, or with ``fresh`` the latest from the internet, for this call only
    (``True``: from its updater's address; a string: from that URL).
    """
    try:
        from genai_prices import data_snapshot  # optional, and its data take a moment to load
    except ImportError:
        raise ValidationError(
            "Comparing prices needs the package genai-prices: pip install 'llmkit[prices]'.", field="fresh"
        ) from None
    source, today = f"genai-prices {metadata.version('genai-prices')}", datetime.now(UTC).date()
    if fresh:
        return PriceList(f"genai-prices data of {today}", today, _fetch(fresh))
    return PriceList(source, today, data_snapshot.get_snapshot())


def _fetch(fresh: bool | str) -> Any:
    import httpx2  # what genai-prices' updater raises the errors of
    from genai_prices import UpdatePrices

    updater = UpdatePrices() if fresh is True else UpdatePrices(url=str(fresh))
    try:
        return updater.fetch()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise RequestFailed(
            f"The latest prices cannot be downloaded from {updater.url} ({type(error).__name__}). "
            "Leave out fresh to compare with the installed genai-prices.",
            code=Code.NETWORK_ERROR,
        ) from None


def _history(model: ModelInfo) -> list[tuple[datetime | None, Price]]:
    """A model's prices with the day on which each takes effect. Hours with their own prices apply every day: a
    constraint in genai-prices is either on the hour or on the date.
    """
    listed: Any = model.prices if isinstance(model.prices, list) else [model]
    variants: Any = [variant for variant in model.price_variants or () if _tier(variant) is not None]
    dated: list[tuple[datetime | None, Price]] = []
    windows: list[PriceWindow] = []
    for entry in listed:
        constraint: Any = getattr(entry, "constraint", None)
        if hasattr(constraint, "start_time"):
            windows.append(
                PriceWindow(
                    weekdays=_EVERY_DAY,
                    start=_utc(constraint.start_time),
                    end=_utc(constraint.end_time),
                    **_rates(entry.prices),
                )
            )
        else:
            dated.append((_begins(entry), _price(entry.prices)))
    dated.sort(key=lambda entry: since(entry[0]))
    days = sorted({*(day for day, _ in dated), *map(_begins, variants)}, key=since)
    history = []
    for day in days:
        begun = [price for begins, price in dated if since(begins) <= since(day)]
        if begun:
            # where two apply, genai-prices takes the last in its list and we the first
            price = replace(begun[-1], price_windows=tuple(reversed(windows)))
            history.append((day, replace(price, price_variants=_variants(variants, day, price))))
    return history


def _begins(entry: Any) -> datetime | None:
    constraint = getattr(entry, "constraint", None)
    return None if constraint is None else datetime.combine(constraint.start_date, time(), UTC)


def _variants(variants: Iterable[Any], day: datetime | None, standard: Price) -> tuple[PriceVariant, ...]:
    """The variants in force on a day, sorted by tier; of several for one tier, the first listed."""
    begun = [variant for variant in variants if since(_begins(variant)) <= since(day)]
    first = {tier: variant.prices for variant in reversed(begun) if (tier := _tier(variant)) is not None}
    return tuple(_variant(tier, first[tier], standard) for tier in sorted(first))


def _tier(variant: Any) -> str | None:
    """The service tier of a variant; ``None`` for the standard one or another kind of variant."""
    (key, tier), *others = variant.when.items()
    return str(tier) if key in _TIER_KEYS and not others and tier != "default" else None


def _variant(tier: str, prices: ModelPrice, standard: Price) -> PriceVariant:
    """Express the variant as a factor if one reproduces all its rates, else as rates."""
    own = _price(prices)
    rates = {name: getattr(own, name) for name in RATE_COLUMNS}
    named = PriceVariant(service_tier=tier, price_tiers=own.price_tiers, **rates)
    whole, part = standard.cost_output_per_million, own.cost_output_per_million
    if whole and part:
        factored = PriceVariant(service_tier=tier, factor=part / whole)
        if _served(standard, factored) == _served(standard, named):
            return factored
    return named


def _served(standard: Price, variant: PriceVariant) -> Any:
    price = at_tier(replace(standard, price_variants=(variant,)), variant.service_tier)
    return price and replace(price, price_variants=())


def _utc(clock: time) -> time:
    aware = clock if clock.tzinfo else clock.replace(tzinfo=UTC)
    return datetime.combine(date(1970, 1, 1), aware).astimezone(UTC).time()


def _price(prices: ModelPrice) -> Price:
    starts = {tier.start for name in _RATES.values() for tier in _tiers(getattr(prices, name))}
    tiers = [PriceTier(above=start, **_rates(prices, start)) for start in sorted(starts)]
    searches = _rate(prices.web_searches_kcount, None)
    return Price(price_tiers=tuple(tiers), cost_per_thousand_searches=searches, **_rates(prices))


def _rates(prices: ModelPrice, start: int | None = None) -> dict[str, Any]:
    """The base rates, or with ``start`` those of a tier, ``None`` where a rate has no tier."""
    return {ours: _rate(getattr(prices, theirs), start) for ours, theirs in _RATES.items()}


def _rate(value: Any, start: int | None) -> Decimal | None:
    if start is None:
        base: Decimal | None = getattr(value, "base", value)
        return base
    begun = [(tier.start, tier.price) for tier in _tiers(value) if tier.start <= start]
    return max(begun)[1] if begun else None


def _tiers(value: Any) -> Iterable[Any]:
    return getattr(value, "tiers", ())

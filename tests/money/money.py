"""Hypothesis strategies for prices and usage, and the same arithmetic again in fractions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction

from hypothesis import strategies as st

from llmkit.money.pricing import dearest, most_of
from llmkit.records import STANDARD_TIER, Price, PriceTier, PriceWindow, Rates, Usage

CENT = Decimal("1e-10")

money = st.decimals(min_value=0, max_value=500, places=8)
rates = {
    "cost_input_per_million": money,
    "cost_output_per_million": money,
    "cost_cached_input_per_million": st.none() | money,
    "cost_cache_write_per_million": st.none() | money,
    "cost_cache_write_1h_per_million": st.none() | money,
}
some_rates = {name: st.none() | money for name in rates}
clock = st.sampled_from([time(hour, minute) for hour in (0, 1, 6, 12, 23) for minute in (0, 30)])
windows = st.builds(
    PriceWindow,
    weekdays=st.sets(st.integers(1, 7), min_size=1).map(lambda days: tuple(sorted(days))),
    start=clock,
    end=clock,
    **some_rates,
)
tiers = st.builds(PriceTier, above=st.integers(0, 400_000), **some_rates)
prices = st.builds(
    Price,
    price_tiers=st.lists(tiers, max_size=3).map(tuple),
    price_windows=st.lists(windows, max_size=3).map(tuple),
    **rates,
)
flat_prices = st.builds(Price, **rates)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
tokens = st.integers(0, 1_000_000)


@st.composite
def usages(draw: st.DrawFn, most: int = 1_000_000) -> Usage:
    """Usage that adds up."""
    whole = draw(st.integers(0, most))
    cached = draw(st.integers(0, whole))
    written = draw(st.integers(0, whole - cached))
    return Usage(
        input_tokens=whole,
        output_tokens=draw(st.integers(0, most)),
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=draw(st.integers(0, written)),
    )


def as_fractions(usage: Usage, rates: Rates) -> Fraction:
    """The exact cost of usage that adds up, in fractions."""

    def rate(*candidates: Decimal | None) -> Fraction:
        return Fraction(next(value for value in candidates if value is not None))

    plain = rates.cost_input_per_million
    written = rates.cost_cache_write_per_million
    hour = usage.cache_write_1h_tokens
    return (
        (usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens) * rate(plain)
        + usage.cached_input_tokens * rate(rates.cost_cached_input_per_million, plain)
        + (usage.cache_write_tokens - hour) * rate(written, plain)
        + hour * rate(rates.cost_cache_write_1h_per_million, written, plain)
        + usage.output_tokens * rate(rates.cost_output_per_million)
    ) / 1_000_000


def worst_case(
    price: Price,
    *,
    input_tokens: int,
    max_output_tokens: int,
    fallback: Rates | None = None,
    tiers: Iterable[str] = (STANDARD_TIER,),
) -> Decimal | None:
    """The most that a request can cost at the dearest of the tiers, as a run reckons it."""
    return most_of(dearest(price, frozenset(tiers), fallback), input_tokens, max_output_tokens)

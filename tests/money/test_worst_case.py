"""The most that a request can cost: what the budget reserves."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from money import moments, prices, some_rates, usages, worst_case

from llmkit.money.pricing import cost
from llmkit.records import Price, PriceTier, PriceWindow, Rates, Usage

PRICE = Price(cost_input_per_million=Decimal(1), cost_output_per_million=Decimal(10))
sparse = st.builds(Rates, **some_rates)


@settings(max_examples=300)
@given(prices, usages(500_000), st.integers(0, 100_000), st.integers(0, 100_000), moments, st.none() | sparse)
def test_no_answer_within_the_bounds_costs_more(
    price: Price, usage: Usage, spare_input: int, spare_output: int, at: datetime, fallback: Rates | None
) -> None:
    """Whatever the hour, the tier and the way the input is billed, the cost is at most the worst case."""
    most = worst_case(
        price,
        input_tokens=usage.input_tokens + spare_input,
        max_output_tokens=usage.output_tokens + spare_output,
        fallback=fallback,
    )
    assert most is not None
    assert cost(usage, price, at, fallback=fallback).amount <= most


@given(st.builds(Price, **some_rates), sparse, usages(), moments)
def test_a_known_worst_case_means_a_known_cost(price: Price, fallback: Rates, usage: Usage, at: datetime) -> None:
    """When a worst case can be named, no answer within it ends unpriced."""
    most = worst_case(price, input_tokens=usage.input_tokens, max_output_tokens=usage.output_tokens, fallback=fallback)
    if most is not None:
        amount = cost(usage, price, at, fallback=fallback).amount
        assert amount is not None
        assert amount <= most


def test_it_is_what_the_dearest_answer_costs() -> None:
    """Without tiers and windows it is the full answer at the full price, not a cent more."""
    assert worst_case(PRICE, input_tokens=1_000_000, max_output_tokens=500_000) == Decimal(6)


def test_a_cache_write_can_be_the_dearest_input() -> None:
    """One-hour cache writes cost more than plain input and are reckoned with."""
    price = replace(PRICE, cost_cache_write_1h_per_million=Decimal(2))
    assert worst_case(price, input_tokens=1_000_000, max_output_tokens=0) == Decimal(2)


def test_only_tiers_that_the_input_can_reach_count() -> None:
    """A short prompt does not reserve long-context prices."""
    price = replace(PRICE, price_tiers=(PriceTier(above=272_000, cost_input_per_million=Decimal(2)),))
    assert worst_case(price, input_tokens=272_000, max_output_tokens=0) == Decimal("0.272")
    assert worst_case(price, input_tokens=272_001, max_output_tokens=0) == Decimal("0.544002")


def test_peak_hours_count_at_any_hour() -> None:
    """A request may wait until peak hours begin, so they are always reckoned with."""
    peak = PriceWindow(weekdays=(1,), start=time(1), end=time(2), cost_output_per_million=Decimal(20))
    price = replace(PRICE, price_windows=(peak,))
    assert worst_case(price, input_tokens=0, max_output_tokens=1_000_000) == Decimal(20)


def test_it_is_rounded_up() -> None:
    """A fraction of the tenth decimal is reserved as a whole one."""
    price = Price(cost_input_per_million=Decimal("0.00000001"), cost_output_per_million=Decimal(0))
    assert worst_case(price, input_tokens=1, max_output_tokens=0) == Decimal("1e-10")


def test_a_price_at_some_hours_only_is_no_price() -> None:
    """Where the base is unknown and only a window has rates, a request outside the window could cost anything."""
    window = PriceWindow(
        weekdays=(1,), start=time(1), end=time(2), cost_input_per_million=Decimal(1), cost_output_per_million=Decimal(1)
    )
    assert worst_case(Price(price_windows=(window,)), input_tokens=10, max_output_tokens=10) is None


def test_without_a_price_there_is_none() -> None:
    """An unpriced model has no worst case, so a budget cannot hold it; the provider's defaults give it one."""
    unpriced = Price(cost_input_per_million=Decimal(1))
    assert worst_case(unpriced, input_tokens=10, max_output_tokens=10) is None
    assert worst_case(unpriced, input_tokens=10**6, max_output_tokens=10**6, fallback=PRICE) == Decimal(11)

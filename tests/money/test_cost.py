"""What one answer costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from money import CENT, as_fractions, flat_prices, moments, prices, tokens, usages

from llmkit.money.pricing import cost, covers, default_rates, rates_at, split, total
from llmkit.records import RATE_COLUMNS, Price, PriceTier, PriceVariant, Provider, Rates, Usage

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PRICE = Price(
    cost_input_per_million=Decimal(2),
    cost_output_per_million=Decimal(10),
    cost_cached_input_per_million=Decimal("0.2"),
    cost_cache_write_per_million=Decimal("2.5"),
    cost_cache_write_1h_per_million=Decimal(4),
)


def amount(usage: Usage | None, price: Price = PRICE, **options: object) -> Decimal | None:
    """The cost of usage at noon."""
    return cost(usage, price, NOON, **options).amount  # type: ignore[arg-type]


def test_each_kind_of_token_is_billed_at_its_own_rate() -> None:
    """Plain input, cached reads, 5-minute writes, 1-hour writes and output (reasoning included) add up."""
    usage = Usage(
        input_tokens=1_000_000,
        output_tokens=100_000,
        cached_input_tokens=400_000,
        cache_write_tokens=300_000,
        cache_write_1h_tokens=100_000,
        reasoning_tokens=90_000,
    )
    result = cost(usage, PRICE, NOON)
    assert result.amount == Decimal("0.6") + Decimal("0.08") + Decimal("0.5") + Decimal("0.4") + Decimal(1)
    assert result.source == "computed"
    assert result.rates == rates_at(PRICE, 1_000_000, NOON)


def test_cached_tokens_without_a_rate_are_plain_input() -> None:
    """A provider that publishes no cached or write price bills those tokens as input."""
    price = Price(cost_input_per_million=Decimal(3), cost_output_per_million=Decimal(0))
    usage = Usage(
        input_tokens=100, output_tokens=0, cached_input_tokens=40, cache_write_tokens=30, cache_write_1h_tokens=30
    )
    assert amount(usage, price) == Decimal("0.0003")


def test_one_hour_writes_without_a_rate_are_cache_writes() -> None:
    """The 1-hour rate falls back on the cache write rate, not on the input rate."""
    price = replace(PRICE, cost_cache_write_1h_per_million=None)
    usage = Usage(
        input_tokens=1_000_000, output_tokens=0, cache_write_tokens=1_000_000, cache_write_1h_tokens=1_000_000
    )
    assert amount(usage, price) == Decimal("2.5")


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=100, output_tokens=0, cached_input_tokens=500),
        Usage(input_tokens=100, output_tokens=0, cached_input_tokens=100, cache_write_tokens=100),
        Usage(input_tokens=100, output_tokens=-7, cached_input_tokens=200, cache_write_tokens=-5),
        Usage(input_tokens=100, output_tokens=0, cached_input_tokens=100, cache_write_1h_tokens=50),
    ],
)
def test_counts_that_contradict_each_other_bill_no_token_twice(usage: Usage) -> None:
    """The whole input is the limit of what is billed as input, and nothing is billed below zero."""
    assert amount(usage) == Decimal("0.00002")  # 100 cached tokens


def test_a_providers_own_figure_wins() -> None:
    """The cost that the provider reports is taken to the last tick, without our discount on top."""
    usage = Usage(input_tokens=1, output_tokens=1, reported_cost=Decimal("0.0000000037"))
    discounted = replace(PRICE, price_variants=(PriceVariant(service_tier="batch", factor=Decimal("0.5")),))
    result = cost(usage, discounted, NOON, tier="batch")
    assert (result.amount, result.source) == (Decimal("0.0000000037"), "provider_reported")


@pytest.mark.parametrize("nonsense", ["-1", "NaN", "Infinity"])
def test_a_reported_cost_that_makes_no_sense_is_not_believed(nonsense: str) -> None:
    """A negative or non-finite figure is ignored and the cost is computed."""
    usage = Usage(input_tokens=1_000_000, output_tokens=0, reported_cost=Decimal(nonsense))
    assert cost(usage, PRICE, NOON).source == "computed"


def test_unknown_is_none_and_never_zero() -> None:
    """Without usage, or without a rate that is needed, there is no amount."""
    half_known = Price(cost_input_per_million=Decimal(1))
    for usage, price in ((None, PRICE), (Usage(input_tokens=1, output_tokens=1), half_known)):
        result = cost(usage, price, NOON)
        assert (result.amount, result.source) == (None, "unpriced")


def test_a_price_of_zero_is_a_price() -> None:
    """A local model costs 0, computed."""
    free = Price(cost_input_per_million=Decimal(0), cost_output_per_million=Decimal(0))
    for usage in (Usage(input_tokens=10**6, output_tokens=10**6), Usage(output_tokens=5), None):
        result = cost(usage, free, NOON, fallback=PRICE)
        assert (result.amount, result.source) == (Decimal(0), "computed")


@pytest.mark.parametrize(
    "more",
    [
        {"cost_cache_write_per_million": Decimal(1)},
        {"price_tiers": (PriceTier(above=1_000, cost_input_per_million=Decimal(1)),)},
    ],
    ids=["cache writes", "a tier"],
)
def test_a_price_of_zero_for_some_tokens_only_needs_their_count(more) -> None:
    """Without usage, what may cost something is unknown."""
    free = Price(cost_input_per_million=Decimal(0), cost_output_per_million=Decimal(0), **more)
    assert cost(None, free, NOON).source == "unpriced"


def test_a_missing_rate_without_tokens_does_not_matter() -> None:
    """An unknown output price leaves a request without output priced, and the fallback unused."""
    half_known = Price(cost_input_per_million=Decimal(1))
    result = cost(Usage(input_tokens=1_000_000, output_tokens=0), half_known, NOON, fallback=PRICE)
    assert (result.amount, result.source) == (Decimal(1), "computed")


def test_the_providers_default_costs_stand_in_and_are_marked() -> None:
    """A missing rate comes from the provider's defaults; rates that the model has stay its own."""
    provider = Provider(
        name="acme",
        display_name="Acme",
        wire="openai_chat",
        base_url="https://acme.test",
        default_cost_input_per_million=Decimal(100),
        default_cost_output_per_million=Decimal(7),
    )
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    fallback = default_rates(provider)
    half_known = cost(usage, Price(cost_input_per_million=Decimal(1)), NOON, fallback=fallback)
    assert (half_known.amount, half_known.source) == (Decimal(8), "provider_default")
    assert half_known.rates.cost_output_per_million == Decimal(7)
    assert cost(usage, Price(), NOON, fallback=fallback).amount == Decimal(107)
    assert default_rates(replace(provider, default_cost_input_per_million=None)) == Rates(
        cost_output_per_million=Decimal(7)
    )
    assert (
        default_rates(replace(provider, default_cost_input_per_million=None, default_cost_output_per_million=None))
        is None
    )


def test_exactly_the_threshold_is_still_the_base_price() -> None:
    """272,000 tokens are billed at base, 272,001 all at the tier, cached tokens count towards the size."""
    tier = PriceTier(above=272_000, cost_input_per_million=Decimal(4), cost_output_per_million=Decimal(15))
    price = replace(PRICE, cost_cached_input_per_million=Decimal("0.2"), price_tiers=(tier,))
    at_threshold = Usage(input_tokens=272_000, output_tokens=1_000_000)
    assert amount(at_threshold, price) == Decimal("0.544") + 10
    assert amount(replace(at_threshold, input_tokens=272_001), price) == Decimal("1.088004") + 15
    mostly_cached = Usage(input_tokens=272_001, output_tokens=0, cached_input_tokens=272_000)
    assert amount(mostly_cached, price) == Decimal("0.054404")


def test_the_highest_tier_that_is_passed_holds_in_whatever_order_they_are_listed() -> None:
    """Of several tiers the highest passed one decides, alone: it does not inherit from lower tiers."""
    low = PriceTier(above=100, cost_input_per_million=Decimal(20), cost_output_per_million=Decimal(99))
    high = PriceTier(above=200, cost_input_per_million=Decimal(30))
    for ordered in ((low, high), (high, low)):
        price = replace(PRICE, price_tiers=ordered)
        assert rates_at(price, 200, NOON).cost_input_per_million == Decimal(20)
        assert rates_at(price, 201, NOON).cost_input_per_million == Decimal(30)
        assert rates_at(price, 201, NOON).cost_output_per_million == Decimal(10)


@given(usages(), prices, moments)
def test_the_amount_is_exact_to_its_last_digit(usage: Usage, price: Price, at: datetime) -> None:
    """The amount is the exact fraction rounded half to even at ten decimals, in any decimal context."""
    exact = as_fractions(usage, rates_at(price, usage.input_tokens, at))
    with localcontext(prec=3):
        result = cost(usage, price, at).amount
    assert result == round(exact * 10**10) * CENT  # Fraction rounds half to even too
    assert result.as_tuple().exponent == -10


@given(usages(), flat_prices, st.integers(0, 1_000_000))
def test_the_parts_of_a_cost_add_up(usage: Usage, price: Price, reasoning: int) -> None:
    """Whatever kinds of tokens there are, each is in one part: plain, cached and written input, answers, reasoning."""
    usage = replace(usage, reasoning_tokens=min(reasoning, usage.output_tokens))
    with localcontext(prec=50):
        parts = sum(split(usage, price))
    assert round(Fraction(parts) * 10**10) * CENT == cost(usage, price, NOON).amount


@given(prices, st.integers(0, 500_000), moments)
def test_rates_are_the_base_ones_then_the_windows_then_the_tiers(price: Price, tokens: int, at: datetime) -> None:
    """Each rate is that of the last layer which names it, written with the digits that it has there."""
    layers = [
        price,
        *[window for window in price.price_windows if covers(window, at)][:1],
        *sorted((tier for tier in price.price_tiers if tier.above < tokens), key=lambda tier: tier.above)[-1:],
    ]
    rates = rates_at(price, tokens, at)
    for name in RATE_COLUMNS:
        named = [rate for layer in layers if (rate := getattr(layer, name)) is not None]
        assert str(getattr(rates, name)) == str(named[-1] if named else None)


@given(st.lists(usages(50_000), max_size=8), flat_prices)
def test_turns_add_up(turns: list[Usage], price: Price) -> None:
    """Turns cost what their tokens cost together, within half a unit of the tenth decimal each."""
    together = Usage(
        **{
            name: sum(getattr(turn, name) for turn in turns)
            for name in (
                "input_tokens",
                "output_tokens",
                "cached_input_tokens",
                "cache_write_tokens",
                "cache_write_1h_tokens",
            )
        }
    )
    apart = total(amount(turn, price) for turn in turns)
    assert abs(Fraction(apart) - as_fractions(together, price)) <= Fraction(CENT) / 2 * len(turns)


@given(st.lists(usages(50_000), max_size=8), st.integers(0, 10**6), st.integers(0, 10**6))
def test_turns_add_up_exactly_at_prices_of_four_decimals(turns: list[Usage], a: int, b: int) -> None:
    """No digit is lost where a token costs a whole number of ten-billionths, as nearly all published prices do."""
    price = Price(cost_input_per_million=a * Decimal("1e-4"), cost_output_per_million=b * Decimal("1e-4"))
    together = Usage(
        input_tokens=sum(turn.input_tokens for turn in turns),
        output_tokens=sum(turn.output_tokens for turn in turns),
    )
    assert total(amount(turn, price) for turn in turns) == amount(together, price)


@given(usages(), flat_prices, tokens, tokens)
def test_more_tokens_never_cost_less(usage: Usage, price: Price, more_input: int, more_output: int) -> None:
    """The cost grows with plain input and with output, and is never negative."""
    more = replace(
        usage,
        input_tokens=usage.input_tokens + more_input,
        output_tokens=usage.output_tokens + more_output,
    )
    assert 0 <= amount(usage, price) <= amount(more, price)


@given(usages(400_000), flat_prices, st.integers(0, 400_000), st.integers(0, 400_000), st.integers(100, 300))
def test_passing_into_a_dearer_tier_never_costs_less(
    usage: Usage, price: Price, more: int, above: int, percent: int
) -> None:
    """With a tier that is dearer in every rate the cost still grows with the input."""
    dearer = {
        name: value * percent / 100
        for name in Rates.__dataclass_fields__
        if (value := getattr(price, name)) is not None
    }
    tiered = replace(price, price_tiers=(PriceTier(above=above, **dearer),))
    assert amount(usage, tiered) <= amount(replace(usage, input_tokens=usage.input_tokens + more), tiered)


@settings(max_examples=200)
@given(
    st.builds(
        Usage, **{name: st.integers(-(10**9), 10**9) for name in Usage.__dataclass_fields__ if name != "reported_cost"}
    ),
    prices,
    moments,
)
def test_no_counts_however_wrong_give_a_negative_cost(usage: Usage, price: Price, at: datetime) -> None:
    """Any integers at all give an amount of at least 0 and at most the dearest rate for the whole input."""
    result = cost(usage, price, at)
    rates = result.rates
    dearest = max(rate for name in Rates.__dataclass_fields__ if (rate := getattr(rates, name)) is not None)
    billed = max(usage.input_tokens, 0) + max(usage.output_tokens, 0)
    assert 0 <= result.amount <= dearest * billed / 10**6 + CENT

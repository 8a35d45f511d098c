"""What answers cost at other service tiers than the standard one."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from money import prices, usages, worst_case
from test_cost import NOON, PRICE

from llmkit.errors import ValidationError
from llmkit.money.pricing import cost
from llmkit.money.service_tiers import askable, at_tier, in_batch
from llmkit.records import Model, Price, PriceTier, PriceVariant, PriceWindow, Usage
from llmkit.records.checks.numbers import price_variants

FACTORS = (
    PriceVariant(service_tier="batch", factor=Decimal("0.5")),
    PriceVariant(service_tier="fast", factor=Decimal(2)),
    PriceVariant(service_tier="us", factor=Decimal("1.1")),
)
FLEX = PriceVariant(
    service_tier="flex",
    cost_output_per_million=Decimal(3),
    price_tiers=(PriceTier(above=200, cost_output_per_million=Decimal(5)),),
)
TIERED = Price(
    cost_input_per_million=Decimal(1),
    cost_output_per_million=Decimal(10),
    price_tiers=(PriceTier(above=100, cost_input_per_million=Decimal(2), cost_output_per_million=Decimal(20)),),
    price_windows=(
        PriceWindow(
            weekdays=(1, 2, 3, 4, 5, 6, 7),
            start=time(0),
            end=time(0),
            cost_input_per_million=Decimal(4),
            cost_output_per_million=Decimal(40),
        ),
    ),
    price_variants=(FLEX,),
)


@given(usage=usages(), price=prices, factor=st.decimals(0, 10, places=4))
def test_a_factor_holds_for_every_kind_of_token(usage: Usage, price: Price, factor: Decimal) -> None:
    """The cost at the tier is the standard one times the factor, whatever tiers and windows hold."""
    usage = replace(usage, reported_cost=None)
    variant = PriceVariant(service_tier="priority", factor=factor)
    standard = cost(usage, price, NOON).amount
    served = cost(usage, replace(price, price_variants=(variant,)), NOON, tier="priority").amount
    if standard is None or served is None:
        assert standard is None or standard * factor > 10**7  # too much to be true at the tier
    else:
        assert abs(served - standard * factor) <= Decimal("1e-10") * (factor + 1)


@pytest.mark.parametrize(("tokens", "rates"), [(100, (4, 3)), (101, (2, 3)), (201, (2, 5))])
def test_named_rates_take_the_place_of_the_standard_ones_of_their_kind(tokens: int, rates: tuple[int, int]) -> None:
    """Output follows the variant's own long-context tiers; input, which it does not name, the standard ones."""
    usage = Usage(input_tokens=tokens, output_tokens=1_000_000)
    served = cost(usage, TIERED, NOON, tier="flex").rates
    assert (served.cost_input_per_million, served.cost_output_per_million) == rates


def test_parts_of_a_tier_multiply() -> None:
    """Fast mode in the US is billed at both factors, in whatever order it is told."""
    usage, price = Usage(input_tokens=0, output_tokens=1_000_000), replace(PRICE, price_variants=FACTORS)
    assert PRICE.cost_output_per_million is not None
    for tier in ("fast+us", "us+fast"):
        assert cost(usage, price, NOON, tier=tier).amount == PRICE.cost_output_per_million * Decimal("2.2")


@pytest.mark.parametrize("tier", ["scale", "fast+scale", "eu", "Fast", ""])
def test_a_tier_that_nobody_has_a_price_for_is_unpriced(tier: str) -> None:
    """Neither the standard price nor the provider's default costs hold for it; no rates are told."""
    usage = Usage(input_tokens=1, output_tokens=1)
    result = cost(usage, replace(PRICE, price_variants=FACTORS), NOON, tier=tier, fallback=PRICE)
    assert (result.amount, result.source) == (None, "unpriced")
    assert result.rates.cost_input_per_million is None


def test_a_reported_cost_holds_at_any_tier() -> None:
    """Who says what was billed knows at which tier."""
    usage = Usage(input_tokens=1, output_tokens=1, reported_cost=Decimal("0.25"))
    assert cost(usage, PRICE, NOON, tier="scale").amount == Decimal("0.25")


def test_a_batch_discount_is_a_variant() -> None:
    """It prices what was served in a batch, unless batches have rates of their own."""
    usage = Usage(input_tokens=0, output_tokens=1_000_000)
    model = Model(provider="p", model_id="m", display_name="M", price=PRICE, batch_discount=Decimal("0.2"))
    whole = cost(usage, PRICE, NOON).amount
    assert whole is not None
    assert cost(usage, model.full_price, NOON, tier="batch").amount == whole * Decimal("0.8")
    listed = replace(model, price=replace(PRICE, price_variants=FACTORS))
    assert cost(usage, listed.full_price, NOON, tier="batch").amount == whole / 2
    assert "batch" not in askable(model.full_price)


@given(usage=usages(), price=prices, tier=st.sampled_from(["standard", "batch", "fast", "us", "fast+us"]))
def test_no_answer_at_a_tier_that_may_be_served_costs_more_than_the_worst_case(
    usage: Usage, price: Price, tier: str
) -> None:
    """The worst case is that of the dearest tier."""
    usage, price = replace(usage, reported_cost=None), replace(price, price_variants=FACTORS)
    most = worst_case(
        price,
        input_tokens=usage.input_tokens,
        max_output_tokens=usage.output_tokens,
        tiers={"standard", "batch", "fast", "us", "fast+us"},
    )
    amount = cost(usage, price, NOON, tier=tier).amount
    assert most is None or amount is None or amount <= most


def test_a_worst_case_is_unknown_where_a_tier_is() -> None:
    """A budget cannot be kept at a price that nobody knows."""
    assert worst_case(PRICE, input_tokens=1, max_output_tokens=1, tiers={"standard", "scale"}) is None


def test_the_standard_price_is_handed_through() -> None:
    """Without a tier, or at the standard one, nothing changes."""
    price = replace(PRICE, price_variants=FACTORS)
    assert at_tier(price, None) is at_tier(price, "standard") is price


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"service_tier": "standard", "factor": 1}], "a tier other"),
        ([{"factor": 1}], "a tier other"),
        ([{"service_tier": "flex"}], "at least one price"),
        ([{"service_tier": "flex", "factor": 1, "cost_input_per_million": 1}], "not both"),
        ([{"service_tier": "flex", "factor": 1}, {"service_tier": "flex", "factor": 2}], "twice"),
        ([{"service_tier": "flex", "factor": -1}], "negative"),
        ([{"service_tier": "flex", "rate": 1}], "rate"),
        ("flex", "list of dicts"),
    ],
)
def test_variants_that_make_no_sense_are_refused(rows: object, says: str) -> None:
    """The sentence says what is wrong."""
    with pytest.raises(ValidationError, match=says):
        price_variants(rows)


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        (None, "batch"),
        ("standard", "batch"),
        ("batch", "batch"),
        ("us", "batch+us"),
        ("fast", "batch"),
        ("fast+us", "batch+us"),
        ("flex", "batch"),
        ("scale", "batch"),
    ],
)
def test_a_batch_is_a_tier_of_its_own(told: str | None, tier: str) -> None:
    """Only a place changes its price: half of half the price is nobody's."""
    assert in_batch(told) == tier

"""What an estimate rests on, and how it follows the prompts, the prices and the parameters."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from money import worst_case
from workloads import MODEL, NOON, ask, scenarios

from llmkit.errors import ValidationError
from llmkit.money.estimate_table import Estimate
from llmkit.money.estimates import ModelEstimate, Workload, estimate_model
from llmkit.money.history import History, Observation
from llmkit.money.pricing import cost
from llmkit.records import Model, Price, PriceTier, Rates, Scenario, Usage

OTHER = replace(MODEL, model_id="two")
STRANGER = replace(MODEL, provider="elsewhere", model_id="three")
WORK = Workload.of([Scenario("x" * 330)] * 10, template="t")


def same_answers(count: int, *, output: int = 100, reasoning: int = 0, **changes: object) -> list[Observation]:
    """Answers that are all alike: 330 characters in 100 tokens, ``output`` tokens out."""
    usage = Usage(input_tokens=100, output_tokens=output, reasoning_tokens=reasoning)
    values = {"provider": "acme", "model": "acme:one", "template": "t", "input_chars": 330, "usage": usage} | changes
    return [Observation(**values)] * count  # type: ignore[arg-type]


def estimate(
    history: list[Observation], model: Model = MODEL, work: Workload = WORK, **options: object
) -> ModelEstimate:
    """An estimate at noon."""
    return estimate_model(model, work, History(history), at=NOON, **options)  # type: ignore[arg-type]


def test_it_rests_on_the_nearest_history_that_is_long_enough() -> None:
    """Model × template, else the model, else its provider, else everything, else the constants; counted each time."""
    history = same_answers(4)
    assert (estimate(history).basis, estimate(history).observations) == ("constant", 0)
    history += same_answers(3, model="elsewhere:three", provider="elsewhere")
    assert (estimate(history).basis, estimate(history).observations) == ("all", 7)
    history += same_answers(3, model="acme:two")
    assert (estimate(history).basis, estimate(history).observations) == ("provider", 7)
    history += same_answers(2, template="other")
    assert (estimate(history).basis, estimate(history).observations) == ("model", 6)
    history += same_answers(1)
    assert (estimate(history).basis, estimate(history).observations) == ("model × template", 5)


def test_prompts_without_a_template_rest_on_answers_to_such_prompts() -> None:
    """Plain prompts are estimated from the model's answers to plain prompts, and are said to rest on the model."""
    history = same_answers(5, template=None, output=10) + same_answers(50, output=1000)
    result = estimate(history, work=replace(WORK, template=None))
    assert (result.basis, result.observations, result.output_tokens) == ("model", 5, 100)


def test_equal_answers_are_expected_to_go_on() -> None:
    """When every answer was the same, tokens and cost are exactly what that comes to."""
    result = estimate(same_answers(20))
    assert (result.requests, result.input_tokens, result.output_tokens) == (10, 1000, 1000)
    assert result.chars_per_token == pytest.approx(3.3)
    assert result.cost == result.low == result.high == Decimal("0.006")


def test_the_further_the_history_the_wider_the_interval() -> None:
    """Other prompts, other models, other providers and no history at all make an estimate less sure, in this order."""
    generator = np.random.default_rng(5)
    ask_for = lambda model, template: ask(scenarios(100, generator), generator, model=model, template=template)  # noqa: E731
    histories = [ask_for(MODEL, "t"), ask_for(MODEL, "u"), ask_for(OTHER, "t"), ask_for(STRANGER, "t"), []]
    widths = []
    for history in histories:
        result = estimate(history, work=Workload.of(scenarios(100, generator), template="t"))
        widths.append(float(result.high / result.low))
    assert widths == sorted(widths)


def test_without_history_tokens_come_from_the_constants() -> None:
    """Four characters to a token, 400 tokens to an answer, and reasoning on top by its effort."""
    result = estimate([])
    assert (result.chars_per_token, result.output_tokens) == (4.0, 4000)
    assert estimate([], effort="none").output_tokens == 4000
    assert estimate([], effort="high").output_tokens == 39_000
    assert estimate([], effort="low").output_tokens < estimate([], effort="medium").output_tokens
    assert result.low < result.cost < result.high


def test_reasoning_is_carried_over_to_another_effort() -> None:
    """Answers at low effort make expect more reasoning at high effort, and none at effort none."""
    history = same_answers(10, output=300, reasoning=200, effort="low")
    assert estimate(history, effort="low").output_tokens == 3_000
    assert estimate(history, effort="high").output_tokens == 10 * (100 + 200 * 3500 // 400)
    assert estimate(history, effort="none").output_tokens == 1_000


def test_answers_at_the_same_effort_are_preferred() -> None:
    """Five answers at the effort that is asked for count for more than many at another."""
    history = same_answers(5, output=50, effort="low") + same_answers(50, output=5000, effort="high")
    result = estimate(history, effort="low")
    assert (result.observations, result.output_tokens) == (5, 500)


def test_a_conversation_is_sent_again_with_every_turn() -> None:
    """The input of a turn holds the earlier prompts and answers, but not their reasoning."""
    three_turns = Workload.of([Scenario("x" * 330, followups=("x" * 330, "x" * 330), system="x" * 330)], template="t")
    result = estimate(same_answers(10, output=140, reasoning=40), work=three_turns)
    assert result.requests == 3
    assert result.input_tokens == (2 + 3 + 4) * 100 + (0 + 1 + 2) * 100
    assert result.output_tokens == 3 * 140


def test_samples_and_extra_text_are_counted() -> None:
    """Samples multiply everything; a schema goes with every request."""
    once = estimate(same_answers(10), work=Workload.of([Scenario("x" * 330)], template="t"))
    more = estimate(same_answers(10), work=Workload.of([Scenario("x" * 330)], samples=4, template="t", extra_chars=330))
    assert (more.requests, more.input_tokens) == (4, 8 * once.input_tokens)
    with pytest.raises(ValidationError):
        Workload.of([])
    with pytest.raises(ValidationError):
        Workload.of([Scenario("x")], samples=0)


def test_answers_are_cut_at_max_tokens_and_the_interval_ends_at_the_worst_case() -> None:
    """A cap on the answers caps the estimate: it never exceeds what the budget gate would reserve."""
    result = estimate([], max_tokens=16)
    assert result.output_tokens <= 160
    most = worst_case(MODEL.price, input_tokens=round(1.5 * 330 / 4), max_output_tokens=16)
    assert result.high <= 10 * most + Decimal("1e-6")
    assert estimate([], replace(MODEL, max_output_tokens=16)).cost == result.cost


def test_an_unpriced_model_has_tokens_but_no_cost() -> None:
    """Nothing is said about the cost of a model without a price, unless its provider has default costs."""
    unpriced = replace(MODEL, price=Price(cost_input_per_million=Decimal(1)))
    result = estimate(same_answers(10), unpriced)
    assert (result.cost, result.low, result.high, result.output_tokens) == (None, None, None, 1000)
    fallback = Rates(cost_output_per_million=Decimal(5))
    assert estimate(same_answers(10), unpriced, fallback=fallback).cost == Decimal("0.006")
    free = replace(MODEL, price=Price(cost_input_per_million=Decimal(0), cost_output_per_million=Decimal(0)))
    assert estimate([], free).cost == estimate([], free).high == Decimal(0)


def test_long_prompts_are_estimated_at_their_tier() -> None:
    """Each request's size decides the tier, as it will when it is billed."""
    tier = PriceTier(above=1_000, cost_input_per_million=Decimal(10), cost_output_per_million=Decimal(50))
    model = replace(MODEL, price=replace(MODEL.price, price_tiers=(tier,)))
    work = Workload.of([Scenario("x" * 330), Scenario("x" * 6600)], template="t")
    billed = [cost(Usage(input_tokens=size, output_tokens=100), model.price, NOON).amount for size in (100, 2000)]
    assert float(estimate(same_answers(10), model, work).cost) == pytest.approx(float(sum(billed)))


def test_cached_input_is_expected_for_the_same_prompts_only() -> None:
    """What the provider cached of these prompts before it is expected to cache again; for other prompts, nothing."""
    price = replace(MODEL.price, cost_cached_input_per_million=Decimal("0.1"))
    usage = Usage(input_tokens=100, output_tokens=0, cached_input_tokens=50)
    history = same_answers(10, usage=usage)
    model = replace(MODEL, price=price)
    assert estimate(history, model).cost == Decimal("0.00055")
    assert estimate(history, model, work=replace(WORK, template="new")).cost == Decimal("0.001")


def test_an_estimate_is_the_same_each_time_and_beside_any_other_model() -> None:
    """No figure flickers while a form is filled in."""
    generator = np.random.default_rng(6)
    history = ask(scenarios(60, generator), generator) + ask(scenarios(60, generator), generator, model=OTHER)
    assert estimate(history) == estimate(history)
    assert estimate(history).low < estimate(history).cost < estimate(history).high


def test_the_total_adds_up_and_names_what_is_not_in_it() -> None:
    """Totals over models add; the interval is narrower than the sum of intervals; unpriced models are named."""
    generator = np.random.default_rng(7)
    models = [replace(MODEL, model_id=f"m{number}") for number in range(5)]
    history = [seen for model in models for seen in ask(scenarios(60, generator), generator, model=model)]
    each = [estimate(history, model) for model in models]
    unpriced = estimate(history, replace(STRANGER, price=Price()))
    result = Estimate.of([*each, unpriced])
    assert result.total == sum(one.cost for one in each)
    assert result.unpriced == ("elsewhere:three",)
    assert sum(one.low for one in each) < result.low < result.total < result.high < sum(one.high for one in each)
    nothing = Estimate.of([unpriced])
    assert (nothing.total, nothing.low, nothing.high) == (None, None, None)


def test_only_the_latest_answers_of_a_long_history_count() -> None:
    """A model that changed is estimated from how it answers now."""
    history = same_answers(1_000, output=10) + same_answers(500, output=1000)
    assert estimate(history).output_tokens == 10_000

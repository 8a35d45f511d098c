"""A made-up world: models whose answers have heavy-tailed lengths, and what runs in it really cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from llmkit.money.history import Observation
from llmkit.money.pricing import cost, total
from llmkit.records import Model, Price, Scenario, Usage

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MODEL = Model(
    provider="acme",
    model_id="one",
    display_name="One",
    price=Price(cost_input_per_million=Decimal(1), cost_output_per_million=Decimal(5)),
)
CHARS_PER_TOKEN = 3.3


def scenarios(count: int, generator: np.random.Generator, *, followups: int = 0) -> list[Scenario]:
    """Prompts of 50 to 2,000 characters, with follow-ups of 40."""
    sizes = generator.integers(50, 2_000, count)
    return [Scenario("x" * size, followups=("y" * 40,) * followups) for size in sizes]


def answer(input_chars: int, generator: np.random.Generator, *, sigma: float = 1.0, scale: float = 300) -> Usage:
    """An answer of log-normal length, the input within a few percent of its characters' worth."""
    return Usage(
        input_tokens=max(1, round(input_chars / CHARS_PER_TOKEN * generator.lognormal(0, 0.05))),
        output_tokens=max(1, round(scale * generator.lognormal(0, sigma))),
    )


def ask(
    asked: list[Scenario],
    generator: np.random.Generator,
    *,
    model: Model = MODEL,
    template: str | None = "t",
    effort: str | None = None,
    **kind: float,
) -> list[Observation]:
    """The answers that come when all scenarios are asked, with the conversation resent at every turn."""
    observations = []
    for scenario in asked:
        chars, visible = len(scenario.system or ""), 0
        for prompt in scenario.prompts:
            chars += len(prompt)
            usage = answer(chars + round(visible * CHARS_PER_TOKEN), generator, **kind)
            observations.append(
                Observation(
                    provider=model.provider,
                    model=model.reference,
                    template=template,
                    effort=effort,
                    input_chars=chars + round(visible * CHARS_PER_TOKEN),
                    usage=usage,
                )
            )
            visible += usage.output_tokens
    return observations


def spent(observations: list[Observation], model: Model = MODEL) -> Decimal:
    """What the answers really cost."""
    return total(cost(seen.usage, model.price, NOON).amount for seen in observations)

"""Estimates are held against what then came, in many made-up runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from workloads import MODEL, NOON, ask, scenarios, spent

from llmkit.money.estimate_table import Estimate
from llmkit.money.estimates import Workload, estimate_model
from llmkit.money.history import History

RUNS = 200


def covered_and_ratios(
    seed: int, sigma: float, followups: int = 0, models: int = 1, history: tuple[int, int] = (30, 300)
) -> tuple[float, float, float]:
    """Share of runs inside the interval, mean of actual / estimate, and the standard error of that mean."""
    generator = np.random.default_rng(seed)
    inside, ratios = 0, []
    for _ in range(RUNS):
        history_size, size = (int(generator.integers(*bounds, endpoint=True)) for bounds in (history, (10, 300)))
        estimates, actual = [], 0
        asked = scenarios(max(size // (followups + 1), 1), generator, followups=followups)
        workload = Workload.of(asked, template="t")
        for number in range(models):
            model = replace(MODEL, model_id=f"m{number}")
            before = ask(scenarios(history_size, generator, followups=followups), generator, model=model, sigma=sigma)
            estimates.append(estimate_model(model, workload, History(before[:history_size]), at=NOON))
            actual += spent(ask(asked, generator, model=model, sigma=sigma))
        result = Estimate.of(estimates)
        inside += result.low <= actual <= result.high
        ratios.append(float(actual / result.total))
    return inside / RUNS, float(np.mean(ratios)), float(np.std(ratios) / RUNS**0.5)


@pytest.mark.parametrize(
    ("seed", "sigma", "followups", "models"),
    [(1, 1.0, 0, 1), (2, 1.0, 2, 1), (3, 1.0, 0, 3), (4, 0.5, 0, 1)],
    ids=["heavy tail", "three turns", "three models", "light tail"],
)
def test_the_interval_holds_what_it_promises(seed: int, sigma: float, followups: int, models: int) -> None:
    """With 30 to 300 earlier answers, 75 to 90% of 200 runs end inside the 80% interval, the mean is within 5%."""
    inside, ratio, error = covered_and_ratios(seed, sigma, followups, models)
    print(f"{RUNS} runs: {inside:.1%} inside, actual/estimate {ratio:.3f} ± {error:.3f}")
    assert 0.75 <= inside <= 0.90
    assert 0.95 <= ratio <= 1.05


def test_a_short_history_is_admitted() -> None:
    """With only 10 to 30 earlier answers of a heavy-tailed kind the interval is wider, and holds all the same."""
    inside, ratio, error = covered_and_ratios(5, 1.0, history=(10, 30))
    print(f"{RUNS} runs, short history: {inside:.1%} inside, actual/estimate {ratio:.3f} ± {error:.3f}")
    assert 0.75 <= inside <= 0.90
    assert 0.95 <= ratio <= 1.05

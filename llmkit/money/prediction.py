"""From the costs of earlier answers to the total of new ones: an estimate and an interval. Numbers only, in floats."""

from __future__ import annotations

import numpy as np

from llmkit.money.history import HISTORY_LIMIT, Floats

INTERVAL = (0.1, 0.9)
DRAWS = 400


def predict(costs: Floats, count: int, spread: float, generator: np.random.Generator) -> tuple[float, Floats]:
    """The total of ``count`` new answers that cost like those in ``costs``: an estimate, and possible totals.

    ``spread`` is how far the new answers as a whole may differ, as a standard deviation of the logarithm.

    With few answers of a skewed kind the mean of the history is as a rule too low and a plain bootstrap too narrow.
    So the error of the mean's logarithm is bootstrapped in units of its own standard error (studentised), which
    widens the interval upwards, and widened once more by a factor that simulations with 5 to 300 log-normal,
    exponential and Pareto answers called for. The estimate is raised by the squared coefficient of variation over the
    number of answers: by so much does actual / estimate otherwise exceed 1 on average.
    """
    size, mean = len(costs), costs.mean()
    variation = costs.std(ddof=1) / mean if mean else 0.0
    noise = np.exp(spread * generator.standard_normal(DRAWS) - spread**2 / 2)
    if not variation:
        return mean * count, mean * count * noise
    past = costs[generator.integers(size, size=(DRAWS, size))]
    if count <= HISTORY_LIMIT:
        new = costs[generator.integers(size, size=(DRAWS, count))].mean(axis=1)
    else:  # the mean of so many is normal
        new = generator.normal(mean, variation * mean / count**0.5, DRAWS)
    past_mean, new = np.maximum(past.mean(axis=1), mean / 100), np.maximum(new, mean / 100)
    # a resample can by chance hold equal answers only, and would divide by 0
    past_variation = np.maximum(past.std(axis=1, ddof=1) / past_mean, 0.3 * variation)
    error = np.log(new / past_mean) * variation / past_variation * (1 + size**-0.5)
    return mean * count * (1 + variation**2 / size), mean * count * np.exp(error) * noise


def interval(expected: float, draws: Floats) -> tuple[float, float]:
    """The 80 % interval of the draws, stretched to hold the estimate where that lies outside (a rare long answer)."""
    low, high = np.quantile(draws, INTERVAL)
    return min(low, expected), max(high, expected)

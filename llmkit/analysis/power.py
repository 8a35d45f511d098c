"""Plan how many scenarios and samples a study needs, and their cost, from the variances of a pilot."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from math import sqrt

import numpy as np
import pandas as pd

from llmkit.analysis import charts, intervals
from llmkit.analysis.charts import axes
from llmkit.analysis.comparison import HasProbes, answers_by_level
from llmkit.analysis.intervals import ALPHA, stats
from llmkit.errors import ValidationError
from llmkit.money.amounts import dollars
from llmkit.records.checks.shapes import is_number
from llmkit.records.checks.texts import counted

SAMPLES = (1, 2, 3, 5, 10)
_MOST_SCENARIOS = 20_000


@dataclass(frozen=True, slots=True)
class Design:
    """The number of scenarios, and of samples of each, to detect a difference between two configurations."""

    scenarios: int
    samples: int
    power: float
    """The probability of detecting the difference with them, at p < 0.05."""
    cost: Decimal | None
    low: Decimal | None
    high: Decimal | None
    """US dollars for all models, with an 80% interval; ``None`` where a price is unknown."""
    enough: bool
    """Whether the requested power is reached within the budget."""
    available: int
    """The number of scenarios that there are: more may be needed."""
    curve: pd.DataFrame
    """One row per number of scenarios and samples: scenarios, samples, power, cost (US dollars)."""

    def plot(self, ax: axes.Axes | None = None) -> axes.Axes:
        """Power against the number of scenarios, one line per number of samples."""
        return charts.plot_power(self.curve, ax)

    def __repr__(self) -> str:
        money = dollars(self.cost)
        if self.low != self.high:
            money += f" ({dollars(self.low)} to {dollars(self.high)})"
        state = "" if self.enough else "; the requested power is not reached"
        if self.scenarios > self.available:
            state += f"; only {counted(self.available, 'scenario')} given"
        size = f"{self.scenarios:,} scenarios × {counted(self.samples, 'sample')}"
        return f"<Design {size}: power {self.power:.0%}, {money}{state}>"


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of a difference between two configurations: between scenarios, and of one sample of each."""

    between: float
    within: float

    def of_mean(self, samples: int) -> float:
        """The standard deviation of a scenario's difference with this many samples of each side."""
        return sqrt(self.between + self.within / samples)


def pilot_spread(pilot: HasProbes | pd.DataFrame, value: str) -> Spread:
    """The spread of differences in a pilot, averaged over its pairs of configurations; a single configuration is
    compared with an independent one of the same spread."""
    answers = answers_by_level(pilot, value, by="config", within="scenario_id")[0]
    levels = [rows for rows in answers.values() if rows["within"].nunique() > 1]
    if not levels:
        raise ValidationError("A pilot needs answers to at least two scenarios.", field="pilot")
    spreads = [spread for a, b in combinations(levels, 2) if (spread := _spread(a, b)) is not None]
    if not spreads:
        spreads = [_alone(rows) for rows in levels]
    spread = Spread(float(np.mean([s.between for s in spreads])), float(np.mean([s.within for s in spreads])))
    if spread.of_mean(1) == 0:
        sentence = f"In this pilot {value!r} does not vary, which says nothing about power: run more scenarios."
        raise ValidationError(sentence, field="pilot")
    return spread


def design(
    spread: Spread,
    *,
    detect: float,
    power: float,
    available: int,
    unit: Mapping[str, Decimal | None],
    budget: Decimal | None = None,
) -> Design:
    """The cheapest design that detects ``detect`` with ``power``, else the most powerful one within the ``budget``.

    More than the ``available`` number of scenarios is proposed only when needed. ``unit`` is the cost of one sample of
    one scenario on all models: cost, low, high.
    """
    if not (is_number(detect) and detect > 0):
        raise ValidationError(f"detect is the difference to detect, above 0, not {detect!r}.", field="detect")
    if not (is_number(power) and 0.05 < power < 1):
        raise ValidationError(f"power is a share between 0.05 and 1, not {power!r}.", field="power")
    price = unit["cost"]
    options = [(_needed(spread, k, detect, power), k) for k in SAMPLES]
    fitting = [(g, k) for g, k in options if g <= available] or options
    scenarios, samples = min(fitting, key=lambda option: (option[0] * option[1], option[1]))
    enough = scenarios < _MOST_SCENARIOS
    if budget is not None and price is not None and scenarios * samples * price > budget:
        enough = False
        affordable = int(budget / price) if price else _MOST_SCENARIOS
        choices = [(min(affordable // k, max(available, 2)), k) for k in SAMPLES if affordable // k >= 2]
        if not choices:
            raise ValidationError(
                f"A budget of {dollars(budget)} does not pay for two scenarios: one costs {dollars(price)}.",
                field="budget",
            )
        scenarios, samples = max(choices, key=lambda choice: _power(spread, choice[0], choice[1], detect))
    size = scenarios * samples
    return Design(
        scenarios=scenarios,
        samples=samples,
        power=_power(spread, scenarios, samples, detect),
        enough=enough,
        available=available,
        curve=_curve(spread, detect, max(scenarios, available), price),
        **{name: None if amount is None else amount * size for name, amount in unit.items()},
    )


def _curve(spread: Spread, detect: float, most: int, price: Decimal | None) -> pd.DataFrame:
    counts = sorted({int(count) for count in np.geomspace(2, max(4, 2 * most), 25)})
    sizes = [(count, samples) for samples in SAMPLES for count in counts]
    power = [_power(spread, *size, detect) for size in sizes]
    cost = [np.nan if price is None else float(price * count * samples) for count, samples in sizes]
    return pd.DataFrame(sizes, columns=["scenarios", "samples"]).assign(power=power, cost=cost)


def _power(spread: Spread, scenarios: int, samples: int, detect: float) -> float:
    """The power of a paired t test over scenarios, two-sided at 0.05."""
    limit, shift = stats.t.isf(ALPHA / 2, scenarios - 1), detect * sqrt(scenarios) / spread.of_mean(samples)
    right, wrong = stats.nct.sf(limit, scenarios - 1, shift), stats.nct.cdf(-limit, scenarios - 1, shift)
    # far out in the tails, scipy returns NaN instead of 1 and 0
    return float(np.nan_to_num(right, nan=1.0) + np.nan_to_num(wrong, nan=0.0))


def _needed(spread: Spread, samples: int, detect: float, power: float) -> int:
    """The fewest scenarios that reach the power."""
    return bisect_left(range(_MOST_SCENARIOS), power, lo=2, key=lambda count: _power(spread, count, samples, detect))


def _spread(a: pd.DataFrame, b: pd.DataFrame) -> Spread | None:
    """The spread of the differences between two configurations over shared scenarios; ``None`` for fewer than two."""
    groups = [rows.groupby("within")["value"] for rows in (a, b)]
    differences = (groups[0].mean() - groups[1].mean()).dropna()
    if len(differences) < 2:
        return None
    within, noise = 0.0, 0.0
    for rows, group in zip((a, b), groups, strict=True):
        own = intervals.variance_components(rows["value"], rows["within"])[1]
        if not np.isfinite(own):  # one sample each: sampling and scenario variance cannot be separated
            return Spread(float(differences.var()), 0.0)
        within, noise = within + own, noise + own * float((1 / group.size()).mean())
    return Spread(max(0.0, float(differences.var()) - noise), within)


def _alone(rows: pd.DataFrame) -> Spread:
    between, within = intervals.variance_components(rows["value"], rows["within"])
    return Spread(2 * between, 2 * within) if np.isfinite(within) else Spread(2 * float(rows["value"].var()), 0.0)

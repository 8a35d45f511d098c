"""Simulated studies of known truth: scenarios, samples and configurations differ, and answers fail."""

import gc
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

import llmkit

EFFECTS = {"a": 0.0, "b": 0.4, "c": 0.0}


@dataclass(frozen=True)
class World:
    """How a study comes about. ``level`` is a log-odds for answers that are right or wrong, ``None`` for scores."""

    scenarios: int
    samples: int = 3
    scenario_sd: float = 1.0
    interaction_sd: float = 0.5
    sample_sd: float = 1.0
    level: float | None = None
    failures: str = "none"
    """``random``: any answer; ``hard``: those of configuration a to scenarios that score high."""

    def study(self, generator, effects=EFFECTS):
        """The answers of one study."""
        scenario = generator.normal(0, self.scenario_sd, self.scenarios)
        parts = []
        for config, effect in effects.items():
            own = scenario + effect + generator.normal(0, self.interaction_sd, self.scenarios)
            expected = np.repeat(own, self.samples)
            if self.level is None:
                score = expected + generator.normal(0, self.sample_sd, len(expected))
            else:
                score = (generator.random(len(expected)) < _odds(self.level + expected)).astype(float)
            lost = generator.random(len(expected)) < self._chance_to_fail(config, np.repeat(scenario, self.samples))
            ids = np.repeat(np.arange(self.scenarios), self.samples)
            parts.append(pd.DataFrame({"config": config, "scenario_id": ids, "score": np.where(lost, np.nan, score)}))
        return pd.concat(parts, ignore_index=True)

    def _chance_to_fail(self, config, scenario):
        if self.failures == "random":
            return 0.15
        return _odds(2 * (scenario - 1)) if self.failures == "hard" and config == "a" else 0.0

    def truth(self, effects=EFFECTS):
        """The means that a study estimates."""
        if self.level is None:
            return dict(effects)
        places = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000) * np.hypot(self.scenario_sd, self.interaction_sd)
        return {config: _odds(self.level + effect + places).mean() for config, effect in effects.items()}


def _odds(x):
    return 1 / (1 + np.exp(-x))


def coverage(world, studies, within="scenario_id", seed=7):
    """The shares of intervals that hold the truth: of means (adjusted where they are), of differences."""
    gc.freeze()  # statsmodels collects garbage in every call of multipletests
    generator, truth = np.random.default_rng(seed), world.truth()
    means, differences = [], []
    for _ in range(studies):
        comparison = llmkit.compare(world.study(generator), "score", "config", within)
        for row in comparison.levels.to_dict("records"):
            low, high = (
                row[side] if np.isnan(row.get(f"adjusted_{side}", np.nan)) else row[f"adjusted_{side}"]
                for side in ("low", "high")
            )
            means.append(low <= truth[row["by"]] <= high)
        for row in comparison.differences.to_dict("records"):
            differences.append(row["low"] <= truth[row["a"]] - truth[row["b"]] <= row["high"])
    return np.mean(means), np.mean(differences)


def family_wise_error(world, studies, seed=7):
    """The share of studies in which any difference is significant, of configurations that are all alike."""
    gc.freeze()
    generator, effects = np.random.default_rng(seed), dict.fromkeys("abcde", 0.0)
    tables = [
        llmkit.compare(world.study(generator, effects), "score", "config", "scenario_id").differences
        for _ in range(studies)
    ]
    return np.mean([(table["p_holm"] < 0.05).any() for table in tables]), np.mean(
        [(table["p"] < 0.05).any() for table in tables]
    )

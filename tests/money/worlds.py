"""Made-up worlds in which a pilot is followed by a study: how long answers get, and what the study really costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from workloads import CHARS_PER_TOKEN, MODEL, NOON, spent

from llmkit.money.estimates import Workload, estimate_model
from llmkit.money.history import History, Observation
from llmkit.records import Scenario, Usage

Lengths = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class World:
    """A pilot and a study of so many scenarios and samples each."""

    lengths: Lengths
    pilot: tuple[int, int] = (3, 10)
    pilots: int = 1
    study: tuple[int, int] = (6, 20)
    between: float = 0.0
    """How far scenarios lie from each other, as a standard deviation of the logarithm; ``drift`` the same for runs, the
    pilot and the study alike.
    """
    drift: float = 0.0
    cap: int | None = None
    """``max_tokens`` of the pilot."""
    level: float = 0.0
    """How far the answers of one trial lie from those of another, in the pilot and in the study alike."""
    unlike: float | None = None
    """The study asks another template, whose answers lie so far from those of the pilot."""
    failing: float = 0.0
    """The share of requests that fail and are billed, and then are not asked again."""

    def asked(
        self,
        generator: np.random.Generator,
        shape: tuple[int, int],
        run: str,
        shift: float = 0.0,
        cap: int | None = None,
    ) -> list[Observation]:
        """The answers to so many scenarios and samples."""
        seen = []
        drift = generator.normal(0, self.drift) if self.drift else 0.0
        for number in range(shape[0]):
            of_scenario = generator.normal(0, self.between) if self.between else 0.0
            for tokens in self.lengths(generator, shape[1]) * np.exp(shift + drift + of_scenario):
                fails = generator.random() < self.failing
                output = max(1, round(tokens * (0.3 if fails else 1.0)))
                chars = 400
                seen.append(
                    Observation(
                        provider=MODEL.provider,
                        model=MODEL.reference,
                        template="t",
                        input_chars=chars,
                        usage=Usage(
                            input_tokens=round(chars / CHARS_PER_TOKEN), output_tokens=min(output, cap or output)
                        ),
                        is_cut=cap is not None and output > cap,
                        scenario=f"{run}-{number}",
                        run=run,
                    )
                )
        return seen


def lognormal(generator: np.random.Generator, count: int) -> np.ndarray:
    """Answers of 400 tokens on average."""
    return 250 * generator.lognormal(0, 1.0, count)


def bimodal(generator: np.random.Generator, count: int) -> np.ndarray:
    """Three in ten answers reason at length."""
    long = generator.random(count) < 0.3
    return np.where(long, 3000 * generator.lognormal(0, 0.5, count), 200 * generator.lognormal(0, 0.5, count))


def pareto(generator: np.random.Generator, count: int) -> np.ndarray:
    """A tail with an infinite variance, up to the longest answer that a model can give."""
    return np.minimum(100 * (1 + generator.pareto(1.3, count)), 32_000)


WORLDS = {
    "lognormal": World(lengths=lognormal),
    "bimodal reasoning": World(lengths=bimodal),
    "Pareto 1.3": World(lengths=pareto),
    "clustered": World(lengths=lambda g, n: 250 * g.lognormal(0, 0.5, n), between=0.6),
    "run drift": World(lengths=lognormal, drift=0.3),
    "run drift, 5 pilots": World(lengths=lognormal, drift=0.3, pilots=5),
    "capped pilot": World(lengths=lognormal, cap=50, level=0.7),
    "billed failures": World(lengths=lognormal, failing=0.3),
    "other template": World(lengths=lognormal, unlike=0.5),
    "short history": World(lengths=lognormal, pilot=(10, 1), study=(20, 5)),
}


def covered(world: World, runs: int, seed: int) -> tuple[float, float, str]:
    """The share of runs whose cost is inside the 80% interval, the mean of actual / estimate, and the basis."""
    generator = np.random.default_rng(seed)
    inside, ratios, basis = 0, [], ""
    for number in range(runs):
        level = generator.normal(0, world.level) if world.level else 0.0
        runs_before = (f"pilot {number}.{each}" for each in range(world.pilots))
        history = History(
            seen for run in runs_before for seen in world.asked(generator, world.pilot, run, shift=level, cap=world.cap)
        )
        shift = level + (generator.normal(0, world.unlike) if world.unlike else 0.0)
        study = world.asked(generator, world.study, f"study {number}", shift=shift)
        template = "t" if world.unlike is None else "another"
        workload = Workload.of([Scenario("x" * 400)] * world.study[0], samples=world.study[1], template=template)
        estimate = estimate_model(MODEL, workload, history, at=NOON, seed=number)
        actual = spent(study)
        assert estimate.cost is not None
        assert estimate.low is not None
        assert estimate.high is not None
        inside += estimate.low <= actual <= estimate.high
        ratios.append(float(actual / estimate.cost))
        basis = estimate.basis
    return inside / runs, float(np.mean(ratios)), basis

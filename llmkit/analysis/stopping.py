"""Stop a run as soon as its intervals are narrow enough, corrected for continuous looks at the data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from statistics import fmean, variance
from typing import Any

from llmkit.analysis import intervals
from llmkit.errors import ValidationError
from llmkit.records.checks.shapes import is_number

FEWEST = 10
"""The fewest clusters per configuration before a decision."""
_TUNED_TO = 30
"""The number of clusters at which the confidence sequence is tightest."""


@dataclass(frozen=True, slots=True)
class HalfWidth:
    """Stop when the mean of ``value`` is known to ± ``width`` for every configuration. Made by :func:`half_width`."""

    value: str
    width: float
    within: str = "scenario_id"

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns that it uses, by argument."""
        return {"value": self.value, "within": self.within}

    def is_deaf(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Whether none of these answers has a numeric value."""
        return all(intervals.number(row.get(self.value)) is None for row in rows)

    def reached(self, rows: Iterable[Mapping[str, Any]], configs: Iterable[str]) -> bool:
        """Whether the answers (rows of ``run.probes``) suffice for each of these configurations."""
        clusters: dict[str, dict[str, list[float]]] = {config: defaultdict(list) for config in configs}
        for row in rows:
            if (number := intervals.number(row.get(self.value))) is not None:
                clusters[row["config"]][str(row.get(self.within))].append(number)
        return all(_half_width(list(by_cluster.values())) <= self.width for by_cluster in clusters.values())

    def __str__(self) -> str:
        return f"{self.value} is known to ± {self.width:g} for every configuration"


def half_width(value: str, width: float, within: str = "scenario_id") -> HalfWidth:
    """A rule for ``kit.run(..., stop_when=...)``: stop when the 95% interval of the mean of ``value`` (a numeric
    column, such as ``"answer.score"``) is at most ± ``width`` for every configuration.

    Intervals come from an asymptotic confidence sequence over the means of ``within`` (Waudby-Smith et al., *Annals of
    Statistics* 52, 2024): they hold however often one looks, so that ``run.compare`` still covers afterwards (less
    often where scores are very skewed, as t does without stopping). Remaining probes are cancelled; ``kit.resume`` runs
    them after all.

    Raises:
        ValidationError: no column, or a width that is not above 0; from ``kit.run``, when no answer can have such a
            column.
    """
    for name, field in ((value, "value"), (within, "within")):
        if not isinstance(name, str) or not name.strip():
            raise ValidationError(f"{field} is the name of a column, such as 'answer.score'.", field=field)
    if not is_number(width) or width <= 0:
        raise ValidationError(f"width is a number above 0, not {width!r}.", field="width")
    return HalfWidth(value, float(width), within)


def _half_width(clusters: Sequence[Sequence[float]]) -> float:
    """Half the width of the confidence sequence, infinite for few clusters. The variance is at least as if two more
    clusters had answered at either end of what was seen, or equal answers at zero too (zeros at one): ten equal answers
    do not prove that all are equal."""
    n = len(clusters)
    if n < FEWEST:
        return float("inf")
    answers, size = [number for each in clusters for number in each], max(map(len, clusters))
    low, high = min(answers), max(answers)
    answers += [low, high if low < high else float(not low)] * (2 * size)
    center = fmean(answers)
    spread = max(variance(map(fmean, clusters)), fmean((number - center) ** 2 for number in answers) / size)
    tuning = 1 / _TUNED_TO
    return sqrt(spread * 2 * (n * tuning + 1) / (n**2 * tuning) * log(sqrt(n * tuning + 1) / intervals.ALPHA))

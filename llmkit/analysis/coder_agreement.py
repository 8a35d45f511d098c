"""Agreement of coders: Krippendorff's alpha and Cohen's kappa, computed by krippendorff and statsmodels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import nan
from typing import Any, Literal

import numpy as np
import pandas as pd

from llmkit.analysis.intervals import LARGEST
from llmkit.errors import ValidationError
from llmkit.records.checks import shapes
from llmkit.records.checks.texts import counted
from llmkit.records.later import Later

krippendorff = Later("krippendorff")  # slow to load, as are the others of statsmodels
inter_rater = Later("statsmodels.stats.inter_rater")

Level = Literal["nominal", "ordinal", "interval", "ratio"]

_CODED = ("probe_id", "infra_model", "category")
"""The columns of a table in long form: one row per item and coder."""
_RESAMPLES = 1000
_SEED = 20_260_101
"""Fixed, so that the same codes give the same interval."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of coders beyond chance: 1 is perfect, 0 is chance level."""

    alpha: float
    """Krippendorff's; NaN when all codes are identical, which says nothing about agreement."""
    low: float
    high: float
    """The 95% interval of alpha: percentiles of a bootstrap over items."""
    kappa: float | None
    """Cohen's, unweighted, for two coders; ``None`` for more."""
    table: pd.DataFrame
    """The items that coders disagree on: one row per item, one column per coder."""

    def __repr__(self) -> str:
        kappa = "" if self.kappa is None else f", Cohen's kappa {self.kappa:.3f}"
        disputed = counted(len(self.table), "disputed item")
        alpha = f"Krippendorff's alpha {self.alpha:.3f} (95%: {self.low:.3f} to {self.high:.3f})"
        return f"<Agreement: {alpha}{kappa}; {disputed}>"


def agreement(codes: Mapping[str, Sequence[Any]] | pd.DataFrame, level: Level = "nominal") -> Agreement:
    """Measure how far coders agree; an item that one coder skipped (``None``, NaN) still counts for the others.

    Args:
        codes: the table of ``kit.code(run, codebook, coders=[...])``; the codes of each coder, as ``{coder: codes}``
            with items in the same order (or Series indexed by item); or a table with one row per item and one column
            per coder.
        level: ``nominal``, ``ordinal``, ``interval`` or ``ratio``. Ordinal codes are numbers or ordered categoricals.

    Raises:
        ValidationError: fewer than two coders, codes of different lengths, no item coded twice, or codes that do not
            fit the level.
    """
    shapes.one_of(level, Level, "level")
    table = _table(codes)
    domain = _domain(table, level)
    counts = np.array([(table == value).sum(axis=1) for value in domain]).reshape(len(domain), len(table)).T
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        raise ValidationError("No item has codes of two coders: there is nothing to compare.", field="codes")
    values = range(len(domain)) if level in ("nominal", "ordinal") else list(map(float, domain))

    def alpha(counts: np.ndarray[Any, Any]) -> float:
        if (counts.sum(axis=0) > 0).sum() < 2:
            return nan
        return float(krippendorff.alpha(value_counts=counts, value_domain=list(values), level_of_measurement=level))

    generator = np.random.default_rng(_SEED)
    resampled = [alpha(counts[generator.integers(len(counts), size=len(counts))]) for _ in range(_RESAMPLES)]
    usable = [each for each in resampled if not np.isnan(each)]
    low, high = np.quantile(usable, (0.025, 0.975)) if usable and len(counts) > 1 else (nan, nan)
    differ = table.nunique(axis=1) > 1
    return Agreement(alpha(counts), float(low), float(high), _kappa(table, domain), table[differ])


def _kappa(table: pd.DataFrame, domain: Sequence[Any]) -> float | None:
    if table.shape[1] != 2:
        return None
    both = table.dropna()
    places = {value: place for place, value in enumerate(domain)}
    counts = np.zeros((len(domain), len(domain)))
    for first, second in both.itertuples(index=False):
        counts[places[first], places[second]] += 1
    expected = float(counts.sum(axis=0) @ counts.sum(axis=1))
    return float(inter_rater.cohens_kappa(counts, return_results=False)) if expected < counts.sum() ** 2 else nan


def _table(codes: Any) -> pd.DataFrame:
    try:
        if isinstance(codes, Mapping):
            codes = pd.DataFrame(dict(codes))
        if isinstance(codes, pd.DataFrame) and {*_CODED} <= {*codes.columns}:
            codes = codes.pivot(index=_CODED[0], columns=_CODED[1], values=_CODED[2])
    except (ValueError, TypeError):
        raise ValidationError(
            "Every coder needs a code for each item and no second one, in the same order; None where there is none.",
            field="codes",
        ) from None
    if not isinstance(codes, pd.DataFrame) or codes.shape[1] < 2:
        raise ValidationError(
            "Agreement needs two coders: {'Ann': ['a', 'b'], 'Ben': ['a', 'c']}, or a table with a column for each.",
            field="codes",
        )
    return codes


def _domain(table: pd.DataFrame, level: str) -> list[Any]:
    """The codes that occur, in order."""
    kinds = [table.iloc[:, place].dtype for place in range(table.shape[1])]
    ordered = [list(kind.categories) for kind in kinds if isinstance(kind, pd.CategoricalDtype) and kind.ordered]
    stacked = pd.concat([table.iloc[:, place].astype(object) for place in range(table.shape[1])]).dropna()
    if not stacked.map(pd.api.types.is_hashable).all():
        raise ValidationError("A code is a word or a number, not a list of them.", field="codes")
    values = list(dict.fromkeys(stacked))
    if ordered and level == "ordinal":
        if len(ordered) < len(kinds) or any(each != ordered[0] for each in ordered):
            raise ValidationError("All coders need the same categories in the same order.", field="codes")
        return [value for value in ordered[0] if value in values]
    if level != "nominal":
        numbers: list[Any] = [value for value in values if isinstance(value, int | float | np.number | Decimal)]
        if len(numbers) < len(values) or not all(abs(number) < LARGEST for number in numbers):
            raise ValidationError(f"Codes of level {level!r} are numbers, or ordered categoricals.", field="codes")
        values.sort()
        if level == "ratio" and values and values[0] < 0:
            raise ValidationError("Codes of level 'ratio' are not below 0.", field="codes")
    return values

"""Correct the shares of a model's codes by hand codes of a random part of the answers.

Prediction-powered inference: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, *Science* 382 (2023); with the weight λ
that minimises the interval, Angelopoulos, Duchi and Zrnic, arXiv:2311.01453 (2023). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from llmkit.analysis.intervals import ALPHA, stats, wilson
from llmkit.errors import ValidationError

_LEAST = 0.01
"""The lower bound on p(1 − p) of a share, near 0 and 1."""

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Corrected:
    """A corrected mean with its variance. The part ``by_hand`` shrinks with more labels, ``by_model`` with more answers
    coded by the model alone; with clusters there is also a covariance."""

    estimate: float
    variance: float
    by_hand: float
    by_model: float
    weight: float
    """λ: 0 ignores the model's codes, 1 uses them fully."""
    quantile: float

    @property
    def half_width(self) -> float:
        """Half the width of the 95% interval of a share."""
        low, high = self.share_interval()
        return (high - low) / 2

    def share_interval(self) -> tuple[float, float]:
        """The 95% interval of a share: Wilson's, for the effective number of answers. The normal interval is too low
        where the estimate is low."""
        share = min(1.0, max(0.0, self.estimate))
        spread = max(share * (1 - share), _LEAST)
        return wilson(share, spread / self.variance, self.quantile) if self.variance > 0 else (share, share)


def corrected_mean(
    hand: Values, model: Values, rest: Values, clusters: tuple[Values, Values] | None = None
) -> Corrected:
    """Estimate the mean of hand codes over all answers from the labelled ones (``hand``), the model's codes of these
    (``model``) and those of the ``rest``. ``clusters`` (of the labelled, of the rest) make the errors cluster-robust.

    Without clusters it equals ``ppi_mean_ci`` of ppi_py; with them the quantile is of t with Satterthwaite's degrees of
    freedom. Where model and people never differ, the variance is as if they had in two of four additional answers;
    where people gave one code only, it makes Wilson's interval that of as many answers (or clusters).
    """
    n, others = len(hand), len(rest)
    weight = _weight(hand, model, rest)
    residual = hand - weight * model
    estimate = float(residual.mean() + (weight * rest.mean() if others else 0.0))
    by_hand, by_model = (residual - residual.mean()) / n, weight * (rest - rest.mean()) / others if others else rest
    joint, scales, freedom = np.concatenate([by_hand, by_model]), (1.0, 1.0), np.inf
    if clusters is not None:
        sizes = [max(3, len(np.unique(ids))) for ids in (clusters[0], np.concatenate(clusters))]
        scales = sizes[0] / (sizes[0] - 2), sizes[1] / (sizes[1] - 1)  # two estimated parameters: a mean and λ
        by_hand, by_model = (_summed(values, ids) for values, ids in zip((by_hand, by_model), clusters, strict=True))
        joint = _summed(joint, np.concatenate(clusters))
    squares = [float((values**2).sum()) for values in (by_hand, by_model, joint)]
    first, second = squares[0] * scales[0], squares[1] * scales[1]
    both = first + second + squares[2] - squares[0] - squares[1]
    if clusters is not None and first + second:
        freedom = (first + second) ** 2 / (first**2 / (sizes[0] - 2) + second**2 / (sizes[1] - 1))
    if not np.ptp(hand) and hand[0] in (0.0, 1.0):
        count = n if clusters is None else len(np.unique(clusters[0]))
        first = both = _LEAST / count
        freedom = np.inf if clusters is None else max(1, count - 1)
    elif not np.ptp(hand - model) and set(np.unique(hand)) <= {0.0, 1.0}:
        least = 2 / (n + 4) * (1 - 2 / (n + 4)) / n
        first, both = max(first, least), max(both, least + second)
    return Corrected(estimate, both, first, second, weight, float(stats.t.isf(ALPHA / 2, freedom)))


def corrected_shares(table: pd.DataFrame, by: str | None, within: str | None) -> pd.DataFrame:
    """One row per category (and level of ``by``); see :meth:`llmkit.Run.corrected_shares`. ``table`` has one row per
    answer coded by the model: category, hand (missing where nobody coded it), and the columns ``by`` and ``within``."""
    if by in ("category", "hand"):
        raise ValidationError(f"by={by!r} would be the codes themselves: choose another column.", field="by")
    rows = []
    levels = [(None, table)] if by is None else table.groupby(by, sort=False, observed=True)
    for level, own in levels:
        labelled, rest = own[own["hand"].notna()], own[own["hand"].isna()]
        if len(labelled) < 2:
            raise ValidationError(
                f"Two answers coded by hand and by the model are needed{'' if by is None else f' for {level!r}'}, not "
                f"{len(labelled)}: kit.coding_form(run, codebook) codes more.",
                field="codes",
            )
        for category in _categories(own):
            corrected = _corrected(labelled, rest, category, within)
            low, high = corrected.share_interval()
            hand, model = labelled["hand"] == category, own["category"] == category
            row = {
                "category": category,
                "share": min(1.0, max(0.0, corrected.estimate)),
                "low": low,
                "high": high,
                "share_model": float(model.mean()),
                "share_hand": float(hand.mean()),
                "n_hand": len(labelled),
                "n": len(own),
                "weight": corrected.weight,
            }
            named = {f"corrected_{name}" if name == by else name: value for name, value in row.items()}
            rows.append(({} if by is None else {by: level}) | named)
    return pd.DataFrame(rows)


def next_purchase(table: pd.DataFrame, labels: int, answers: float, within: str | None) -> pd.DataFrame:
    """Half-widths now, with ``labels`` more labels, and with ``answers`` more answers; one row per category."""
    labelled, rest = table[table["hand"].notna()], table[table["hand"].isna()]
    if len(labelled) < 2 or rest.empty:
        raise ValidationError(
            "At least two answers must be coded by hand, and others only by the model.", field="codes"
        )
    rows = []
    for category in _categories(table):
        now = _corrected(labelled, rest, category, within)
        moved = min(labels, len(rest))
        gains = {
            "labels": now.by_hand * moved / (len(labelled) + moved),
            "answers": now.by_model * answers / (len(rest) + answers),
        }
        widths = {name: replace(now, variance=now.variance - gain).half_width for name, gain in gains.items()}
        rows.append(
            {
                "category": category,
                "half_width": now.half_width,
                **{f"with_{name}": width for name, width in widths.items()},
                "better": min(widths, key=lambda name: widths[name]),
            }
        )
    return pd.DataFrame(rows)


def joined(codes: pd.DataFrame, hand: pd.DataFrame, probes: pd.DataFrame) -> pd.DataFrame:
    """Join the codes of one model with the hand codes and the columns of the probes; where several people coded an
    answer, the most frequent code counts, in a tie the first in order."""
    for table, name in ((codes, "codes"), (hand, "by_hand")):
        if not isinstance(table, pd.DataFrame) or not {"probe_id", "category"} <= {*table.columns}:
            raise ValidationError(f"{name} is a table with the columns probe_id and category.", field=name)
    usable = codes[codes["category"].notna()]
    if usable["probe_id"].duplicated().any():
        raise ValidationError(
            "codes holds several codes of an answer: take one coder's, such as "
            "codes[codes['infra_model'] == 'openai:gpt-6-luna'].",
            field="codes",
        )
    by_hand = hand[hand["category"].notna()].groupby("probe_id")["category"].agg(lambda codes: codes.mode().iloc[0])
    table = usable[["probe_id", "category"]].merge(probes.drop(columns="category", errors="ignore"), on="probe_id")
    table["hand"] = table["probe_id"].map(by_hand)
    if table["hand"].isna().all():
        raise ValidationError(
            "No answer is coded by hand and by the model: kit.coding_form(run, codebook) codes some.", field="by_hand"
        )
    return table


def _corrected(labelled: pd.DataFrame, rest: pd.DataFrame, category: Any, within: str | None) -> Corrected:
    def is_category(column: pd.Series[Any]) -> Values:
        return np.asarray(column == category, dtype=float)

    clusters = None
    if within is not None:
        ids = pd.factorize(pd.concat([labelled[within], rest[within]]).astype(str))[0].astype(float)
        clusters = ids[: len(labelled)], ids[len(labelled) :]
    codes = is_category(labelled["hand"]), is_category(labelled["category"]), is_category(rest["category"])
    return corrected_mean(*codes, clusters)


def _weight(hand: Values, model: Values, rest: Values) -> float:
    """λ as ppi_py estimates it, from 0 to 1."""
    n, others = len(hand), len(rest)
    spread = float(np.var(np.concatenate([model, rest]), ddof=1))
    if not others or not spread:
        return 0.0
    covariance = float(((hand - hand.mean()) * (model - model.mean())).mean())
    return min(1.0, max(0.0, covariance / ((1 + n / others) * spread)))


def _summed(values: Values, ids: Values) -> Values:
    return np.bincount(ids.astype(int), weights=values).astype(float)


def _categories(table: pd.DataFrame) -> list[Any]:
    """All codes in use, the model's most frequent first."""
    return list(dict.fromkeys([*table["category"].value_counts().index, *table["hand"].dropna()]))

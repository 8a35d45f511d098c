"""Means, shares and differences with 95% intervals, optionally clustered. Pure; computed by scipy and statsmodels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import exp, lgamma, nan
from typing import Any

import numpy as np
import pandas as pd

from llmkit.records.later import Later

# slow to load
stats = Later("scipy.stats")
multitest = Later("statsmodels.stats.multitest")
proportion = Later("statsmodels.stats.proportion")
regression = Later("statsmodels.regression.linear_model")
weightstats = Later("statsmodels.stats.weightstats")

ALPHA = 0.05
_EQUAL = 1e-12
"""Values whose relative difference is smaller differ by rounding only."""
_CONSTANT = "answers do not vary"
"""The method where an interval has no width, which is no certainty."""
LARGEST = 1e150
"""The bound on values: squares of larger ones overflow."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval; NaN where there is too little data, as ``method`` then says."""

    estimate: float
    low: float
    high: float
    p: float
    n: int
    """The number of clusters, or of answers without clusters, behind the interval."""
    method: str


def number(value: Any) -> float | None:
    """A value as a number to compute with, if it is one; text will do, as costs are in the journal. Times are none."""
    try:
        number = nan if isinstance(value, date | timedelta | np.datetime64 | np.timedelta64) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < LARGEST else None


def mean(values: pd.Series[float], clusters: pd.Series[Any] | None, *, share: bool) -> Interval:
    """The mean of answers, or the share of 1 when they are 0 and 1, with its interval.

    Means: t with clustered standard errors (CR1 of statsmodels) and G − 1 degrees of freedom. Shares: Wilson's score
    interval; with clusters, for the effective number of answers p(1 − p) / SE² and the quantile of t (Franco et al.,
    *Journal of Survey Statistics and Methodology* 7, 2019), which is that of clusters where all answers are equal.
    With fewer than ten clusters and shares near 0 or 1 it is conservative.
    """
    count = len(values) if clusters is None else clusters.nunique()
    if count == 0:
        return Interval(nan, nan, nan, nan, 0, "no answers")
    estimate = float(values.mean())
    if share and clusters is None:
        return Interval(estimate, *wilson(estimate, count), nan, count, "Wilson")
    if count == 1:
        return Interval(estimate, nan, nan, nan, 1, f"one {'answer' if clusters is None else 'cluster'}: no interval")
    if not share and _is_constant(values, _size(values, values)):
        constant = float(values.iloc[0])
        return Interval(constant, constant, constant, nan, count, _CONSTANT)
    model = regression.OLS(values.to_numpy(), np.ones(len(values)))
    if clusters is None:
        fit, method = model.fit(), "t"
    else:
        groups = {"groups": pd.factorize(clusters)[0]}
        fit, method = model.fit(cov_type="cluster", cov_kwds=groups, use_t=True), "t, clustered"
    if share:
        limits = _clustered_wilson(estimate, fit.bse[0], len(values), count)
        return Interval(estimate, *limits, nan, count, "Wilson, clustered")
    low, high = fit.conf_int(ALPHA)[0]
    return Interval(estimate, float(low), float(high), nan, count, method)


def adjusted_mean(own: pd.Series[float], complete: pd.Series[float], *, share: bool) -> Interval:
    """The mean over all clusters of a level that has no answer in some: what the levels without gaps (``complete``,
    their mean by cluster) have there, plus the mean difference to them where both have answers.

    Unlike the mean of what is left it is not misled when hard clusters fail, as long as the difference does not hang on
    which do (two-way additive effects, as in estimated marginal means). t with the clusters answered minus one degrees
    of freedom; ``share`` bounds it to 0 and 1.
    """
    differences = (own - complete).dropna()
    answered = len(differences)
    estimate = float(complete.mean() + differences.mean())
    if answered < 2:
        return Interval(estimate, nan, nan, nan, answered, "one cluster: no interval")
    influence = (complete - complete.mean()) / len(complete)
    influence = influence.add((differences - differences.mean()) / answered, fill_value=0)
    error = float((influence**2).sum() * answered / (answered - 1)) ** 0.5
    low, high = stats.t.interval(1 - ALPHA, answered - 1, estimate, error) if error else (estimate, estimate)
    if share:
        estimate, low, high = (float(np.clip(value, 0, 1)) for value in (estimate, low, high))
    return Interval(estimate, float(low), float(high), nan, answered, "t, clustered, adjusted")


def difference(
    a: pd.Series[float],
    b: pd.Series[float],
    clusters: tuple[pd.Series[Any], pd.Series[Any]] | None,
    *,
    share: bool,
) -> Interval:
    """The mean of ``a`` minus that of ``b``, with its interval and the p value of no difference.

    If the sides share at least half of the smaller one's clusters (and two), these are paired: a t test of the
    differences of their means. Otherwise Welch's t test over cluster means, or over answers without clusters; shares
    without clusters by Agresti and Caffo. Where nothing varies, t would be infinite even for two clusters: p is that of
    the exact sign test or rank test.
    """
    if not len(a) or not len(b):
        return Interval(nan, nan, nan, nan, 0, "no answers")
    if clusters is None:
        result = _agresti_caffo(a, b) if share else _welch(a, b, "Welch")
    else:
        a, b = a.groupby(clusters[0]).mean(), b.groupby(clusters[1]).mean()
        paired = (a - b).dropna()
        if len(paired) < 2 or 2 * len(paired) < min(len(a), len(b)):
            result = _welch(a, b, "Welch, clustered")
        else:
            result = _paired(paired, a[paired.index], b[paired.index], share=share)
    return replace(result, low=max(result.low, -1.0), high=min(result.high, 1.0)) if share else result


def variance_components(values: pd.Series[float], clusters: pd.Series[Any]) -> tuple[float, float]:
    """The variance between and within clusters, by one-way analysis of variance for unequal sizes; NaN when no cluster
    has a second answer, or there is only one cluster."""
    groups = values.groupby(clusters)
    sizes, means = groups.size(), groups.mean()
    n, count = len(values), len(sizes)
    if count < 2 or n == count:
        return nan, nan
    if _is_constant(values, _size(values, values)):
        return 0.0, 0.0
    within = float(((values - groups.transform("mean")) ** 2).sum() / (n - count))
    size = (n - (sizes**2).sum() / n) / (count - 1)
    between = float((sizes * (means - values.mean()) ** 2).sum() / (count - 1))
    return max(0.0, (between - within) / size), within


def effect_size(a: pd.Series[float], b: pd.Series[float], *, share: bool) -> float:
    """Cohen's d with the pooled standard deviation, or his h for two shares; NaN when answers do not vary."""
    if share and len(a) and len(b):
        return float(proportion.proportion_effectsize(a.mean(), b.mean()))
    freedom = len(a) + len(b) - 2
    if min(len(a), len(b)) < 1 or freedom < 1:
        return nan
    pooled = ((((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / freedom) ** 0.5
    return float((a.mean() - b.mean()) / pooled) if pooled > _EQUAL * _size(a, b) else nan


def holm(p: pd.Series[float]) -> pd.Series[float]:
    """p values after Holm's correction; NaN stays NaN and is not counted."""
    corrected, known = p.copy(), p.notna()
    if known.any():
        corrected[known] = multitest.multipletests(p[known], method="holm")[1]
    return corrected


def wilson(share: float, count: float, quantile: float | None = None) -> tuple[float, float]:
    """Wilson's score interval of a share for this many answers; ``quantile`` is another one than the normal one."""
    alpha = ALPHA if quantile is None else 2 * stats.norm.sf(quantile)
    low, high = proportion.proportion_confint(share * count, count, alpha=alpha, method="wilson")
    return float(max(min(low, share), 0.0)), float(min(max(high, share), 1.0))  # rounding can leave the share outside


def _clustered_wilson(share: float, error: float, n: int, count: int) -> tuple[float, float]:
    if share in (0.0, 1.0):
        effective = float(count)
    else:
        effective = share * (1 - share) / error**2 if error > _EQUAL else float(n)
    return wilson(share, effective, stats.t.isf(ALPHA / 2, count - 1))


def _paired(differences: pd.Series[float], a: pd.Series[float], b: pd.Series[float], *, share: bool) -> Interval:
    size = _size(a, b)
    if _is_constant(differences, size):
        if share:
            return _agresti_caffo(a, b)
        estimate, n = float(differences.iloc[0]), len(differences)
        return _without_variation(estimate, n, size, stats.binomtest(0, n).pvalue)
    result = stats.ttest_1samp(differences, 0)
    low, high = result.confidence_interval(1 - ALPHA)
    estimate = float(differences.mean())
    return Interval(estimate, float(low), float(high), float(result.pvalue), len(differences), "t of paired clusters")


def _welch(a: pd.Series[float], b: pd.Series[float], method: str) -> Interval:
    estimate, n = float(a.mean() - b.mean()), len(a) + len(b)
    if min(len(a), len(b)) < 2:
        return Interval(estimate, nan, nan, nan, n, "one answer or cluster: no interval")
    size = _size(a, b)
    if _is_constant(a, size) and _is_constant(b, size):
        # the exact rank test of answers that are all larger; scipy's takes minutes for a thousand that are equal
        orders = lgamma(n + 1) - lgamma(len(a) + 1) - lgamma(len(b) + 1)
        return _without_variation(estimate, n, size, min(1.0, 2 * exp(-orders)))
    compared = weightstats.CompareMeans.from_data(a, b)  # unlike scipy's test, it does not warn of equal answers
    low, high = compared.tconfint_diff(ALPHA, usevar="unequal")
    return Interval(estimate, float(low), float(high), float(compared.ttest_ind(usevar="unequal")[1]), n, method)


def _agresti_caffo(a: pd.Series[float], b: pd.Series[float]) -> Interval:
    counts: dict[str, Any] = {"count1": a.sum(), "nobs1": len(a), "count2": b.sum(), "nobs2": len(b)}
    low, high = proportion.confint_proportions_2indep(**counts, method="agresti-caffo", alpha=ALPHA)
    with np.errstate(divide="ignore", invalid="ignore"):  # from an odds ratio that it computes along the way
        p = proportion.test_proportions_2indep(**counts, method="agresti-caffo").pvalue
    return Interval(float(a.mean() - b.mean()), float(low), float(high), float(p), len(a) + len(b), "Agresti–Caffo")


def _without_variation(estimate: float, n: int, size: float, ranked: float) -> Interval:
    """No difference, or one of constant size, whose ``ranked`` p value does not ask how far apart the answers are."""
    if abs(estimate) <= _EQUAL * size:
        estimate, ranked = 0.0, 1.0
    return Interval(estimate, estimate, estimate, float(ranked), n, f"{_CONSTANT}: exact rank test")


def _is_constant(values: pd.Series[float], size: float) -> bool:
    return bool(np.ptp(values) <= _EQUAL * size)


def _size(a: pd.Series[float], b: pd.Series[float]) -> float:
    return float(max(a.abs().max(), b.abs().max()))

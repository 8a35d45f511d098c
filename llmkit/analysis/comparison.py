"""Compare the levels of a run: means with clustered intervals, and the differences between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from math import nan
from typing import Any, Literal, Protocol

import pandas as pd

from llmkit.analysis import charts, intervals
from llmkit.analysis.charts import By, axes
from llmkit.errors import ValidationError
from llmkit.records.checks import shapes
from llmkit.records.checks.near_names import columns_named
from llmkit.records.checks.texts import first_of
from llmkit.records.user_warnings import warn

_BETWEEN_NAMES = " · "


class HasProbes(Protocol):
    """A run, as far as comparisons need it."""

    @property
    def name(self) -> str | None:
        """The run's name, if any."""

    @property
    def probes(self) -> pd.DataFrame:
        """One row per probe."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of levels: three tidy tables and a chart. All intervals are 95% intervals."""

    value: str
    levels: pd.DataFrame
    """One row per level: by, mean (of true and false: the share of true), low, high, n (answers that count),
    n_clusters, missing (probes without a value), method, and, if recorded, failed (those of the missing ones that are
    not ``ok``; the others were answered, such as questions that have no score) and cost (known US dollars). Where a
    level has no answer at all in clusters that other levels answered completely: adjusted_mean, adjusted_low and
    adjusted_high, for all clusters (see :func:`llmkit.analysis.intervals.adjusted_mean`); NaN for the other levels."""
    differences: pd.DataFrame
    """One row per pair of levels: a, b, difference (a minus b), low, high, p, p_holm (corrected for all pairs), effect
    (Cohen's d, for shares his h), n (answers of both levels), n_clusters (the paired ones, or those of both levels),
    method, and, if recorded, cost (of both)."""
    variance: pd.DataFrame
    """One row per level: by, between (variance between clusters), within (between answers of one cluster), icc (the
    intraclass correlation), n, method and, if recorded, cost; NaN without clusters of several answers."""

    def plot(self, ax: axes.Axes | None = None, *, of: Literal["levels", "differences"] = "levels") -> axes.Axes:
        """A forest plot of the levels' means or of the differences, with their intervals."""
        shapes.one_of(of, Literal["levels", "differences"], "of")
        if of == "levels":
            names = [f"{row['by']} (n = {row['n']:,})" for row in self.levels.to_dict("records")]
            return charts.plot_forest(self.levels.assign(name=names), "mean", ax, label=self.value)
        names = [f"{row['a']} − {row['b']}" for row in self.differences.to_dict("records")]
        label = f"Difference in {self.value}"
        return charts.plot_forest(self.differences.assign(name=names), "difference", ax, label=label, zero=True)

    def __repr__(self) -> str:
        tables = (self.levels, self.differences) if len(self.differences) else (self.levels,)
        return "\n\n".join(table.to_string(index=False, float_format="{:.4g}".format) for table in tables)

    def _repr_html_(self) -> str:
        return "".join(table.to_html(index=False) for table in (self.levels, self.differences) if len(table))


def compare(run_or_frame: HasProbes | pd.DataFrame, value: str, by: By, within: By | None = None) -> Comparison:
    """Compare the levels of ``by`` in a numeric column, with 95% intervals.

    Args:
        run_or_frame: a run, or a table such as ``run.probes`` or ``llmkit.concat([...])`` with columns of your own.
        value: a column of numbers, of true and false (compared as shares), or of ordered categories (ranks 1, 2, …).
        by: the column or columns whose levels are compared, such as ``"config"``.
        within: the clusters of correlated answers, such as ``"scenario_id"``: standard errors are clustered by them,
            and levels that share clusters are compared in pairs. ``None`` treats all answers as independent.

    Probes that are not ``ok`` and answers without a value are counted as ``missing``, the former as ``failed`` too.

    Raises:
        ValidationError: there is no such column, no answer, or a value that is not a number.
    """
    answered, levels, share = answers_by_level(run_or_frame, value, by, within)
    means = pd.DataFrame([_level(level, rows, answered[level], share) for level, rows in levels.items()])
    return Comparison(
        value=value,
        levels=means.assign(**_adjusted(answered, share)),
        differences=_differences(answered, levels, share),
        variance=pd.DataFrame([_variance(level, rows, answered[level]) for level, rows in levels.items()]),
    )


def answers_by_level(
    run_or_frame: HasProbes | pd.DataFrame, value: str, by: By, within: By | None = None
) -> tuple[dict[Any, pd.DataFrame], dict[Any, pd.DataFrame], bool]:
    """Return, by level, the answers that count and all rows, as tables with ``value`` and, if any, ``within``,
    ``failed`` and ``cost``; and whether all values are 0 or 1. Arguments and errors are those of :func:`compare`."""
    frame = _frame(run_or_frame)
    (column,) = _columns(frame, [value], "value")
    column, share = _numbers(column, value)
    data = pd.DataFrame({"by": _key(frame, by, "by"), "value": column})
    if "status" in frame:
        data["failed"] = frame["status"].astype(object) != "ok"
        data["value"] = column.mask(data["failed"])
    if within is not None:
        data["within"] = _key(frame, within, "within")
    if "estimated_cost" in frame:
        data["cost"] = pd.to_numeric(frame["estimated_cost"], errors="coerce")
    in_order = isinstance(data["by"].dtype, pd.CategoricalDtype)  # else by first appearance
    levels = dict(iter(data.groupby("by", sort=in_order, observed=True)))
    return {level: rows[rows["value"].notna()] for level, rows in levels.items()}, levels, share


def concat(runs: Iterable[HasProbes]) -> pd.DataFrame:
    """Combine the probes of several runs into one table with a column ``run_name``, to compare by it or by ``run_id``.

    ``within="scenario_id"`` treats scenarios with the same id as the same; where they differ between runs, use
    ``within=["run_id", "scenario_id"]``.

    Raises:
        ValidationError: no runs, or objects that are not runs.
    """
    listed: tuple[HasProbes, ...] = shapes.several(runs, "runs", "a list of runs, as in llmkit.concat([run, other])")
    if not listed or not all(hasattr(type(run), "probes") for run in listed):
        raise ValidationError("Give the runs to combine: llmkit.concat([run, other]).", field="runs")
    table = pd.concat([run.probes.assign(run_name=run.name) for run in listed], ignore_index=True)
    if twice := list(dict.fromkeys(table["run_id"][table.duplicated("probe_id")])):
        warn(f"Given twice, so that answers and costs count double: {first_of(twice)}.")
    return table


def _level(level: Any, rows: pd.DataFrame, answered: pd.DataFrame, share: bool) -> dict[str, Any]:
    clusters = answered.get("within")
    mean = intervals.mean(answered["value"], clusters, share=share)
    row = {
        "by": level,
        "mean": mean.estimate,
        "low": mean.low,
        "high": mean.high,
        "n": len(answered),
        "n_clusters": mean.n,
        "missing": len(rows) - len(answered),
        "method": mean.method,
    }
    if "failed" in rows:
        row["failed"] = int(rows["failed"].sum())
    return row | _cost(rows)


def _cost(*levels: pd.DataFrame) -> dict[str, float]:
    """The known cost of levels, if costs are recorded."""
    costs = [rows["cost"] for rows in levels if "cost" in rows]
    return {"cost": float(pd.concat(costs).sum(min_count=1))} if costs else {}


def _adjusted(answered: dict[Any, pd.DataFrame], share: bool) -> dict[str, list[float]]:
    """The columns of adjusted means, if there are levels with gaps and others without."""
    if any("within" not in rows for rows in answered.values()):
        return {}
    of_levels = enumerate(answered.values())
    means = pd.DataFrame({n: rows.groupby("within", observed=True)["value"].mean() for n, rows in of_levels})
    gaps = means.isna().any()
    if gaps.all() or not gaps.any():
        return {}
    complete = means.loc[:, ~gaps].mean(axis=1)
    adjusted = [
        intervals.adjusted_mean(means[n], complete, share=share) if has_gap else None for n, has_gap in gaps.items()
    ]
    columns = {"adjusted_mean": "estimate", "adjusted_low": "low", "adjusted_high": "high"}
    return {name: [getattr(mean, field, nan) for mean in adjusted] for name, field in columns.items()}


def _differences(answered: dict[Any, pd.DataFrame], levels: dict[Any, pd.DataFrame], share: bool) -> pd.DataFrame:
    rows = [
        _difference(a, b, answered[a], answered[b], share) | _cost(levels[a], levels[b])
        for a, b in combinations(answered, 2)
    ]
    names = ["a", "b", "difference", "low", "high", "p", "p_holm", "effect", "n", "n_clusters", "method"]
    names += _cost(*levels.values())
    table = pd.DataFrame(rows, columns=names)
    return table.assign(p_holm=intervals.holm(table["p"].astype(float)))


def _difference(a: Any, b: Any, of_a: pd.DataFrame, of_b: pd.DataFrame, share: bool) -> dict[str, Any]:
    clusters = (of_a["within"], of_b["within"]) if "within" in of_a else None
    result = intervals.difference(of_a["value"], of_b["value"], clusters, share=share)
    effect = intervals.effect_size(of_a["value"], of_b["value"], share=share)
    row = {**asdict(result), "n": len(of_a) + len(of_b), "n_clusters": result.n}
    return {"a": a, "b": b, "difference": result.estimate, "effect": effect, **row}


def _variance(level: Any, rows: pd.DataFrame, answered: pd.DataFrame) -> dict[str, Any]:
    between, within = nan, nan
    if "within" in answered:
        between, within = intervals.variance_components(answered["value"], answered["within"])
    total = between + within
    row = {"by": level, "between": between, "within": within, "icc": between / total if total > 0 else nan}
    return row | {"n": len(answered), "method": "analysis of variance"} | _cost(rows)


# --- arguments ------------------------------------------------------------------------------------------------------


def _frame(run_or_frame: Any) -> pd.DataFrame:
    frame = run_or_frame if isinstance(run_or_frame, pd.DataFrame) else getattr(run_or_frame, "probes", None)
    if not isinstance(frame, pd.DataFrame):
        raise ValidationError(
            "Compare a run, or a table such as run.probes; several runs as llmkit.concat([...]).", field="run_or_frame"
        )
    if frame.empty:
        raise ValidationError("There are no answers to compare: the table is empty.", field="run_or_frame")
    return frame.reset_index(drop=True)


def _columns(frame: pd.DataFrame, names: By | list[Any], field: str) -> list[pd.Series[Any]]:
    listed = columns_named(names, frame.columns, field)
    for name in listed:
        if (alike := list(frame.columns).count(name)) > 1:
            raise ValidationError(f"{alike} columns are called {name!r}: rename or drop the others.", field=field)
    return [frame[name] for name in listed]


def _key(frame: pd.DataFrame, names: By, field: str) -> pd.Series[Any]:
    """The level of each row: the column's own values, or the joined texts of several columns."""
    columns = _columns(frame, names, field)
    for column in columns:
        if missing := int(column.isna().sum()):
            raise ValidationError(
                f"{missing} row{'s have' if missing > 1 else ' has'} no value in the column {column.name!r}: "
                "leave them out, or fill in a word for it.",
                field=field,
            )
    if len(columns) == 1 and columns[0].map(pd.api.types.is_hashable).all():
        return columns[0]
    rows = zip(*(column.map(str) for column in columns), strict=True)
    return pd.Series([_BETWEEN_NAMES.join(row) for row in rows], index=frame.index)


def _numbers(column: pd.Series[Any], name: str) -> tuple[pd.Series[float], bool]:
    """The values as numbers, NaN where missing, and whether all of them are 0 or 1."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        if column.cat.ordered and not pd.api.types.is_numeric_dtype(column.cat.categories):
            codes = column.cat.codes.astype(float) + 1
            return codes.where(codes > 0), False
        column = column.astype(object)
    numbers = [
        nan if is_missing else _number(value, name) for value, is_missing in zip(column, column.isna(), strict=True)
    ]
    values = pd.Series(numbers, index=column.index, dtype=float)
    return values, bool(values.dropna().isin((0.0, 1.0)).all())


def _number(value: Any, name: str) -> float:
    if (number := intervals.number(value)) is None:
        raise ValidationError(
            f"{name!r} holds {str(value)[:80]!r}, which is not a usable number: compare numbers, such as "
            "'answer.score' of questions with yes or no and of scales, or true and false, such as "
            f"frame.assign(same=frame[{name!r}] == {str(value)[:80]!r}) with value='same'.",
            field="value",
        )
    return number

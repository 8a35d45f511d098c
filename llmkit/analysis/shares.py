"""How often answers fall into categories, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from llmkit.analysis import intervals
from llmkit.errors import ValidationError
from llmkit.records.checks.near_names import columns_named

OTHER = "all others"
_MOST_VALUES = 50
_LONGEST = 50
"""Characters of a category that is no option; longer ones are prose."""
_CODES = ("category", "code")


def share_table(answers: pd.DataFrame, of: str, by: Sequence[str], *, most: int) -> pd.DataFrame:
    """One row per group and value of ``of``: the columns of ``by``, value, count, n, share, low, high.

    Rows without a value do not count. Values come in the order of their scale or, without one, the most frequent first;
    beyond ``most`` the rarest are merged into :data:`OTHER`. Intervals come from :func:`intervals.mean`, clustered
    where a group has answers to several scenarios.
    """
    counted = answers[answers[of].notna()]
    values = counted[of].astype(object).map(str)  # categories would be counted that nobody chose
    ranked = list(values.value_counts().index)
    if len(ranked) > most:
        ranked = [*ranked[: most - 1], OTHER]
        values = values.where(values.isin(ranked), OTHER)
    if isinstance(counted[of].dtype, pd.CategoricalDtype) or pd.api.types.is_numeric_dtype(counted[of]):
        scale = [*map(str, counted[of].drop_duplicates().sort_values()), OTHER]
        ranked.sort(key=scale.index)
    rows = []
    for group, own in values.groupby([counted[name] for name in by], sort=False, dropna=False):
        scenarios = counted["scenario_id"][own.index] if "scenario_id" in counted else None
        clusters = None if scenarios is None or scenarios.nunique() < 2 else scenarios
        for value in ranked:
            has_it = (own == value).astype(float)
            share = intervals.mean(has_it, clusters, share=True)
            row = {"value": value, "count": int(has_it.sum()), "n": len(own), "share": share.estimate}
            rows.append(dict(zip(by, group, strict=True)) | row | {"low": share.low, "high": share.high})
    return pd.DataFrame(rows, columns=[*by, "value", "count", "n", "share", "low", "high"])


def categories(probes: pd.DataFrame, of: str | pd.DataFrame | None) -> tuple[pd.DataFrame, str]:
    """The probes and the column to count: a named one, the codes of ``kit.code``, or the first of answers to questions,
    fields of structured answers, and codes that has few values."""
    if isinstance(of, pd.DataFrame):
        column = next((name for name in _CODES if name in of), None)
        if column is None or "probe_id" not in of:
            raise ValidationError("Codes are a table with the columns probe_id and category.", field="of")
        codes = of[["probe_id", column]].rename(columns={column: "code"})
        return probes.drop(columns="code", errors="ignore").merge(codes, on="probe_id", how="left"), "code"
    if of is not None:
        return probes, columns_named([of], probes.columns, "of")[0]
    fields = [name for name in probes if str(name).startswith("answer.") or name in ("answer", *_CODES)]
    few = [name for name in fields if _are_few(probes[name].dropna())]
    if not few:
        raise ValidationError(
            "There are no categories to count: pass the table of kit.code(run, codebook) as of=, name a column, or "
            "use schema= to get answers that are one of several options.",
            field="of",
        )
    return probes, str(few[0])


def _are_few(values: pd.Series[Any]) -> bool:
    """Whether these are categories: options, or short values of which there are few."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return not values.empty
    texts = values.map(str)
    return 0 < texts.nunique() <= _MOST_VALUES and max(map(len, texts)) <= _LONGEST

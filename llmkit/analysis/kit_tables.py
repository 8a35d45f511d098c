"""Tables that a kit returns: its runs, on a page; its budgets; estimates and what came; modes beside each other."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd

from llmkit.errors import LlmkitError, ValidationError
from llmkit.runs import Standing

SHOWN = ("run_id", "name", "status", "started_at", "n_probes", "ok", "failed", "estimated_cost")
"""The columns of runs in HTML."""
_MONEY = ("amount", "spent", "reserved", "left", "share", "alert_at")
_BUDGETS = {"scope": "str", "provider": "str", **dict.fromkeys(_MONEY, "float64"), "is_alert": "bool"}
MODES: Mapping[str, Mapping[str, str]] = {"live": {}, "batch": {"mode": "batch"}, "flex": {"service_tier": "flex"}}
_OF_MODES = ["model", "config", "mode", "requests", "cost", "low", "high", "hours"]
_ESTIMATES = {
    "run_id": "str", "name": "str", "started_at": "datetime64[us, UTC]", "model": "str", "probes": "Int64",
    "ok": "Int64", **dict.fromkeys(("estimate", "low", "high", "actual", "ratio"), "float64"), "inside": "boolean",
    "basis": "str", "observations": "Int64",
}  # fmt: skip


class RunList(pd.DataFrame):
    """Runs, with all columns; the HTML form shows the most useful ones, with times to the minute."""

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return RunList

    def _repr_html_(self) -> Any:
        if not {*SHOWN} <= {*self.columns}:
            return pd.DataFrame(self)._repr_html_()  # type: ignore[operator]
        shown: Any = pd.DataFrame(self)[list(SHOWN)].rename(columns={"started_at": "started_at (UTC)"})
        shown["started_at (UTC)"] = shown["started_at (UTC)"].dt.strftime("%Y-%m-%d %H:%M")
        shown["name"] = shown["name"].fillna("")
        rest = ", ".join(str(name) for name in self.columns if name not in SHOWN)
        return f"{shown._repr_html_()}<div>Columns not shown: {html.escape(rest)}.</div>"


def budget_table(standings: Iterable[Standing]) -> pd.DataFrame:
    """One row per budget, in US dollars; see :meth:`llmkit.Kit.budgets`."""
    rows = [
        {
            "scope": budget.scope,
            "provider": budget.provider,
            "amount": budget.amount,
            "spent": account.spent,
            "reserved": account.reserved,
            "left": account.left,
            "share": account.spent / budget.amount if budget.amount else None,
            "alert_at": budget.alert_at,
            "is_alert": account.has_reached(budget.alert_at),
        }
        for budget, account in standings
    ]
    return pd.DataFrame(rows, columns=list(_BUDGETS)).astype(_BUDGETS)


def mode_table(
    estimate: Callable[..., pd.DataFrame], models: Sequence[Any] | None, options: Collection[str]
) -> pd.DataFrame:
    """One row per model and mode that it supports; ``estimate(models, **mode)`` gives the rows of one or several
    (``None``: the default ones) in a mode, with ``options``, which must not choose one."""
    for name in sorted({"mode", "service_tier"}.intersection(options)):
        raise ValidationError(
            f"plan_modes compares {', '.join(MODES)}: leave {name} out, or use kit.estimate(..., {name}=...) for one.",
            field=name,
        )
    together, frames = estimate(models), []
    for model in models or together["model"]:
        for mode, how in MODES.items():
            try:
                frames.append(estimate(model, **how).assign(mode=mode))
            except LlmkitError:
                if mode == "live":  # the mode is not what is wrong
                    raise
    return pd.concat(frames, ignore_index=True)[_OF_MODES]


def calibration(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """See :meth:`llmkit.Kit.calibration`; ``rows`` come from :func:`llmkit.store.past.estimates`."""
    return pd.DataFrame(map(_estimate, rows), columns=list(_ESTIMATES)).astype(_ESTIMATES)


def _estimate(row: Mapping[str, Any]) -> dict[str, Any]:
    entry, actual = row["estimate"]["models"].get(row["config"], {}), None if row["unpriced"] else row["actual"]
    told = map(entry.get, ("cost", "low", "high"))
    estimate, low, high = (None if text is None else Decimal(text) for text in told)
    inside = None if actual is None or low is None or high is None else low <= actual <= high
    return {
        **row,
        "estimate": estimate,
        "low": low,
        "high": high,
        "actual": actual,
        "ratio": actual / estimate if actual is not None and estimate else None,
        "inside": inside,
        "basis": entry.get("basis"),
        "observations": entry.get("observations"),
    }

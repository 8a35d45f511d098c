"""The list of runs as a DataFrame that fits on a page."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pandas as pd

SHOWN = ("run_id", "name", "status", "started_at", "n_probes", "ok", "failed", "estimated_cost")


class RunList(pd.DataFrame):
    """All columns are present; the HTML form shows the most useful ones, with times to the minute."""

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

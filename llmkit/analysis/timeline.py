"""A run over time: when requests waited, were in flight and were rate limited, by provider."""

from __future__ import annotations

from typing import Any

import pandas as pd

from llmkit.analysis.chart_labels import GREY, legend_above
from llmkit.analysis.charts import BLUE, ORANGE, axes, named_rows
from llmkit.errors import Code

_LANE = 0.8
_LINES = (
    ("waited", GREY, "waiting to be sent"),
    ("flew", BLUE, "in flight"),
)
_MARKS = (
    ("refused", ORANGE, "x", "rate limited (429)"),
    ("failed", "#CC79A7", "x", "other failures"),
    ("unanswered", BLUE, "o", "outcome unknown"),
)


def plot_timeline(attempts: pd.DataFrame, ax: axes.Axes | None = None) -> axes.Axes:
    """Requests over the seconds of a run, one lane per provider, stacked in the order of their start.

    ``attempts`` is as in :attr:`llmkit.Run.attempts`. The steeper a lane, the faster its requests were sent. A request
    with an unknown outcome, hence duration, is a hollow point at its start.
    """
    sent = attempts[attempts["started_at"].notna()].sort_values("started_at")
    providers = list(dict.fromkeys(sent["model"].str.split(":").str[0]))
    ax = named_rows(ax, providers[::-1], "Time since the first request (s)", room=3 * len(providers))
    if len(sent):
        _draw(ax, _placed(sent, providers))
        legend_above(ax)
    return ax


def _placed(sent: pd.DataFrame, providers: list[str]) -> pd.DataFrame:
    """The place of each request in seconds and lanes, and its outcome."""
    provider = sent["model"].str.split(":").str[0]
    order, count = sent.groupby(provider).cumcount(), provider.map(provider.value_counts())
    begun = (sent["started_at"] - sent["started_at"].min()).dt.total_seconds()
    refused = (sent["status_code"] == 429) | (sent["error_code"] == Code.RATE_LIMITED)
    latency = sent["latency_s"].astype("float64")
    return pd.DataFrame(
        {
            "begun": begun,
            "waited": begun - sent["waited_s"].astype("float64").fillna(0),
            "flew": begun + latency,
            "y": len(providers) - 1 - provider.map(providers.index) + _LANE * ((order + 0.5) / count - 0.5),
            "is_refused": refused.fillna(value=False),
            "is_failed": sent["error_code"].notna() & ~refused.fillna(value=False) & latency.notna(),
            "is_unanswered": latency.isna(),
        }
    )


def _draw(ax: axes.Axes, placed: pd.DataFrame) -> None:
    for column, colour, label in _LINES:
        ends = placed[placed[column].notna()]
        ax.hlines(ends["y"], ends[column], ends["begun"], colors=colour, linewidth=1, label=label)
    for name, colour, marker, label in _MARKS:
        marked = placed[placed[f"is_{name}"]]
        face: dict[str, Any] = {"markerfacecolor": "none"} if marker == "o" else {}
        if len(marked):
            at = marked["flew"].fillna(marked["begun"])
            ax.plot(at, marked["y"], marker, color=colour, markersize=4, linestyle="none", label=label, **face)

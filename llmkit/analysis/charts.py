"""Charts of a run, as a paper could print them: sorted bars, units on the axes, colours that everybody can tell apart.

matplotlib is loaded only when a chart is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from llmkit.money.pricing import dollars
from llmkit.records.checks.texts import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#595959"  # Okabe and Ito's palette
MOST = 30
"""Models in one chart; of more, the most expensive or the slowest are shown."""
_LONGEST = 40


def plot_costs(costs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What each model cost, the most expensive on top, with wasted costs (failures and retries) set apart.

    ``costs`` is as :meth:`llmkit.Run.costs` gives it by model. A model without a known price has no bar, and says so.
    """
    ranked = costs.sort_values("estimated_cost", ascending=False, na_position="last", kind="stable")
    shown = ranked.head(MOST).iloc[::-1]
    ax = _axes(ax, len(shown))
    total = shown["estimated_cost"].astype(float)
    wasted = shown["wasted_cost"].astype(float).fillna(0)
    places = range(len(shown))
    ax.barh(places, (total - wasted).fillna(0), height=0.65, color=BLUE, label="answers")
    if wasted.any():
        ax.barh(places, wasted, left=(total - wasted).fillna(0), height=0.65, color=ORANGE, label="wasted")
        ax.legend(frameon=False, fontsize="small", ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    for place, cost in zip(places, total, strict=True):
        ax.annotate(
            dollars(cost), (0 if pd.isna(cost) else cost, place), (4, 0), textcoords="offset points", va="center",
            fontsize="small", color=GREY, parse_math=False,
        )  # fmt: skip
    ax.margins(x=0.15)
    ax.xaxis.set_major_formatter(lambda cost, _: dollars(cost))
    _finish(ax, [str(name) for name in shown["model"]], "Cost (US dollars)", len(ranked))
    return ax


def plot_latency(probes: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How long each model took to answer, the slowest on top: median, quartiles, and the middle 90 % of answers.

    ``probes`` is as in :attr:`llmkit.Run.probes`; only probes that were answered count. Seconds on the wire, all turns.
    """
    answered = probes[(probes["status"] == "ok") & probes["latency_s"].notna()]
    seconds = {str(model): group.astype(float) for model, group in answered.groupby("model")["latency_s"]}
    ranked = sorted(seconds, key=lambda model: (float(seconds[model].median()), model))
    shown = ranked[-MOST:]
    ax = _axes(ax, len(shown))
    if shown:
        ax.boxplot(
            [seconds[model].to_numpy() for model in shown],
            positions=range(len(shown)),
            orientation="horizontal",
            whis=(5, 95),
            showfliers=False,
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": BLUE, "alpha": 0.35, "edgecolor": BLUE},
            whiskerprops={"color": BLUE},
            capprops={"color": BLUE},
            medianprops={"color": "black", "linewidth": 1.5},
        )
        ax.set_xlim(0, 1.05 * ax.get_xlim()[1])
    _finish(
        ax,
        [f"{short(model, _LONGEST)} (n = {len(seconds[model])})" for model in shown],
        "Time to answer (s)",
        len(ranked),
    )
    return ax


def _axes(ax: Axes | None, rows: int) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot  # slow to load

    return pyplot.subplots(figsize=(6.5, height(rows)), layout="constrained")[1]


def height(rows: int) -> float:
    """Inches that a chart of so many bars needs."""
    return 0.9 + 0.3 * max(2, min(rows, MOST))


def _finish(ax: Axes, names: Sequence[str], label: str, found: int) -> None:
    """Names beside the bars, taken literally; a name with dollar signs is no formula."""
    ax.set_yticks(range(len(names)), [short(name, _LONGEST) for name in names])
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
    ax.set_xlabel(label)
    ax.locator_params(axis="x", nbins=5)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    if not names:
        ax.text(0.5, 0.5, "nothing to show yet", transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set_xticks([])
    if found > MOST:
        ax.set_title(f"{MOST} of {found} models", fontsize="small", color=GREY, loc="right")

"""Charts of a run, ready for print: sorted, with units on the axes and colours safe for colour-blind readers.

Figures created here are transparent, with grey text that is legible on white and on black; axes passed in keep their
style. matplotlib is loaded only when a chart is drawn.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from llmkit.analysis.chart_labels import GREY, legend_above, legend_columns, shortened
from llmkit.analysis.shares import OTHER, share_table
from llmkit.money.amounts import billed_row, dollars
from llmkit.records.checks import shapes
from llmkit.records.checks.near_names import columns_named
from llmkit.records.later import Later

if TYPE_CHECKING:
    from matplotlib import axes as axes  # also for those who have charts of their own
else:  # slow to load
    axes = Later("matplotlib.axes")

BLUE, ORANGE = "#0072B2", "#E69F00"
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B0A000")  # Okabe and Ito's, the yellow darker
_MARKERS = "osD^v"
MOST = 30
"""The most bars in a chart: the most expensive, slowest or longest ones."""

By = str | Sequence[str]


def plot_costs(costs: pd.DataFrame, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
    """See :meth:`llmkit.Run.plot_costs`; ``costs`` comes from :meth:`llmkit.Run.costs` with the same ``by``."""
    ranked = costs.sort_values("estimated_cost", ascending=False, na_position="last", kind="stable")
    shown = ranked.head(MOST).iloc[::-1].reset_index(drop=True)
    names = map(_name, shown[columns_named(by, shown.columns, "by")].itertuples(index=False, name=None))
    ax = named_rows(ax, list(names), "Cost (US dollars)", of=len(ranked))
    known = shown[shown["estimated_cost"].notna()].astype({"estimated_cost": float})
    wasted = known["wasted_cost"].astype(float).fillna(0)
    answers = known["estimated_cost"] - wasted
    ax.barh(known.index, answers, height=0.65, color=BLUE, label="answers")
    if wasted.any():
        ax.barh(known.index, wasted, left=answers, height=0.65, color=ORANGE, label="wasted")
        legend_above(ax)
    for place, row in enumerate(shown.to_dict("records")):
        cost = row["estimated_cost"]
        ax.annotate(
            billed_row(row), (0 if pd.isna(cost) else cost, place), (4, 0),
            textcoords="offset points", va="center", fontsize="small", color=GREY, parse_math=False,
        )  # fmt: skip
    ax.margins(x=0.15)
    ax.xaxis.set_major_formatter(lambda cost, _: dollars(cost))
    if known.empty:
        ax.set_xticks([])
    return ax


def plot_latency(probes: pd.DataFrame, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
    """See :meth:`llmkit.Run.plot_latency`."""
    answered = _answered(probes)
    return _boxes(answered, answered["latency_s"], ax, by, "Time to answer (s)")


def plot_lengths(probes: pd.DataFrame, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
    """See :meth:`llmkit.Run.plot_lengths`."""
    answered = _answered(probes)
    visible = answered["output_tokens"] - answered["reasoning_tokens"].fillna(0)
    return _boxes(answered, visible, ax, by, "Length of an answer (tokens)")


def plot_cost_and_latency(probes: pd.DataFrame, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
    """See :meth:`llmkit.Run.plot_cost_and_latency`."""
    groups = [(name, group) for name, group in _groups(_answered(probes), by) if group["latency_s"].notna().any()]
    shown = groups[:MOST]
    columns = legend_columns([name for name, _ in shown], ())
    ax = axes_for(ax, 12 + len(shown) // columns // 2)
    drawn: list[Any] = []
    for number, (name, group) in enumerate(shown):
        costs = group["estimated_cost"].astype(float)
        priced = int(costs.notna().sum())
        known = priced > 0
        words = "" if priced == len(costs) else f" ({priced:,} of {len(costs):,} priced)" if known else " (unpriced)"
        at: dict[str, Any] = {} if known else {"transform": ax.get_xaxis_transform(), "clip_on": False}
        colour, marker = COLOURS[number % len(COLOURS)], _MARKERS[number // len(COLOURS)]
        drawn += ax.plot(
            [float(group["latency_s"].median())],
            [float(costs.mean()) if known else 0.0],
            marker,
            color=colour,
            markerfacecolor=colour if known else "none",
            label=name + words,
            **at,
        )
    _say_how_many(ax, len(groups))
    ax.update_datalim([(0, 0)])  # so that points of nearly one time or cost keep away from the edges
    ax.margins(x=0.1, y=0.2)
    ax.set(xlim=(0, None), ylim=(0, None), xlabel="Time to answer (s, median)", ylabel="Cost of an answer (US dollars)")
    ax.yaxis.set_major_formatter(lambda cost, _: dollars(cost))
    ax.spines[["top", "right"]].set_visible(False)
    if shown:
        legend_above(ax, columns, drawn)
    return ax


def plot_shares(probes: pd.DataFrame, of: str, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
    """See :meth:`llmkit.Run.plot_shares`; ``of`` is a column of ``probes``."""
    levels = {f"by {name}": probes[name] for name in columns_named(by, probes.columns, "by")}
    # under names that no other column of the table has
    table = share_table(_answered(probes.assign(**levels)), of, list(levels), most=len(COLOURS))
    groups = list(_groups(table, list(levels)))
    shown = groups[:MOST][::-1]
    values = list(table["value"].drop_duplicates())
    labels = [shortened(str(value)) for value in values]
    names = [f"{name} (n = {rows['n'].iloc[0]:,})" for name, rows in shown]
    columns = legend_columns(labels, names)
    room = max(len(shown), round(len(shown) * len(values) / 3)) + len(values) // columns // 2
    ax = named_rows(ax, names, "Share of answers (%)", of=len(groups), room=room)
    drawn: list[Any] = []
    for number, (value, label) in enumerate(zip(values, labels, strict=True)):
        percent = 100 * pd.concat(rows[rows["value"] == value] for _, rows in shown)[["share", "low", "high"]]
        offset = 0.7 * (0.5 - (number + 0.5) / len(values))
        bars = ax.errorbar(
            percent["share"],
            [place + offset for place in range(len(shown))],
            xerr=[percent["share"] - percent["low"], percent["high"] - percent["share"]],
            fmt="o",
            markersize=4,
            linewidth=1.2,
            color=GREY if value == OTHER else COLOURS[number],
            label=label,
        )
        drawn.append(bars)
    ax.set_xlim(-1, 101)
    if values:
        legend_above(ax, columns, drawn)
    return ax


def plot_forest(
    table: pd.DataFrame, of: str, ax: axes.Axes | None = None, *, label: str, zero: bool = False
) -> axes.Axes:
    """The estimates in the column ``of`` with their intervals (``low``, ``high``), one row each, the first on top.

    ``name`` holds the labels. An estimate without an interval is hollow; ``zero`` draws the line of no difference.
    """
    shown = table[table[of].notna()].head(MOST).iloc[::-1]
    names = [shortened(name) for name in shown["name"]]
    ax = named_rows(ax, names, f"{label}, with 95% intervals", of=len(table))
    ax.xaxis.label.set_parse_math(False)
    if zero:
        ax.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    for place, row in enumerate(shown.to_dict("records")):
        whole = pd.notna(row["low"])
        if whole:
            ax.plot([row["low"], row["high"]], [place, place], color=BLUE, linewidth=1.5)
        ax.plot([row[of]], [place], "s", color=BLUE, markersize=5, markerfacecolor=BLUE if whole else "none")
    return ax


def plot_power(curve: pd.DataFrame, ax: axes.Axes | None = None) -> axes.Axes:
    """Power against the number of scenarios, one line per number of samples."""
    ax = axes_for(ax, 10)
    for number, (samples, rows) in enumerate(curve.groupby("samples")):
        colour = COLOURS[number % len(COLOURS)]
        ax.plot(rows["scenarios"], rows["power"], color=colour, label=f"{samples} sample{'' if samples == 1 else 's'}")
    ax.set(xscale="log", ylim=(0, 1.02), xlabel="Scenarios", ylabel="Power")
    ax.spines[["top", "right"]].set_visible(False)
    legend_above(ax)
    return ax


def height(rows: int) -> float:
    """The height in inches of a chart with this many bars."""
    return 0.9 + 0.3 * max(2, min(rows, MOST))


def neutral(ax: axes.Axes) -> axes.Axes:
    """Make axes transparent, with grey text, to be legible on any background."""
    figure = ax.get_figure()
    if figure is not None:
        figure.set_facecolor("none")
    ax.set_facecolor("none")
    ax.tick_params(colors=GREY)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_color(GREY)
    for spine in ax.spines.values():
        spine.set_color(GREY)
    return ax


# --- parts ----------------------------------------------------------------------------------------------------------


def _boxes(answered: pd.DataFrame, numbers: pd.Series[Any], ax: axes.Axes | None, by: By, label: str) -> axes.Axes:
    groups = [(name, numbers[group.index].dropna().astype(float)) for name, group in _groups(answered, by)]
    ranked = sorted((each for each in groups if len(each[1])), key=lambda each: (float(each[1].median()), each[0]))
    shown = ranked[-MOST:]
    ax = named_rows(ax, [f"{name} (n = {len(values):,})" for name, values in shown], label, of=len(ranked))
    if shown:
        ax.boxplot(
            [values.to_numpy() for _, values in shown],
            positions=range(len(shown)),
            manage_ticks=False,
            orientation="horizontal",
            whis=(5, 95),
            showfliers=False,
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": BLUE, "alpha": 0.35, "edgecolor": BLUE},
            whiskerprops={"color": BLUE},
            capprops={"color": BLUE},
            medianprops={"color": ORANGE, "linewidth": 2},
        )
        ax.set_xlim(0, 1.05 * ax.get_xlim()[1])
    return ax


def _answered(probes: pd.DataFrame) -> pd.DataFrame:
    return probes[probes["status"] == "ok"]


def _groups(frame: pd.DataFrame, by: By) -> list[tuple[str, pd.DataFrame]]:
    """The groups of a table with their names, levels in order of first appearance."""
    texts = [frame[name].map(str) for name in columns_named(by, frame.columns, "by")]
    levels = [text.astype(pd.CategoricalDtype(list(text.unique()), ordered=True)) for text in texts]
    return [(_name(values), group) for values, group in frame.groupby(levels, observed=True)]


def _name(values: Iterable[object]) -> str:
    return shortened(" · ".join(map(str, values)))


def svg(plot: Callable[..., Any], rows: int) -> str:
    """A chart as SVG. The figure is not registered with pyplot, so that no cell shows it a second time."""
    from matplotlib import rc_context  # slow to load
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, height(rows)), layout="constrained")
    plot(ax=neutral(figure.add_subplot()))
    text = io.StringIO()
    # texts not as paths: a tenth of the size, and the browser has glyphs that matplotlib's font lacks
    with rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def axes_for(ax: axes.Axes | None, rows: int) -> axes.Axes:
    """Return ``ax``, or new transparent axes with room for this many bars."""
    from matplotlib import pyplot  # slow to load

    if given := shapes.instance(ax, axes.Axes, "ax", "matplotlib's plt.subplots()[1]"):
        return given
    return neutral(pyplot.subplots(figsize=(6.5, height(rows)), layout="constrained")[1])


def named_rows(
    ax: axes.Axes | None, names: Sequence[str], label: str, *, of: int = 0, room: int | None = None
) -> axes.Axes:
    """As :func:`axes_for`, with a name for each row, from the lowest, and a label below. ``of`` is how many rows there
    are in all, ``room`` how many bars need room. Names are literal text, so that a dollar sign starts no formula."""
    ax = axes_for(ax, len(names) if room is None else room)
    ax.set_yticks(range(len(names)), list(names))
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
    ax.set(ylim=(-0.6, max(len(names), 1) - 0.4), xlabel=label)
    ax.locator_params(axis="x", nbins=5)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    if not names:
        ax.text(0.5, 0.5, "nothing to show yet", transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set_xticks([])
    _say_how_many(ax, of)
    return ax


def _say_how_many(ax: axes.Axes, count: int) -> None:
    """Say so above a chart that does not show all of what it is about."""
    if count > MOST:
        ax.set_title(f"{MOST} of {count:,} shown", fontsize="small", color=GREY, loc="right")

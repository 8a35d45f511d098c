"""Legends and labels of charts."""

from __future__ import annotations

import itertools
import unicodedata
from bisect import bisect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.records.later import Later

if TYPE_CHECKING:
    from matplotlib import text
    from matplotlib.axes import Axes
else:  # slow to load
    text = Later("matplotlib.text")

GREY = "#767676"
_BESIDE, _ABOVE = 6, 4  # points from a point to its label
_MOVES = sorted(range(-300, 306, 6), key=abs)
_LONGEST = 48


def shortened(label: str) -> str:
    """The beginning of a label, which leaves room for the chart; Chinese, Japanese and Korean letters count twice."""
    ends = list(itertools.accumulate(2 if unicodedata.east_asian_width(letter) in "FW" else 1 for letter in label))
    if not ends or ends[-1] <= _LONGEST:
        return label
    return label[: bisect(ends, _LONGEST - 1)].rstrip() + "…"


def spread(ax: Axes, labels: Sequence[text.Annotation]) -> None:
    """Put the labels of points beside them, each where it covers no point and no other label, as near as there is room
    in the axes.
    """
    figure = ax.figure.get_figure(root=True)
    figure.draw_without_rendering()  # lays out the axes
    taken = [point.get_window_extent() for point in ax.lines]
    for label in labels:
        at_right = text.Text.get_window_extent(label)  # without the line to its point
        for up, is_left in itertools.product(_MOVES, (False, True)):
            across = -at_right.width - 2 * _BESIDE * figure.dpi / 72 if is_left else 0
            box = at_right.translated(across, up * figure.dpi / 72)
            fits = all(map(ax.bbox.contains, (box.x0, box.x1), (box.y0, box.y1)))
            if fits and not any(map(box.overlaps, taken)):
                label.set(position=(-_BESIDE if is_left else _BESIDE, _ABOVE + up))
                label.set_horizontalalignment("right" if is_left else "left")
                taken.append(box)
                break


def legend_above(ax: Axes, columns: int = 4) -> None:
    """Put the legend above the axes, clear of the data."""
    where: Mapping[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    legend = ax.legend(frameon=False, fontsize="small", ncols=columns, labelcolor=GREY, **where)
    for entry in legend.get_texts():
        entry.set_parse_math(False)


def legend_columns(labels: Sequence[str], names: Sequence[str]) -> int:
    """How many columns of a legend fit beside the names of rows, at most four; 90 characters fill our width."""
    return min(4, max(1, (90 - max(map(len, names), default=0)) // (max(map(len, labels), default=0) + 6)))

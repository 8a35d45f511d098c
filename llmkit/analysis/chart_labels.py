"""Legends and labels of charts."""

from __future__ import annotations

import itertools
import unicodedata
from bisect import bisect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to load
    from matplotlib.axes import Axes

GREY = "#767676"
_LONGEST = 48


def shortened(label: str) -> str:
    """The beginning of a label, which leaves room for the chart; Chinese, Japanese and Korean letters count twice."""
    ends = list(itertools.accumulate(2 if unicodedata.east_asian_width(letter) in "FW" else 1 for letter in label))
    if not ends or ends[-1] <= _LONGEST:
        return label
    return label[: bisect(ends, _LONGEST - 1)].rstrip() + "…"


def legend_above(ax: Axes, columns: int = 4, drawn: Sequence[Any] | None = None) -> None:
    """Put the legend above the axes, clear of the data. ``drawn`` is what it names, whatever the names: by itself
    matplotlib leaves out those that begin with an underscore.
    """
    where: Mapping[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "handles": drawn}
    legend = ax.legend(frameon=False, fontsize="small", ncols=columns, labelcolor=GREY, **where)
    for entry in legend.get_texts():
        entry.set_parse_math(False)


def legend_columns(labels: Sequence[str], names: Sequence[str]) -> int:
    """How many columns of a legend fit beside the names of rows, at most four; 90 characters fill our width."""
    return min(4, max(1, (90 - max(map(len, names), default=0)) // (max(map(len, labels), default=0) + 6)))

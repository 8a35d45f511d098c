"""The HTML of every panel: one escape, and a few builders that use it.

Panels show untrusted text (model names, answers), which must always pass through :func:`esc`. Styles are inline,
because a saved notebook keeps no style sheet, and use JupyterLab's theme variables, each with a fallback for pages
without a theme.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from llmkit.records.checks.texts import counted

Tone = Literal["plain", "good", "warn", "bad", "accent"]

TEXT = "var(--jp-ui-font-color1, #212121)"
QUIET = "var(--jp-ui-font-color2, #5f5f5f)"
LINE = "var(--jp-border-color2, #e0e0e0)"
ACCENT = "var(--jp-brand-color1, #1976d2)"
RAISED = "var(--jp-layout-color2, #eeeeee)"
FONT = "font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: var(--jp-ui-font-size1, 13px)"
CODE = "font-family: var(--jp-code-font-family, monospace); font-size: 12px"

TONES: Mapping[Tone, str] = {
    "plain": "var(--jp-border-color1, #bdbdbd)",
    "good": "var(--jp-success-color1, #388e3c)",
    "warn": "var(--jp-warn-color1, #ef6c00)",
    "bad": "var(--jp-error-color1, #d32f2f)",
    "accent": ACCENT,
}
MOST_ROWS = 50
_NUMBER = "text-align: right; white-space: nowrap"
_WORDS = "text-align: left; overflow-wrap: anywhere; min-width: 4em"
_NAMES = "text-align: left; overflow-wrap: anywhere; min-width: 11em"


def esc(text: object) -> str:
    """Escape text so that the browser shows it literally, in attributes too."""
    return html.escape(str(text), quote=True)


def unmarked(markup: str) -> str:
    """The words of HTML made here."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def tokens(number: int | None) -> str:
    """A token count in short form: ``400k``, ``1M``; empty when unknown."""
    if number is None:
        return ""
    rounded = float(f"{number:.3g}")
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if rounded >= size:
            return f"{rounded / size:g}{unit}"
    return str(number)


def duration(seconds: float) -> str:
    """``28 s``, ``3 min 05 s``, ``2 h 10 min``, ``24 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours:,} h {minutes:02} min" if minutes else f"{hours:,} h"


def roughly(seconds: float) -> str:
    """Like ``duration``, rounded to the precision of a forecast: ``30 s``, ``4 min``, ``2 h 10 min``."""
    if seconds < 55:
        return duration(max(1, seconds if seconds < 10 else 5 * round(seconds / 5)))
    return f"{round(seconds / 60)} min" if seconds < 3570 else duration(600 * round(seconds / 600))


def badge(text: object, tone: Tone = "plain") -> str:
    """A small label. The tone is in its border, so that the text keeps the theme's contrast."""
    return (
        f'<span style="display: inline-block; padding: 0 6px; border: 1px solid {TONES[tone]}; border-radius: 9px; '
        f'font-size: 11px; line-height: 16px; white-space: nowrap; color: {TEXT}">{esc(text)}</span>'
    )


def sentence(text: object, tone: Tone = "plain") -> str:
    """A line that screen readers announce: at once if something is wrong, else when idle."""
    role = "alert" if tone == "bad" else "status"
    return (
        f'<div role="{role}" style="{FONT}; line-height: 1.4; padding: 2px 8px; margin: 2px 0; color: {TEXT}; '
        f'border-left: 3px solid {TONES[tone]}; overflow-wrap: anywhere">{esc(text)}</div>'
    )


def quiet(text: object) -> str:
    """De-emphasised text on its own line."""
    return f'<div style="{FONT}; line-height: 1.4; color: {QUIET}; overflow-wrap: anywhere">{esc(text)}</div>'


def more(count: int, noun: str) -> str:
    """How many others are not shown; empty if there are none."""
    return quiet(f"and {counted(count, f'more {noun}')}") if count > 0 else ""


def muted(text: object) -> str:
    """De-emphasised text within a line."""
    return f'<span style="color: {QUIET}">{esc(text)}</span>'


def clipped(text: object) -> str:
    """Text that is truncated if there is no room; its tooltip has all of it."""
    cut = "display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap"
    return f'<span title="{esc(text)}" style="{cut}">{esc(text)}</span>'


def heading(text: object, *more: str) -> str:
    """The title of a part of a panel; ``more`` is HTML that follows on the same line, such as badges."""
    title = f'<span style="font-weight: 600; font-size: 14px; color: {TEXT}">{esc(text)}</span>'
    return (
        f'<div style="{FONT}; line-height: 20px; display: flex; flex-wrap: wrap; gap: 2px 8px; align-items: center; '
        f'overflow-wrap: anywhere">{title}{"".join(more)}</div>'
    )


def literal(inner: str, style: str = "") -> str:
    """HTML that MathJax ignores; otherwise ``$1.50 … $3.00`` would become a formula."""
    base = f"{FONT}; line-height: 1.4; color: {TEXT}"
    return f'<div class="tex2jax_ignore mathjax_ignore" style="{base}; {style}">{inner}</div>'


def card(title: str, facts: Mapping[str, object]) -> str:
    """Facts under a title, one a line."""
    lines = "".join(f"<div>{muted(name)} {esc(fact)}</div>" for name, fact in facts.items())
    return literal(heading(title) + lines, "overflow-wrap: anywhere")


def table(
    columns: Sequence[str] | Mapping[str, str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    names: Iterable[str] = (),
    markup: Iterable[str] = (),
) -> str:
    """A table, which scrolls where there is no room for it. Cells are escaped except in the columns ``markup``; the
    columns ``right`` are right-aligned; the references in the columns ``names`` break at their hyphens, not in words.

    A mapping gives the columns' least widths as CSS, and the table the whole width; long names wrap, numbers never.
    """
    raw, kinds = set(markup), {**dict.fromkeys(right, _NUMBER), **dict.fromkeys(names, _NAMES)}
    widths = columns.values() if isinstance(columns, Mapping) else ["auto"] * len(columns)
    line = f"border: none; border-bottom: 1px solid {LINE}; background: none"
    styles = [  # all but the last have padding on the right, numbers too: text may follow
        f"{line}; padding: 3px {12 if place < len(columns) else 0}px 3px 0; {kinds.get(name, _WORDS)}"
        for place, name in enumerate(columns, 1)
    ]
    title = f"overflow-wrap: break-word; font-weight: 600; color: {QUIET}"
    head = "".join(
        f'<th scope="col" style="{style}; {title}; width: {width}">{esc(name)}</th>'
        for name, style, width in zip(columns, styles, widths, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{cell if name in raw else esc(cell)}</td>'
            for name, style, cell in zip(columns, styles, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    whole = "; table-layout: auto; width: 100%" if isinstance(columns, Mapping) else ""
    return (
        f'<div style="overflow-x: auto"><table style="{FONT}; border-collapse: collapse; color: {TEXT}; margin: 4px 0; '
        f'line-height: 1.4; font-variant-numeric: tabular-nums{whole}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


@dataclass(frozen=True, slots=True)
class Page:
    """A table under a title, as a saved notebook shows it. The columns ``right`` are right-aligned; the cells of the
    columns ``markup`` are HTML.
    """

    title: str
    frame: pd.DataFrame
    right: Sequence[str] = ()
    markup: Sequence[str] = ()

    def text(self) -> str:
        """The table as plain text."""
        if self.frame.empty:
            return self.title
        plain = self.frame.assign(**{name: self.frame[name].map(unmarked) for name in self.markup})
        return f"{self.title}\n{plain.to_string(index=False, max_rows=MOST_ROWS)}"

    def table(self) -> str:
        """The first rows as HTML."""
        shown = self.frame.head(MOST_ROWS)
        rows = shown.itertuples(index=False, name=None)
        rest = more(len(self.frame) - len(shown), "row")
        return table(list(shown.columns), rows, right=self.right, markup=self.markup) + rest


def static(pages: Sequence[Page]) -> tuple[str, str]:
    """Tables under their titles, as HTML and as plain text."""
    shown = literal("".join(heading(page.title) + page.table() for page in pages))
    return shown, "\n\n".join(page.text() for page in pages)

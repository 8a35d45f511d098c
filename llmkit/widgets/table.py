"""A long table that stays fast: pages of 25 rows, whose widgets are created when they are shown first.

``rows`` and ``selected`` are its whole interface, so that another table can replace it. A widget per cell took 33 s for
1,000 rows. A widget never shows another row than its own: a click that the browser sent before it had redrawn the table
would be taken for that one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as ipw
import pandas as pd
import traitlets

from llmkit.widgets import html
from llmkit.widgets.browser import in_turn
from llmkit.widgets.form import choice
from llmkit.widgets.panel import button, described, go_to, line, shown
from llmkit.widgets.table_line import NAME, REST, ROW, WHOLE, Looks, TableLine

PAGE = 25
_GAP = "8px"
_HEAD = "12px"
_ICONS = {"none": "", "ascending": "sort-asc", "descending": "sort-desc"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column to the right of the name; ``width`` is a CSS grid track. ``sort`` is the key into :attr:`Row.sort`.
    ``words`` is a longer form of the title.
    """

    title: str
    width: str
    sort: str | None = None
    right: bool = False
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table. ``cells`` and ``heading`` are HTML; everything else is plain text.

    ``heading``, if any, is shown above the first row of its ``group``. ``sort`` holds the values of sortable columns
    but the name; ``None`` comes last in either direction.
    """

    key: str
    name: str
    cells: Sequence[str]
    group: str = ""
    heading: str = ""
    status: str = ""
    searched: str = ""
    tooltip: str = ""
    sort: Mapping[str, Any] = field(default_factory=dict)
    disabled: bool = False


class Table(traitlets.HasTraits):
    """Rows by group, with sortable columns, and pages of 25; ``filters`` is the line of filters.

    ``rows`` are all rows, sorted by group. ``selected`` is the key of the selected row or ``None``; observe it.
    ``sorters`` are the buttons that sort by a column, ``lines`` the widgets of the rows that were shown, by key;
    ``detail``, if any, is what a click on a row opens. Subclasses whose rows react differently to clicks override the
    methods under *row behaviour*. ``room`` is the CSS ``flex`` of the cells next to the name.
    """

    room = "4 0 434px"
    rows = traitlets.Tuple()
    selected = traitlets.Unicode(None, allow_none=True)
    detail: ipw.DOMWidget | None = None

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        name: str,
        group: str = "Group",
        status: str = "Status",
        statuses: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__()
        self._columns = columns
        self._name = name
        self._sort: tuple[str, bool] | None = None
        self._page = 0
        self._found: list[Row] = []
        self.text = ipw.Text(
            description="Filter",
            placeholder=f"{name}, id",
            style={"description_width": "auto"},
            layout=ipw.Layout(flex="1 1 160px", width="auto", min_width="120px"),
        )
        self.group = choice(group, [("all", "")], label_width="auto")
        self.group.layout.max_width = "240px"  # whatever the longest name
        self.status = choice(status, [("all", ""), *statuses], label_width="auto")
        sortable = [Column(title=name, width="", sort="name"), *(column for column in columns if column.sort)]
        self.sorters = {str(column.sort): _sorter(column, self._sort_by) for column in sortable}
        self._grid = " ".join(column.width for column in columns)
        self._looks = Looks(self.room)
        self.lines: dict[str, TableLine] = {}
        self._headings = defaultdict[str, ipw.HTML](self._looks.heading)
        self._empty = ipw.HTML(html.quiet("Nothing matches the filter."))
        self.previous = button("Previous", lambda: self._turn(-1))
        self.next = button("Next", lambda: self._turn(1))
        self._position = ipw.HTML()
        self._pager = line(self.previous, self._position, self.next)
        self.filters = line(self.text, self.group, self.status)
        self._header = self._titles()
        self._table = ipw.VBox([self._header], layout=ipw.Layout(width="100%", display="block"))
        described(self._table, role="table", aria_label=name + "s")
        self.widget = ipw.VBox([self._table, self._empty, self._pager], layout=ipw.Layout(width="100%"))
        for control in (self.text, self.group, self.status):
            control.observe(in_turn(lambda _: self._show_first_page()), "value")
        self.observe(lambda _: self._take_rows(), "rows")
        self.observe(lambda _: self._draw(), "selected")

    @property
    def visible(self) -> list[Row]:
        """The rows on the current page."""
        return self._found[self._page * PAGE : (self._page + 1) * PAGE]

    def page(self, title: str) -> html.Page:
        """All rows without a kernel."""
        names = [column.title for column in self._columns]
        cells = [(row.group, row.name, *row.cells) for row in self.rows]
        frame = pd.DataFrame(cells, columns=[self.group.description, self._name, *names])
        kept = frame if any(row.group for row in self.rows) else frame.drop(columns=self.group.description)
        return html.Page(title, kept, [column.title for column in self._columns if column.right], names)

    def reveal(self, key: str) -> None:
        """Select a row, turn to its page and go to what it opens; filters that hide it are cleared."""
        if not any(row.key == key for row in self._found):
            self.text.value = self.group.value = self.status.value = ""
        self._page = next(n for n, row in enumerate(self._found) if row.key == key) // PAGE
        self.selected = key
        self._draw()
        self._go_to_detail()

    def _titles(self) -> ipw.HBox:
        self._heads = {
            name: ipw.Box([sorter], layout=ipw.Layout(**(NAME if name == "name" else WHOLE)))
            for name, sorter in self.sorters.items()
        }
        heads = [self._heads[column.sort] if column.sort else _title(column) for column in self._columns]
        for head in (self._heads["name"], *heads):
            described(head, role="columnheader")
        for head in self._heads.values():
            described(head, aria_sort="none")
        layout = ipw.Layout(
            grid_template_columns=self._grid, grid_gap=f"0 {_GAP}", align_items="center", flex=self.room, **REST
        )
        header = ipw.HBox(
            [self._heads["name"], ipw.GridBox(heads, layout=layout)], layout=ipw.Layout(padding="0 0 0 3px", **ROW)
        )
        described(header, role="row")
        return header

    def _take_rows(self) -> None:
        if not any(row.key == self.selected for row in self.rows):
            self.selected = None
        groups = dict.fromkeys(row.group for row in self.rows)
        options = (("all", ""), *((name, name) for name in groups))
        if self.group.options != options:
            kept = self.group.value
            self.group.options = options
            self.group.value = kept if kept in groups else ""
        self._find()

    def _show_first_page(self) -> None:
        self._page = 0
        self._find()

    def _sort_by(self, key: str) -> None:
        self._sort = (key, not self._sort[1]) if self._sort and self._sort[0] == key else (key, False)
        for name, sorter in self.sorters.items():
            order = "none" if name != key else "descending" if self._sort[1] else "ascending"
            sorter.icon = _ICONS[order]
            described(self._heads[name], aria_sort=order)
        self._show_first_page()

    def _find(self) -> None:
        words = self.text.value.lower().split()
        group, status = self.group.value, self.status.value
        matches = [
            row
            for row in self.rows
            if (not group or row.group == group)
            and (not status or self._has_status(row, status))
            and all(word in row.searched for word in words)
        ]
        self._found = _sorted(matches, *self._sort) if self._sort else matches
        self._page = min(self._page, max(0, (len(matches) - 1) // PAGE))
        self._draw()

    def _turn(self, by: int) -> None:
        self._page += by
        self._draw()

    # --- row behaviour ---

    def _control(self, key: str, **told: Any) -> ipw.Button | ipw.Checkbox:
        control = ipw.Button(layout=self._looks.control, **told)
        control.on_click(in_turn(lambda _: self._choose(key)))
        return control

    def _choose(self, key: str) -> None:
        self.selected = None if self.selected == key else key
        if self.selected is not None:
            self._go_to_detail()

    def _go_to_detail(self) -> None:
        if self.detail is not None:
            go_to(self.detail)  # it may be below the screen, and is 25 Tabs away

    def _is_chosen(self, row: Row) -> bool:
        return row.key == self.selected

    def _state(self, row: Row, chosen: bool) -> dict[str, Any]:
        return {"style": self._looks.chosen if chosen else self._looks.plain}

    def _has_status(self, row: Row, status: str) -> bool:
        return row.status == status

    # --- drawing ---

    def _draw(self) -> None:
        children: list[ipw.Widget] = [self._header]
        above = ""
        for row in self.visible:
            if row.heading and row.group != above:
                children.append(self._heading(row))
            children.append(self._line(row).box)
            above = row.group
        self._table.children = children
        first, total = self._page * PAGE, len(self._found)
        shown(self._empty, not total)
        shown(self._pager, total > PAGE)
        self._position.value = html.quiet(f"{first + 1}–{min(first + PAGE, total)} of {total:,}")
        self.previous.disabled = first == 0
        self.next.disabled = first + PAGE >= total

    def _heading(self, row: Row) -> ipw.HTML:
        heading = self._headings[row.group]
        heading.value = f'<div role="cell" aria-colspan="{1 + len(self._columns)}">{row.heading}</div>'
        return heading

    def _line(self, row: Row) -> TableLine:
        cells, chosen = self._cells(row), self._is_chosen(row)
        told = {"description": row.name, "tooltip": row.tooltip or row.name, **self._state(row, chosen)}
        if row.key in self.lines:
            self.lines[row.key].show(cells, chosen=chosen, **told)
        else:
            self.lines[row.key] = TableLine(self._looks, self._control(row.key, **told), cells, chosen=chosen)
        return self.lines[row.key]

    def _cells(self, row: Row) -> str:
        cells = "".join(
            f'<div role="cell" style="min-width: 0; text-align: {"right" if column.right else "left"}">{cell}</div>'
            for column, cell in zip(self._columns, row.cells, strict=True)
        )
        return (
            f'<div style="{html.FONT}; color: {html.TEXT}; display: grid; grid-template-columns: {self._grid}; '
            f"gap: 0 {_GAP}; align-items: center; line-height: 20px; min-height: 28px; "
            f'font-variant-numeric: tabular-nums">{cells}</div>'
        )


def _sorter(column: Column, sort: Callable[[str], None]) -> ipw.Button:
    made = button(column.title, lambda: sort(str(column.sort)), tooltip=f"Sort by {column.words or column.title}")
    side = "flex-end" if column.right else "flex-start"
    padding = {} if column.sort == "name" else {"padding": "0"}
    made.layout = ipw.Layout(display="flex", justify_content=side, height="28px", **WHOLE, **padding)
    made.style = ipw.ButtonStyle(button_color="transparent", font_weight="600", font_size=_HEAD, text_color=html.QUIET)
    return made


def _title(column: Column) -> ipw.HTML:
    side = "right" if column.right else "left"
    style = f"{html.FONT}; font-size: {_HEAD}; color: {html.QUIET}; text-align: {side}; white-space: nowrap"
    return ipw.HTML(f'<div style="{style}">{html.esc(column.title)}</div>', layout=ipw.Layout(margin="0"))


def _sorted(rows: Sequence[Row], key: str, descending: bool) -> list[Row]:
    """Sort rows within their groups, keeping the order of groups; unknown values last."""
    values: dict[str, Any] = {row.key: row.name.lower() if key == "name" else row.sort.get(key) for row in rows}
    known = [row for row in rows if values[row.key] is not None]
    known.sort(key=lambda row: values[row.key], reverse=descending)
    unknown = [row for row in rows if values[row.key] is None]
    places = {group: place for place, group in enumerate(dict.fromkeys(row.group for row in rows))}
    return sorted([*known, *unknown], key=lambda row: places[row.group])

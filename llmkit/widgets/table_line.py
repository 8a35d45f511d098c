"""The widgets of a table row: created once, and refilled."""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw

from llmkit.widgets import html
from llmkit.widgets.panel import described, shown

NAME = {"flex": "1 1 140px", "min_width": "0", "margin": "0", "width": "auto", "padding": "0 8px 0 0"}
REST = {"min_width": "0", "margin": "0", "width": "auto"}
WHOLE = {"min_width": "0", "margin": "0", "width": "100%"}
ROW = {
    "flex_flow": "row wrap",
    "align_items": "center",
    "border_bottom": f"1px solid {html.LINE}",
    "overflow": "visible",
}
"""Name and cells are side by side if there is room, else stacked; on a narrow page the table scrolls."""


class Looks:
    """Layouts and styles shared by all rows; otherwise each would be a separate widget in every row.
    ``room`` is the CSS ``flex`` of the cells.
    """

    def __init__(self, room: str) -> None:
        self.name = ipw.Layout(**NAME)
        self.control = ipw.Layout(height="28px", width="auto", max_width="100%", min_width="0", margin="0")
        self.cells = ipw.Layout(flex=room, **REST)
        self.text = ipw.HTML().style
        self.plain = ipw.ButtonStyle(button_color="transparent")
        self.chosen = ipw.ButtonStyle(button_color="transparent", font_weight="bold")


class TableLine:
    """A heading if the row starts a group, a control with the row's name, and the cells.
    ``key`` is the key of the displayed row, if any.
    """

    def __init__(self, looks: Looks, control: ipw.Button | ipw.Checkbox) -> None:
        self.key: str | None = None
        self.heading = ipw.HTML(style=looks.text, layout=ipw.Layout(display="none", margin="8px 0 2px 0"))
        self.control = control
        name = ipw.Box([control], layout=looks.name)
        self.cells = ipw.HTML(style=looks.text, layout=looks.cells)
        self.box = ipw.HBox([name, self.cells], layout=ipw.Layout(display="none", **ROW))
        self.parts = (self.heading, self.box)
        described(name, role="rowheader")
        described(self.box, role="row")
        described(self.heading, role="row")

    def show(self, key: str, cells: str, *, heading: str | None, columns: int, chosen: bool, **control: Any) -> None:
        """Show a row, with these traits of the control; only differences are sent."""
        self.key = key
        with self.control.hold_sync():
            for name, value in control.items():
                setattr(self.control, name, value)
        if heading:
            self.heading.value = f'<div role="cell" aria-colspan="{columns}">{heading}</div>'
        self.cells.value = cells
        shown(self.heading, bool(heading))
        shown(self.box, True)
        self.box.layout.border_left = f"3px solid {html.ACCENT if chosen else 'transparent'}"
        described(self.box, aria_selected=str(chosen).lower())

    def hide(self) -> None:
        """Hide the row."""
        self.key = None
        shown(self.heading, False)
        shown(self.box, False)

"""The widgets of a table row."""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw

from llmkit.widgets import html
from llmkit.widgets.panel import described

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
        self.row, self.chosen_row = (
            ipw.Layout(border_left=f"3px solid {color}", **ROW) for color in ("transparent", html.ACCENT)
        )

    def heading(self) -> ipw.HTML:
        """A line above a group of rows."""
        made = ipw.HTML(style=self.text, layout=ipw.Layout(margin="8px 0 2px 0"))
        described(made, role="row")
        return made


class TableLine:
    """A control with the row's name, and the cells, side by side in ``box``. Each widget is sent as it is shown first:
    a row is four messages.
    """

    def __init__(self, looks: Looks, control: ipw.Button | ipw.Checkbox, cells: str, *, chosen: bool) -> None:
        self._looks = looks
        self.control = control
        name = ipw.Box([control], layout=looks.name, _dom_classes=("role=rowheader",))
        self.cells = ipw.HTML(cells, style=looks.text, layout=looks.cells)
        self.box = ipw.HBox([name, self.cells], **self._chosen(chosen))

    def show(self, cells: str, *, chosen: bool, **control: Any) -> None:
        """Show the row's current state, with these traits of the control; only differences are sent."""
        _set(self.control, **control)
        self.cells.value = cells
        _set(self.box, **self._chosen(chosen))

    def _chosen(self, chosen: bool) -> dict[str, Any]:
        layout = self._looks.chosen_row if chosen else self._looks.row
        return {"layout": layout, "_dom_classes": ("role=row", f"aria-selected={str(chosen).lower()}")}


def _set(widget: ipw.Widget, **traits: Any) -> None:
    with widget.hold_sync():
        for name, value in traits.items():
            setattr(widget, name, value)

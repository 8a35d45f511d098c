"""The catalog's panels, and in a team the team's, as tabs."""

from __future__ import annotations

import ipywidgets as ipw
import pandas as pd

from llmkit.widgets import html
from llmkit.widgets.browser import in_turn
from llmkit.widgets.infra_panel import InfraPanel
from llmkit.widgets.models_panel import ModelsPanel
from llmkit.widgets.panel import Panel
from llmkit.widgets.protocols import HasCatalog
from llmkit.widgets.providers_panel import ProvidersPanel
from llmkit.widgets.team_panel import TeamPanel

_CLASS = "llmkit-tabs"
_STYLE = f"""<style>
.{_CLASS} .lm-TabBar-tabLabel {{ color: {html.TEXT}; }}
.jupyter-widgets.jupyter-widget-tab.{_CLASS} > .widget-tab-contents {{ padding: 4px 8px; }}
</style>"""
"""The tabs of ipywidgets have too little contrast, and no traits to change it."""


class SettingsPanel(Panel):
    """Models, providers, infrastructure models, and the team if there is one; a tab is refreshed when opened."""

    title = "Settings"

    def __init__(self, kit: HasCatalog) -> None:
        super().__init__()
        self._catalog = kit.catalog
        self.models = ModelsPanel(kit)
        self.providers = ProvidersPanel(kit)
        self.infra = InfraPanel(kit)
        self.team = TeamPanel(kit) if kit.is_in_team else None
        panels = (self.models, self.providers, self.infra, self.team)
        self._panels: tuple[Panel, ...] = tuple(panel for panel in panels if panel is not None)
        for panel in self._panels:
            panel.island = self.island  # an edit in one tab updates the output of all
        self.tabs = ipw.Tab(
            [panel.widget for panel in self._panels], titles=("Models", "Providers", "Infrastructure", "Team")
        )
        self.tabs.add_class(_CLASS)
        self.tabs.observe(in_turn(lambda _: self.refresh()), "selected_index")
        style = ipw.HTML(_STYLE, layout=ipw.Layout(display="none"))
        self.widget.children = (style, self.tabs)

    def _ipython_display_(self) -> None:
        super()._ipython_display_()
        for panel in (self.models, self.providers, self.infra):
            panel.follow()

    @property
    def df(self) -> pd.DataFrame:
        """The settings, as ``kit.catalog.settings()``."""
        return self._catalog.settings()

    def refresh(self) -> None:
        """Refresh the open tab."""
        if self.tabs.selected_index is not None:
            self._panels[self.tabs.selected_index].refresh()

    def _pages(self) -> list[html.Page]:
        return [page for panel in self._panels for page in panel._pages()]

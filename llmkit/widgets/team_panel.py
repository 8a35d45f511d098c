"""The members of the team: their runs, the providers they use, and what each has spent this month."""

from __future__ import annotations

import ipywidgets as ipw
import pandas as pd

from llmkit.money.amounts import billed
from llmkit.widgets import html
from llmkit.widgets.panel import Panel, Sentence, line
from llmkit.widgets.protocols import HasCatalog

_ALONE = "The team's database does not answer: what colleagues do now is not known here. Runs continue."


class TeamPanel(Panel):
    """``kit.team()`` as a table with a Refresh button."""

    title = "Team"

    def __init__(self, kit: HasCatalog) -> None:
        super().__init__()
        self._kit = kit
        self._table = ipw.HTML()
        self._alone = Sentence()
        self.refresh_button = self.action_button("Refresh", lambda: None)
        self.widget.children = (self._table, self._alone.widget, line(self.refresh_button), self.notice.widget)
        self.refresh()

    @property
    def df(self) -> pd.DataFrame:
        """The team, as ``kit.team()``."""
        return self._kit.team()

    def refresh(self) -> None:
        """Show the current members."""
        team = self.df
        self._table.value = _page(team).table()
        self._alone.show("" if team["is_on"].any() else _ALONE, "warn")  # this kit would be on

    def _pages(self) -> list[html.Page]:
        return [_page(self.df)]


def _page(team: pd.DataFrame) -> html.Page:
    frame = pd.DataFrame(
        {
            "Who": team["actor"],
            "Now": ["on" if is_on else "away" for is_on in team["is_on"]],
            "Machine": team["hosts"],
            "Runs": [", ".join(runs) for runs in team["runs"]],
            "Asks": [", ".join(providers) for providers in team["asking"]],
            "This month": [
                billed(spent, unpriced) for spent, unpriced in zip(team["spent"], team["unpriced"], strict=True)
            ],
        }
    )
    return html.Page("Team", frame, right=("This month",))

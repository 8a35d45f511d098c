"""The members of the team: their runs, the providers they use, and what each has spent this month."""

from __future__ import annotations

import ipywidgets as ipw
import pandas as pd

from llmkit.money.amounts import billed
from llmkit.widgets import html
from llmkit.widgets.panel import Panel, button, line
from llmkit.widgets.protocols import HasTeam

_RIGHT = ("Spent this month",)


class TeamPanel(Panel):
    """``kit.team()`` as a table with a Refresh button."""

    title = "Team"

    def __init__(self, kit: HasTeam) -> None:
        super().__init__()
        self._kit = kit
        self._table = ipw.HTML()
        self.refresh_button = button("Refresh", lambda: self.act(lambda: None))
        self.widget.children = (self._table, line(self.refresh_button), self.notice.widget)
        self.refresh()

    @property
    def df(self) -> pd.DataFrame:
        """The team, as ``kit.team()``."""
        return self._kit.team()

    def refresh(self) -> None:
        """Show the current members."""
        words = _in_words(self.df)
        self._table.value = html.table(list(map(str, words)), words.itertuples(index=False, name=None), right=_RIGHT)

    def _pages(self) -> list[html.Page]:
        return [html.Page(self.title, _in_words(self.df), _RIGHT)]


def _in_words(team: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Who": team["actor"],
            "Now": ["on" if is_on else "away" for is_on in team["is_on"]],
            "On": team["hosts"],
            "Runs": [", ".join(runs) for runs in team["runs"]],
            "Asks": [", ".join(providers) for providers in team["asking"]],
            "Spent this month": [
                billed(spent, unpriced) for spent, unpriced in zip(team["spent"], team["unpriced"], strict=True)
            ],
        }
    )

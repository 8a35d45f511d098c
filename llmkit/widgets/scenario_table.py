"""The panel to keep, edit and drop generated scenarios before they are run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import ipywidgets as ipw
import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records import Scenario
from llmkit.scenarios import as_scenarios, scenarios_to_frame
from llmkit.widgets import html
from llmkit.widgets.browser import Confirmed
from llmkit.widgets.panel import Panel, Sentence, line, shown
from llmkit.widgets.table import Column, Row, Table

_KEPT, _DROPPED = "kept", "dropped"


class ScenarioTable(Panel):
    """A table of scenarios. ``scenarios`` are the kept ones, as edited: ``kit.run(table.scenarios)``.

    Clicking a row opens it below the table. ``drop``, ``keep`` and ``edit`` do what the buttons do.
    """

    title = "Scenarios"

    def __init__(self, scenarios: Iterable[Scenario]) -> None:
        super().__init__()
        self._scenarios = {str(scenario.scenario_id): scenario for scenario in as_scenarios(list(scenarios))}
        self._dropped: set[str] = set()
        self._opened: str | None = None
        self._typed: dict[str, str] = {}  # prompts that were changed but not saved before another row was chosen
        names = list(dict.fromkeys(name for each in self._scenarios.values() for name in each.dimensions))
        columns = [Column(title="Prompt", width="minmax(200px, 4fr)", sort="prompt")]
        columns += [Column(title=name, width="minmax(60px, 1fr)", sort=f"dimension {name}") for name in names]
        columns += [Column(title="Status", width="76px")]
        self._names = names
        self.table = Table(columns, name="Scenario", statuses=[(_KEPT, _KEPT), (_DROPPED, _DROPPED)])
        shown(self.table.group, False)
        self.prompt = ipw.Textarea(layout=ipw.Layout(width="auto", height="110px"))
        typed = Confirmed([self.prompt])
        self.save_button = self.button("Save", lambda: typed.then(lambda: self.act(self._save)), primary=True)
        self.drop_button = self.action_button("Drop", lambda: self.drop(str(self.table.selected)))
        self.keep_button = self.action_button("Keep", lambda: self.keep(str(self.table.selected)))
        self._heading = ipw.HTML()
        self._count = Sentence()
        buttons = line(self.save_button, self.drop_button, self.keep_button)
        self._detail = ipw.VBox([self._heading, self.prompt, buttons], layout=ipw.Layout(width="100%"))
        self.table.detail = self._detail
        self.widget.children = (
            line(self.table.filters),
            self.table.widget,
            self._count.widget,
            self.notice.widget,
            self._detail,
        )
        self.table.observe(lambda _: self._open(), "selected")
        self.refresh()
        self._open()

    @property
    def scenarios(self) -> list[Scenario]:
        """The kept scenarios, with their ids."""
        return [scenario for key, scenario in self._scenarios.items() if key not in self._dropped]

    @property
    def df(self) -> pd.DataFrame:
        """The kept scenarios, one per row, with a column for each dimension; ``kit.run`` accepts it."""
        kept = self.scenarios
        return scenarios_to_frame(kept) if kept else scenarios_to_frame(list(self._scenarios.values())).head(0)

    def drop(self, *scenario_ids: str) -> None:
        """Leave scenarios out.

        Raises:
            ValidationError: there is no scenario with that id; nothing was changed.
        """
        self._dropped |= self._known(scenario_ids)
        self.refresh()

    def keep(self, *scenario_ids: str) -> None:
        """Put dropped scenarios back.

        Raises:
            ValidationError: there is no scenario with that id; nothing was changed.
        """
        self._dropped -= self._known(scenario_ids)
        self.refresh()

    def edit(self, scenario_id: str, prompt: str) -> None:
        """Change a scenario's prompt.

        Raises:
            ValidationError: there is no scenario with that id, or the prompt is empty.
        """
        self._known([scenario_id])
        self._scenarios[scenario_id] = replace(self._scenarios[scenario_id], prompt=prompt.strip())
        if scenario_id == self._opened and self.prompt.value.strip() != prompt.strip():  # perhaps somebody types on
            self.prompt.value = prompt.strip()
        self.refresh()

    def refresh(self) -> None:
        """Draw the table again."""
        self.notice.clear()
        self.table.rows = tuple(self._row(key, scenario) for key, scenario in self._scenarios.items())
        self._count.show(f"{len(self.scenarios)} of {len(self._scenarios)} scenarios are kept.")
        self._show_buttons()

    def _known(self, scenario_ids: Iterable[str]) -> set[str]:
        wanted = set(scenario_ids)
        if unknown := sorted(wanted - self._scenarios.keys()):
            known = ", ".join(self._scenarios)
            raise ValidationError(f"There is no scenario {unknown[0]!r}; there are {known}.", field="scenario_id")
        return wanted

    def _save(self) -> None:
        self.edit(str(self.table.selected), self.prompt.value)

    def _row(self, key: str, scenario: Scenario) -> Row:
        status = _DROPPED if key in self._dropped else _KEPT
        values = [scenario.dimensions.get(name) for name in self._names]
        texts = ["" if value is None else str(value) for value in values]
        badge = html.badge(status, "good" if status == _KEPT else "plain")
        return Row(
            key=key,
            name=key,
            cells=(_two_lines(scenario.prompt), *map(html.esc, texts), badge),
            status=status,
            searched=" ".join((key, scenario.prompt, *texts)).lower(),
            tooltip=scenario.prompt,
            sort={"prompt": scenario.prompt.lower()}
            | {f"dimension {name}": text.lower() or None for name, text in zip(self._names, texts, strict=True)},
        )

    def _open(self) -> None:
        before, key = self._opened, self.table.selected
        self._opened = key
        self.notice.clear()
        if before is not None and self.prompt.value.strip() != self._scenarios[before].prompt.strip():
            self._typed[before] = self.prompt.value
            self.notice.show(f"What you typed for {before} is not saved yet: choose it again to go on with it.", "warn")
        if key is not None:
            self._heading.value = html.heading(key)
            self.prompt.value = self._typed.pop(key, self._scenarios[key].prompt)
        self._show_buttons()
        shown(self._detail, key is not None)  # last, so that nobody types before the text is there

    def _show_buttons(self) -> None:
        dropped = self.table.selected in self._dropped
        shown(self.drop_button, not dropped)
        shown(self.keep_button, dropped)

    def _pages(self) -> list[html.Page]:
        frame = self.df[["scenario_id", "prompt", *self._names]].fillna("")
        return [html.Page(self.title, frame.rename(columns={"scenario_id": "Scenario", "prompt": "Prompt"}))]


def _two_lines(text: str) -> str:
    """A text clamped to two lines; the row's tooltip and the form below have all of it."""
    style = "display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden"
    return f'<span style="{style}; overflow-wrap: anywhere">{html.esc(text)}</span>'

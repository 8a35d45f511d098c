"""The form that starts a run: prompts, models, limits and an estimate; then the run itself."""

from __future__ import annotations

import threading
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.errors import LlmkitError, ValidationError
from llmkit.money.amounts import dollars
from llmkit.money.estimate_table import Estimate
from llmkit.records.checks.texts import counted, one_line
from llmkit.scenarios import Prompts, as_scenarios
from llmkit.widgets import html, run_fields
from llmkit.widgets.catalog_panel import FollowingPanel
from llmkit.widgets.estimate_view import estimate_html
from llmkit.widgets.form import Form
from llmkit.widgets.model_picker import ModelPicker, note, picker_rows
from llmkit.widgets.model_rows import key_states
from llmkit.widgets.panel import Panel, Sentence, go_to, line, shown, when_done
from llmkit.widgets.protocols import StartsRuns
from llmkit.widgets.throttle import Throttle

ESTIMATES_PER_SECOND = 3
_MODES = {"live": ("live", "batch-or-live"), "batch-or-live": ("batch-or-live", "live")}
_SHOWN_PROMPTS = 3
_PREVIEW, _SCANNED = 160, 1_000


class RunForm(FollowingPanel):
    """Prompts, models and limits with a live estimate; Start calls ``kit.run`` and shows the run's panel below.

    ``handle`` is the run started last. Without ``prompts``, they are typed, separated by empty lines.

    Raises:
        ValidationError: ``prompts`` are invalid.
    """

    title = "New run"

    def __init__(self, kit: StartsRuns, prompts: Prompts | None = None) -> None:
        super().__init__(kit.catalog)
        self._kit = kit
        self._given = None if prompts is None else list(as_scenarios(prompts))
        self._estimate: Estimate | None = None
        self._refused: tuple[Any, ...] | None = None
        self._saying = threading.Lock()  # or a draw that began before would clear what was refused
        self.handle: Any = None
        self.panel: Any = None
        self._below: Panel | None = None
        self._count = ipw.HTML()
        access = kit.catalog.access()
        self.picker = ModelPicker(
            [model.reference for model in kit.catalog.defaults().values() if not access.blocking(model)]
        )
        typed = [run_fields.prompts()] if self._given is None else []
        self.form = Form(
            [*typed, *run_fields.settings(kit.budgets())],
            others=[self.picker.field],
            label="Start",
            submit=lambda: self.picker.ticked.then(self._start),
        )
        self.form.show({"samples": 1, "mode": "live", "reuse": False})
        self.start_button = self.form.submit_button
        self.estimate = ipw.HTML(layout=ipw.Layout(width="auto", margin="0 2px"))
        self._old_prices = Sentence()
        self.refresh_button = self.button("Refresh", self.renew, tooltip="Read the catalog and the keys again")
        self.results_button = self.action_button("Show results", self._show_results)
        self._run_place = ipw.VBox()
        self.widget.children = (*self._lay_out(), self.notice.widget, self._run_place, line(self.results_button))
        shown(self.results_button, False)
        self._throttle = Throttle(lambda: self.attempt(self._draw_estimate), per_second=ESTIMATES_PER_SECOND)
        for field in self.form.fields.values():
            field.control.observe(lambda _: self._throttle.touch(), "value")
        self.picker.observe(lambda _: self._throttle.touch(), "chosen")
        self.refresh()

    @property
    def df(self) -> pd.DataFrame:
        """The current estimate, one row per model; empty without one."""
        return (self._estimate or Estimate.of(())).df

    def refresh(self) -> None:
        """Read the catalog and the keys again, and update the estimate."""
        access = self._catalog.access()
        self.picker.rows = picker_rows(access, key_states(self._kit, access.state.providers), self.picker.chosen)
        self._old_prices.show("" if self._kit.simulated else self._catalog.old_prices(), "warn")
        self._throttle.flush()  # waits for a draw from older input, which must not come last

    def _lay_out(self) -> list[ipw.Widget]:
        asked = ipw.HTML(_summary(self._given)) if self._given is not None else self.form["prompts"].widget
        badges = [html.badge("rehearsal: simulated", "accent")] if self._kit.simulated else []
        models = ipw.VBox(
            [ipw.HTML(html.heading("Models", html.muted("US dollars per million tokens, input / output"))),
             self.picker.widget],
            layout=ipw.Layout(flex="3 1 430px", min_width="0"),
        )  # fmt: skip
        form = self.form
        form.grid.children = tuple(child for child in form.grid.children if child is not asked)
        form.buttons.children = (*form.buttons.children, self.refresh_button)
        settings = ipw.VBox(
            [ipw.HTML(html.heading("Settings")), form.grid, ipw.HTML(html.heading("Estimate")), self.estimate,
             self._old_prices.widget, form.error.widget, form.buttons, form.aside],
            layout=ipw.Layout(flex="2 1 320px", min_width="0"),
        )  # fmt: skip
        columns = ipw.HBox([models, settings], layout=ipw.Layout(flex_flow="row wrap", grid_gap="8px 24px"))
        return [ipw.HTML(html.heading("New run", *badges)), asked, self._count, columns]

    # --- the estimate ---

    def _draw_estimate(self) -> None:
        """Estimate from the valid fields; called on a separate thread while the user types."""
        access, chosen = self._catalog.access(), self.picker.chosen
        models = access.state.models
        against = {reference: access.obstacles(models[reference]) for reference in chosen if reference in models}
        notes = {reference: list(map(note, listed)) for reference, listed in against.items()}
        usable = [reference for reference, listed in against.items() if not any(each.blocks for each in listed)]
        values, _ = self.form.read()
        (self._estimate, why_not), (other, _) = (
            self._estimated(usable, values, mode) for mode in _MODES[values["mode"]]
        )
        with self._saying:
            if self._inputs() != self._refused:
                self._say()
        warnings = self._over_balance(access.state)
        for reference in usable:
            if (words := warnings.get(models[reference].provider)) is not None:
                notes[reference].append((words, "warn"))
        names = {reference: models[reference].display_name for reference in notes}
        self.estimate.value = estimate_html(self._estimate, chosen, notes, names, other, why_not)

    def _inputs(self) -> tuple[Any, ...]:
        return (self.picker.chosen, *(field.control.value for field in self.form.fields.values()))

    def _say(self) -> None:
        """Show a message at each invalid field, and at a budget that is too small."""
        self.picker.error.clear()
        values, _ = self.form.check(warned=("budget", "project"))
        self._warn_of_budget(values)

    def _estimated(self, usable: list[str], values: dict[str, Any], mode: str) -> tuple[Estimate | None, str]:
        """The estimate in a mode, or why there is none."""
        prompts = values.get("prompts", self._given)
        if self._given is None:
            words = counted(len(prompts), "prompt") if prompts else "No prompt yet"
            self._count.value = html.quiet(f"{words}. An empty line separates prompts.")
        wrong = [each.short_label for name, each in self.form.fields.items() if name not in {"budget", *values}]
        if wrong:
            return None, f"No estimate until {' and '.join(wrong)} can be read."
        none_offered = all(row.disabled for row in self.picker.rows)  # then the error says which keys to set
        if not prompts or not (usable or none_offered):
            return None, "No estimate without prompts." if usable else ""  # each model says why it is not usable
        try:
            sent = {name: values[name] for name in ("system", "max_tokens", "temperature", "service_tier", "reuse")}
            return self._kit.estimate(prompts, usable or None, values["samples"], mode=mode, **sent), ""
        except LlmkitError as error:
            return None, self.form.worded(getattr(error, "problems", (error,))[0])

    def _warn_of_budget(self, values: dict[str, Any]) -> None:
        shared = self._kit.budgets()
        if "budget" in values:
            self.form["budget"].error.show(run_fields.budget_words(self._estimate, values["budget"], shared), "warn")
        if "project" in values:
            self.form["project"].error.show(run_fields.project_words(values["project"], shared))

    def _over_balance(self, state: Any) -> dict[str, str]:
        """Warnings by provider whose balance the estimate exceeds."""
        if self._kit.simulated or self._estimate is None:
            return {}
        words = {}
        for name, provider in state.providers.items():
            costs = [each.cost for each in self._estimate.models if each.provider == name and each.cost is not None]
            if provider.balance is not None and sum(costs) > provider.balance:
                words[name] = f"over the balance of {dollars(provider.balance, exact=True)}"
        return words

    # --- starting ---

    def _start(self) -> None:
        def start() -> str | None:
            if self.start_button.disabled:  # Enter in a field starts nothing during a run
                return None
            self._refused = None
            self._say()
            values = self.form.values()
            prompts = values.pop("prompts", self._given)
            if not prompts:
                raise ValidationError("Prompts: type at least one.", field="prompts")
            if not self.picker.chosen:
                raise ValidationError("Tick at least one model.", field="models")
            self.handle = self._kit.run(prompts, list(self.picker.chosen), **values)
            self._show_run()
            return f'Started run {self.handle.run_id}. In code: kit.load("{self.handle.run_id}").'

        self.act(start, on_error=self._refuse_start)

    def _refuse_start(self, error: LlmkitError) -> None:
        with self._saying:
            self._refused = self._inputs()
        self.form.refuse(error)

    def _show_run(self) -> None:
        self.panel = self.handle.panel()
        self.panel.on_resume = self._follow_run
        self._show_below(self.panel)
        self._follow_run(self.handle)

    def _follow_run(self, handle: Any) -> None:
        """Disable Start until the run has ended."""
        self.handle = handle
        self.start_button.disabled = True
        shown(self.results_button, False)

        def ended() -> None:
            self.start_button.disabled = False
            shown(self.results_button, True)

        when_done(handle, ended)

    def _show_results(self) -> None:
        self._show_below(self.handle.run.view())
        shown(self.results_button, False)

    def _show_below(self, panel: Panel) -> None:
        """Show the run's panel or view, which is also what a saved notebook keeps."""
        panel.island = self.island
        self._below = panel
        self._run_place.children = (panel.widget,)
        go_to(self._run_place)

    def _static(self) -> tuple[str, str]:
        return super()._static() if self._below is None else self._below._static()

    def _pages(self) -> list[html.Page]:
        frame = pd.DataFrame(
            [
                {"Model": each.model, "Requests": f"{each.requests:,}", "Estimate": dollars(each.cost)}
                for each in (self._estimate.models if self._estimate else ())
            ],
            columns=["Model", "Requests", "Estimate"],
        )
        total = "" if self._estimate is None else f": about {dollars(self._estimate.total)}"
        return [html.Page(f"New run{total}", frame, right=("Requests", "Estimate"))]


def _summary(scenarios: Any) -> str:
    """The number of prompts, and the first few."""
    first = "".join(
        f"<li>{html.clipped(one_line(scenario.prompt[:_SCANNED], _PREVIEW))}</li>"
        for scenario in scenarios[:_SHOWN_PROMPTS]
    )
    more = html.more(len(scenarios) - _SHOWN_PROMPTS, "prompt")
    count = html.muted(counted(len(scenarios), "prompt"))
    return html.literal(f'{count}<ul style="margin: 2px 0; padding-left: 18px; list-style: disc">{first}</ul>{more}')

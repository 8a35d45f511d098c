"""The connection test: fetch a provider's list of models, and add the selected ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import ipywidgets as ipw

from llmkit.errors import LlmkitError
from llmkit.money.price_comparison import listed_columns
from llmkit.records import RATE_COLUMNS, RemoteModel
from llmkit.widgets.browser import in_turn
from llmkit.widgets.panel import Panel, Sentence, button, line
from llmkit.widgets.protocols import HasCatalog


class RemoteModels:
    """The button that tests the connection, its result, and the list to choose from.

    ``asking`` is the thread that waits for the answer; it can be joined.
    """

    def __init__(self, kit: HasCatalog, panel: Panel, provider: str) -> None:
        self._kit = kit
        self._provider = provider
        self._found: dict[str, RemoteModel] = {}
        self.asking: threading.Thread | None = None
        self.test_button = button("Test connection", self.test, tooltip="Ask the provider for its list of models")
        self.result = Sentence()
        self.choice = ipw.SelectMultiple(
            description="Models to add",
            rows=8,
            style={"description_width": "150px"},
            layout=ipw.Layout(width="auto", max_width="620px"),
        )
        self.add_button = panel.action_button("Add the selected models", self.add, primary=True)
        self._offer = ipw.VBox()
        self.widget = ipw.VBox([line(self.test_button), self.result.widget, self._offer])

    def test(self) -> None:
        """Fetch the list in the background; it is shown when it arrives."""
        self.test_button.disabled = True
        self._offer.children = ()
        self.result.show("Asking for the list of models …")
        self.asking = threading.Thread(target=self._ask, name="llmkit-models", daemon=True)
        self.asking.start()

    def _ask(self) -> None:
        try:
            self._offer_models(self._kit.test_connection(self._provider).result())
        except LlmkitError as error:
            self.result.show(f"The connection does not work. {error}", "bad")
        finally:
            self.test_button.disabled = False

    @in_turn
    def _offer_models(self, remote: Sequence[RemoteModel]) -> None:
        known = self._kit.catalog.state().models
        self._found = {model.model_id: model for model in remote if f"{self._provider}:{model.model_id}" not in known}
        listed = f"The connection works. Models listed: {len(remote):,}"
        if not self._found:
            self.result.show(f"{listed}; all of them are in the catalog.", "good")
            return
        self.result.show(f"{listed}, new: {len(self._found):,}. Hold Ctrl or Shift to select several.", "good")
        self.choice.options = sorted(self._found)
        self._offer.children = (self.choice, line(self.add_button))

    def add(self) -> str:
        """Add the selected models with the listed details; prices that are not listed stay unknown."""
        chosen = self.choice.value
        for model_id in chosen:
            columns = {**dict.fromkeys(RATE_COLUMNS[:2]), **listed_columns(self._found[model_id])}
            self._kit.catalog.add_model(f"{self._provider}:{model_id}", **columns)
        self._offer.children = ()
        self.result.clear()
        return f"Added {', '.join(chosen)}." if chosen else "No model is selected."

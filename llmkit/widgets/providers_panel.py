"""The panel of providers: their limits, addresses and keys, and the form to add one."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from llmkit.catalog.changes import provider_changes
from llmkit.errors import LlmkitError
from llmkit.records import Provider
from llmkit.widgets import html, provider_form
from llmkit.widgets.catalog_panel import EntriesPanel
from llmkit.widgets.form import Form
from llmkit.widgets.model_rows import key_badge, key_states
from llmkit.widgets.panel import line
from llmkit.widgets.protocols import HasCatalog
from llmkit.widgets.provider_detail import ProviderDetail
from llmkit.widgets.table import Column, Row, Table

COLUMNS = (
    Column(title="Key", width="minmax(150px, 1fr)"),
    Column(title="Parallel", width="52px", right=True),
    Column(title="Req/min", width="60px", right=True),
    Column(title="Tokens/min", width="72px", right=True),
    Column(title="Models", width="minmax(60px, 110px)", right=True),
)


class ProvidersPanel(EntriesPanel):
    """All providers. Select one to change its limits or address, or to test its connection.

    ``table`` shows them, ``detail`` is the selected one.
    """

    title = "Providers"
    detail: ProviderDetail

    def __init__(self, kit: HasCatalog) -> None:
        super().__init__(kit, Table(COLUMNS, name="Provider"), "Add provider")
        self.detail = ProviderDetail(kit, self)
        tools = line(self.add_button, self.undo_button, self.refresh_button)
        self._lay_out(tools, self.notice.widget, self._place)

    @property
    def df(self) -> pd.DataFrame:
        """The providers, as ``kit.catalog.providers()``."""
        return self._catalog.providers()

    def refresh(self) -> None:
        """Show the current catalog."""
        state = self._catalog.state()
        active = Counter(model.provider for model in state.models.values() if model.is_active)
        keys = key_states(self._kit, state.providers)
        self.table.rows = tuple(_row(provider, keys[name], active[name]) for name, provider in state.providers.items())
        self.detail.update(state.providers)

    # --- adding one ---

    def _open_form(self) -> None:
        hint = "Any endpoint that speaks OpenAI's format: Ollama, vLLM, LM Studio, OpenRouter. The key itself stays in "
        hint += "an environment variable, whose name goes here."
        form = provider_form.add_form(lambda: self._submit(form), self._close_form)
        self._open(form, html.heading("Add a provider") + html.quiet(hint))

    def _submit(self, form: Form, approved: tuple[str, str] | None = None) -> None:
        """Add the provider. If it has a key, that the key will be sent to its address must have been ``approved``."""
        form.withdraw()
        try:
            _, values = provider_form.new_provider(form)
            values = provider_changes(values)
        except LlmkitError as error:
            form.refuse(error)
            return
        key, url = values.get("api_key_env"), values["base_url"]
        if key and (key, url) != approved:
            question = f"The key in {key} will be sent to {url}. Is that right?"
            form.ask(question, "Approve and add", lambda: self._submit(form, (key, url)))
        else:
            self._add(form, lambda: self._added(form, approve_origin=(key, url) == approved))

    def _added(self, form: Form, *, approve_origin: bool) -> tuple[str, str]:
        name, values = provider_form.new_provider(form)
        added = self._catalog.add_provider(name, approve_origin=approve_origin, **values)
        return name, f"Added {added.display_name}. Test the connection to see its models."


def _row(provider: Provider, key_status: str, active: int) -> Row:
    badges = key_badge(provider, key_status)
    if not provider.is_enabled:
        badges = html.badge("disabled", "bad") + " " + badges
    return Row(
        key=provider.name,
        name=provider.display_name,
        cells=(
            badges,
            str(provider.max_parallel_requests),
            f"{provider.requests_per_minute:,}",
            "–" if provider.tokens_per_minute is None else f"{provider.tokens_per_minute:,}",
            f"{active} active",
        ),
        tooltip=f"{provider.display_name}: {provider.base_url}",
    )

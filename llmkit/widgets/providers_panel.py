"""The panel of providers: their limits, addresses and keys, connection tests, and the form to add one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from llmkit.catalog.changes import provider_changes
from llmkit.errors import LlmkitError, OriginNotApproved
from llmkit.records import Provider
from llmkit.widgets import html, provider_form
from llmkit.widgets.catalog_panel import Detail, EntriesPanel, FollowingPanel
from llmkit.widgets.form import Form
from llmkit.widgets.model_rows import key_badge, key_states
from llmkit.widgets.panel import line, shown
from llmkit.widgets.protocols import HasCatalog
from llmkit.widgets.remote_models import RemoteModels
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


class ProviderDetail(Detail):
    """``form`` is the form of the selected provider, ``remote`` its connection test; ``None`` when none is selected."""

    def __init__(self, kit: HasCatalog, panel: FollowingPanel) -> None:
        super().__init__()
        self._kit = kit
        self._panel = panel
        self._provider: Provider | None = None
        self.remote: RemoteModels | None = None
        self.delete_button = panel.button("Delete", self._ask_delete, tooltip="Only if no run has used it")
        self.widget.children = (self._title, self._place)

    def show(self, key: str | None) -> None:
        """Show a provider, or none."""
        self.close()
        self._provider = self._kit.catalog.provider(key) if key else None
        shown(self.widget, self._provider is not None)
        if self._provider is None:
            self.form = self.remote = None
            return
        self.remote = RemoteModels(self._kit, self._panel, self._provider.name)
        self._fill(self._provider)

    def update(self, providers: Mapping[str, Provider]) -> None:
        """Show the catalog's current values, unless the user has changed the form or may be typing in it."""
        if self._provider is not None and self.form is not None:
            now = providers[self._provider.name]
            if now != self._provider and not self.form.touched(*self.form.fields):
                if self._panel.is_following:
                    self.form.say_changed()
                else:
                    self._fill(now)

    def _fill(self, provider: Provider) -> None:
        self._provider = provider
        key = key_states(self._kit, {provider.name: provider})[provider.name]
        self._title.value = html.heading(provider.display_name, html.muted(provider.name), key_badge(provider, key)) + (
            html.quiet(f"Set the environment variable {provider.api_key_env}, then restart the kernel.")
            if key == "missing"
            else ""
        )
        form = provider_form.edit_form(provider, lambda: self._save(form, provider), self._reread)
        self.form = form
        remote = () if self.remote is None else (self.remote.widget,)
        self._place.children = (form.widget, self.notice.widget, *remote, line(self.delete_button))

    def _reread(self) -> None:
        if self._provider is not None:
            self._fill(self._kit.catalog.provider(self._provider.name))

    def _save(self, form: Form, provider: Provider, *, approve_origin: bool = False) -> None:
        if form is not self.form:  # a second click, after the first one filled another
            return

        def save() -> str:
            form.withdraw()
            changes = form.changes()
            if not changes:
                return "Nothing was changed."
            saved = self._kit.catalog.update_provider(
                provider.name, approve_origin=approve_origin, expected_updated_at=provider.updated_at, **changes
            )
            self._fill(saved)
            return f"Saved {saved.display_name}. Running runs use the new limits at once."

        def refuse(error: LlmkitError) -> None:
            if isinstance(error, OriginNotApproved):
                self._ask_approval(form, provider)
            else:
                form.refuse(error)

        self._panel.act(save, on_error=refuse, at=self.notice)

    def _ask_delete(self) -> None:
        provider, form = self._provider, self.form
        if provider is None or form is None:
            return

        def ask() -> None:
            self._kit.catalog.check_deletable(provider.name)
            question = f"Delete {provider.display_name} and its models? Undo brings them back."
            form.ask(question, "Delete", lambda: self._delete(form, provider.name))

        form.withdraw()
        self._panel.act(ask, at=self.notice)

    def _delete(self, form: Form, name: str) -> None:
        form.withdraw()
        deleted = self._kit.catalog.delete_provider
        self._panel.act(
            lambda: f"Deleted {deleted(name).display_name}.", on_error=lambda error: self.notice.show(str(error), "bad")
        )

    def _ask_approval(self, form: Form, provider: Provider) -> None:
        url = form["base_url"].control.value
        key = f"the key in {provider.api_key_env}" if provider.api_key_env else "your prompts"
        question = (
            f"{url} is a new address for {provider.display_name}. May {key} be sent there? "
            "Approve it only if you trust whoever runs it."
        )

        def approve() -> None:  # the address that the question names, not what was typed since
            self._save(form, provider, approve_origin=form["base_url"].control.value == url)

        form.ask(question, "Approve and save", approve)

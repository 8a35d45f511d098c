"""Panels on the screen follow what is changed in the catalog by code or in other panels, without a click."""

import threading
from contextlib import contextmanager

import pytest
from widget_actions import buttons, text_of, type_into

from llmkit.widgets.infra_panel import InfraPanel
from llmkit.widgets.models_panel import ModelsPanel
from llmkit.widgets.providers_panel import ProvidersPanel
from llmkit.widgets.run_form import RunForm

HAIKU = "anthropic:claude-haiku-5-5"


@contextmanager
def seen(panel):
    """Wait at the end of the block until the panel has followed a change that was made in it."""
    followed, renew = threading.Event(), panel.renew
    panel.renew = lambda: (renew(), followed.set())
    yield
    assert followed.wait(60)


@pytest.mark.parametrize("make", [ModelsPanel, InfraPanel, RunForm])
def test_a_change_by_code_reaches_an_open_panel(kit, make):
    """A new price is shown by every panel that shows prices, although nobody pressed Refresh."""
    panel = make(kit)
    panel.follow()
    with seen(panel):
        kit.catalog.update_model(HAIKU, cost_input_per_million="4.25")
    assert "4.25" in text_of(panel.widget) + str(getattr(panel, "choices", {HAIKU: ""}))


def test_a_change_in_one_panel_reaches_another(kit):
    """Limits that are saved in one form are in the table of the other."""
    one, other = ProvidersPanel(kit), ProvidersPanel(kit)
    one.follow()
    other.follow()
    one.table.selected = "openai"
    with seen(other):
        type_into(one.detail.form, requests_per_minute="4321")
        one.detail.form.submit_button.click()
    assert "4,321" in text_of(other.widget)
    assert "Saved" in one.detail.notice.text


def test_what_is_typed_stays_while_a_panel_follows(kit):
    """Filters, settings and an open form keep what they hold; the form of a changed provider offers to be reloaded."""
    models, form, providers = ModelsPanel(kit), RunForm(kit), ProvidersPanel(kit)
    models.table.text.value = "haiku"
    type_into(form.form, prompts="Why?", budget="3")
    providers.table.selected = "openai"
    filled = providers.detail.form
    for panel in (models, form, providers):
        panel.follow()
    with seen(models), seen(form), seen(providers):
        kit.catalog.update_provider("openai", requests_per_minute=4321)
    assert models.table.text.value == "haiku"
    assert (form.form["prompts"].control.value, form.form["budget"].control.value) == ("Why?", "3")
    assert providers.detail.form is filled
    assert filled["requests_per_minute"].control.value == "100000"  # the user may be typing what has not arrived yet
    assert "changed elsewhere" in filled.error.text
    buttons(filled.aside)["Reload"].click()
    assert providers.detail.form["requests_per_minute"].control.value == "4321"

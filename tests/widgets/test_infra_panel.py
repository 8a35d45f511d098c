from datetime import date

import pytest
from widget_actions import text_of

from llmkit.catalog import Access
from llmkit.catalog.infra_models import choose
from llmkit.widgets.infra_panel import InfraPanel
from llmkit.widgets.settings_panel import SettingsPanel

LUNA = "openai:gpt-6-luna"


@pytest.fixture
def panel(kit):
    """The panel under test."""
    return InfraPanel(kit)


def labels_of(panel):
    """What the dropdown for summarization says of each model."""
    return {reference: label for label, reference in panel.choices["summarization"].options}


def test_choosing_sets_the_model_of_that_task_only(panel, kit):
    """The dropdown of one task leaves the other as it is."""
    panel.choices["summarization"].value = "mistral:mistral-small-2603"
    assert kit.catalog.infra_model("summarization").reference == "mistral:mistral-small-2603"
    assert kit.catalog.infra_model("scenario_expansion").reference == LUNA
    assert "mistral:mistral-small-2603" in panel.notice.text


def test_looking_changes_nothing(panel, events):
    """Opening and refreshing the panel writes nothing."""
    before = events()
    panel.refresh_button.click()
    assert events() == before


def test_models_are_offered_by_provider_cheapest_first(panel, kit):
    """Providers stay together; within one, the price rises; deprecated models are not offered."""
    state = kit.catalog.state()
    offered = [state.models[reference] for _, reference in panel.choices["summarization"].options]
    assert {model.reference for model in offered} == {
        model.reference for model in state.models.values() if model.is_active
    }
    seen = [model.provider for model in offered]
    assert [name for i, name in enumerate(seen) if i == 0 or seen[i - 1] != name] == list(dict.fromkeys(seen))
    prices = [3 * m.cost_input_per_million + m.cost_output_per_million for m in offered if m.provider == "openai"]
    assert prices == sorted(prices)


def test_a_search_narrows_the_choice_and_chooses_nothing(panel, kit, events):
    """Words of a name, a provider or an id; what is set stays in the list."""
    before = events()
    panel.search.value = "anthropic haiku"
    assert set(labels_of(panel)) == {LUNA, "anthropic:claude-haiku-5-5", "anthropic:claude-haiku-4-5"}
    panel.search.value = ""
    assert len(labels_of(panel)) == len(kit.catalog.models(status="ACTIVE"))
    assert events() == before


def test_models_without_a_key_are_marked(keyless_kit):
    """Each option says what stands in its way."""
    panel = InfraPanel(keyless_kit)
    labels = labels_of(panel)
    assert "OPENAI_API_KEY is not set" in labels[LUNA]
    assert "not set" not in labels["mistral:mistral-small-2603"]


def test_without_its_key_the_panel_says_what_is_used_now_and_why(keyless_kit):
    """The chosen model stays chosen; the cheapest that can be asked steps in."""
    panel = InfraPanel(keyless_kit)
    shown = text_of(panel.widget)
    assert panel.choices["summarization"].value == LUNA
    assert "OPENAI_API_KEY is not set" in shown
    row = panel.df.set_index("purpose").loc["summarization"]
    assert row["model"] == LUNA
    assert row["used_now"].startswith("mistral:")
    assert row["used_now"] in shown


@pytest.mark.parametrize("purpose", ["scenario_expansion", "summarization"])
def test_the_stand_in_that_is_named_is_the_one_that_tasks_take(keyless_kit, purpose):
    """The panel names the model that an internal task would ask now."""
    catalog = keyless_kit.catalog
    taken = choose(Access(catalog.state(), catalog.has_key, date(2026, 11, 26)), purpose, structured=True)
    assert InfraPanel(keyless_kit).df.set_index("purpose").loc[purpose, "used_now"] == taken.model.reference


def test_without_any_key_the_panel_says_what_to_do(keyless_kit, monkeypatch):
    """No model is left: a sentence, not an error."""
    monkeypatch.delenv("MISTRAL_API_KEY")
    panel = InfraPanel(keyless_kit)
    assert "or set a provider" in text_of(panel.widget)


def test_a_deprecated_choice_is_shown_and_marked(kit):
    """What is set is always shown, also when it can no longer be chosen."""
    kit.catalog.deprecate_model(LUNA)
    panel = InfraPanel(kit)
    assert panel.choices["summarization"].value == LUNA
    assert "deprecated" in labels_of(panel)[LUNA]
    assert "deprecated" in text_of(panel.widget)


def test_a_choice_that_retires_is_said_to(kit):
    """It is used all the same, until another is chosen."""
    kit.catalog.update_model(LUNA, retires_on="2026-01-31")
    assert f"{LUNA} is used now. {LUNA} was retired on 2026-01-31." in text_of(InfraPanel(kit).widget)


def test_choosing_what_was_deprecated_meanwhile_is_refused(panel, kit):
    """The catalog's sentence appears and the dropdown shows what is set."""
    kit.catalog.deprecate_model("mistral:mistral-small-2603")
    panel.choices["summarization"].value = "mistral:mistral-small-2603"
    assert "deprecated" in panel.notice.text
    assert kit.catalog.infra_model("summarization").reference == LUNA
    assert panel.choices["summarization"].value == LUNA


def test_a_saved_notebook_shows_the_choices(panel):
    """Plain text and a table with the task and its model."""
    bundle = panel._repr_mimebundle_()
    for kind in ("text/html", "text/plain"):
        assert "Scenario expansion" in bundle[kind]
        assert LUNA in bundle[kind]


# --- all of them as tabs ---


def test_the_settings_panel_has_the_three_forms_as_tabs(kit):
    """Models, Providers, Infrastructure; each with everything it has alone."""
    panel = SettingsPanel(kit)
    assert panel.tabs.titles == ("Models", "Providers", "Infrastructure")
    assert panel.tabs.children == (panel.models.widget, panel.providers.widget, panel.infra.widget)
    assert panel.df.equals(kit.catalog.settings())


def test_a_tab_shows_what_another_tab_changed(kit):
    """A price that was edited under Models is in the dropdown under Infrastructure."""
    panel = SettingsPanel(kit)
    kit.catalog.update_model(LUNA, cost_input_per_million="4.25")
    panel.tabs.selected_index = 2
    assert "$4.25" in labels_of(panel.infra)[LUNA]


def test_a_saved_notebook_shows_all_three(kit):
    """The bundle of the tabs holds the tables of all."""
    text = SettingsPanel(kit)._repr_mimebundle_()["text/plain"]
    for part in ("Models", "Providers", "Infrastructure models", "Claude Haiku 5.5", "MISTRAL_API_KEY", LUNA):
        assert part in text

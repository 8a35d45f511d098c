"""Forms speak of their own fields and buttons, and read numbers as people write them."""

import re

import pytest
from widget_actions import buttons, errors, press_enter, text_of, type_into

from llmkit.errors import ValidationError
from llmkit.kit import open_kit
from llmkit.widgets import html
from llmkit.widgets.typed_values import read_whole

LUNA = "openai:gpt-6-luna"
CODE = re.compile(r"\w+\([^)]*\)|\b[a-z]+_[a-z_]+\b|\w=\w")
"""A call, an argument's name or a keyword argument."""


def add(panel, **typed):
    """The panel's form to add something, filled in and submitted."""
    panel.add_button.click()
    type_into(panel.form, **typed)
    panel.form.submit_button.click()
    return panel.form


def test_what_is_there_already_is_said_in_words_of_the_form(kit):
    """A second model or provider of a name: the sentence names the button that changes the first."""
    models, providers = kit.models_panel(), kit.providers_panel()
    form = add(models, model_id="m")
    form = add(models, model_id="m")
    provider = next(iter(kit.catalog.state().providers))
    assert errors(form) == {"model_id": f"There is a model '{provider}:m' already; Edit changes it."}
    form = add(providers, name="openai", base_url="http://localhost:1/v1")
    assert errors(form) == {"name": "There is a provider 'openai' already; the provider's form changes it."}


def test_a_price_of_long_inputs_is_named_by_its_own_field(kit):
    """Too dear a price stands beside its field, by that field's name alone."""
    panel = kit.models_panel()
    panel.table.reveal(LUNA)
    panel.detail.edit_button.click()
    form = panel.detail.form
    type_into(form, tier_output="10000000000000")
    press_enter(form["tier_output"])
    assert errors(form) == {"tier_output": "Long output price must be below 10,000,000,000."}


def test_a_provider_that_cannot_be_is_not_asked_about(kit):
    """Nonsense as an address or a variable is refused before the question whether a key may be sent there."""
    panel = kit.providers_panel()
    form = add(panel, name="lab", base_url="nonsense", api_key_env="LAB_KEY")
    assert list(errors(form)) == ["base_url"]
    assert not form.aside.children
    type_into(form, base_url="https://llm.example.org/v1", api_key_env="my key")
    form.submit_button.click()
    assert list(errors(form)) == ["api_key_env"]
    assert not form.aside.children
    type_into(form, api_key_env="LAB_KEY")
    form.submit_button.click()
    assert "The key in LAB_KEY will be sent to https://llm.example.org/v1." in text_of(form.aside)


def test_what_cannot_be_deleted_is_said_in_words(kit):
    """A provider that came with llmkit."""
    panel = kit.providers_panel()
    panel.table.selected = "openai"
    panel.detail.delete_button.click()
    assert panel.detail.notice.text == "openai comes with llmkit: disable it instead."


def test_no_sentence_of_a_form_without_keys_speaks_of_functions(keyless_kit, monkeypatch):
    """No key at all: the forms open, say what is missing, and name variables and buttons only."""
    monkeypatch.delenv("MISTRAL_API_KEY")
    infra, run = keyless_kit.infra_panel(), keyless_kit.run_form("a")
    told = [place.text for place in infra._now.values()]
    run.start_button.click()
    told += [run.picker.error.text, run.notice.text, run.form.error.text]
    assert "Tick at least one model." in told
    assert [words for words in told if CODE.search(re.sub(r"[A-Z]+_API_KEY", "", words))] == []


@pytest.mark.parametrize(("typed", "number"), [("60", 60), ("200,000", 200_000), ("1_000_000", 1_000_000), (" 7 ", 7)])
def test_a_whole_number_is_read_as_people_write_it(typed, number):
    """With and without separators of thousands."""
    assert read_whole(typed, "Samples") == number


@pytest.mark.parametrize("typed", ["1,5", "1,50", "0", "000", "-1", "1.5", "1,0000", "१२", "1e3", "9" * 99])
def test_a_decimal_comma_makes_no_large_number(typed):
    """Half a sample is refused, not taken for fifteen."""
    with pytest.raises(ValidationError, match="Samples: type a whole number"):
        read_whole(typed, "Samples")


def test_a_column_of_words_keeps_its_distance_from_numbers():
    """In a saved panel, "1M" does not run into "active"."""
    page = html.table(["Context", "Status"], [("1M", "active")], right=["Context"])
    assert re.search(r'padding: 3px 12px 3px 0; text-align: right[^"]*">1M<', page)


@pytest.mark.parametrize("name", ["models_panel", "providers_panel", "infra_panel", "run_form"])
def test_no_button_of_a_closed_kits_panels_raises(database, name):
    """Whatever is clicked: what cannot be done any more is said in the panel, with the way back."""
    kit = open_kit(database, simulate=True)
    panel = getattr(kit, name)()
    if name in ("models_panel", "providers_panel"):
        panel.table.selected = panel.table.visible[0].key
    kit.close()
    for each in buttons(panel.widget).values():
        each.click()
    panel.notice.clear()
    panel.refresh_button.click()
    assert panel.notice.text.startswith("This kit is closed") or name == "infra_panel"  # which needs the catalog alone

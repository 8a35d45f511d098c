from dataclasses import replace
from decimal import Decimal

import pytest
from widget_actions import buttons, errors, press_enter, text_of, type_into

from llmkit.errors import LlmkitError
from llmkit.widgets.provider_form import edit_form
from llmkit.widgets.providers_panel import ProvidersPanel


@pytest.fixture
def panel(kit):
    """The panel under test."""
    return ProvidersPanel(kit)


def select(panel, name):
    """Click on a provider; returns its form."""
    panel.table.lines[name].control.click()
    return panel.detail.form


def open_add(panel, **typed):
    """Open the form to add a provider, and type."""
    panel.add_button.click()
    type_into(panel.form, **{"name": "lab", "base_url": "http://localhost:11434/v1"} | typed)
    return panel.form


def test_providers_are_listed_with_limits_and_key_status(keyless_kit):
    """A row shows the key's variable and whether it is set, never the key, and the limits in force."""
    panel = ProvidersPanel(keyless_kit)
    cells = {row.key: " ".join(row.cells) for row in panel.table.rows}
    assert "key set: MISTRAL_API_KEY" in cells["mistral"]
    assert "key missing: OPENAI_API_KEY" in cells["openai"]
    shown = text_of(panel.widget) + str(panel._repr_mimebundle_())
    assert "test-key" not in shown
    limit = keyless_kit.catalog.provider("openai").requests_per_minute
    assert f"{limit:,}" in cells["openai"]


def test_a_missing_key_says_what_to_do(keyless_kit):
    """The selected provider names the variable to set."""
    panel = ProvidersPanel(keyless_kit)
    select(panel, "openai")
    assert "Set the environment variable OPENAI_API_KEY" in text_of(panel.detail.widget)


def test_limits_are_changed(panel, kit):
    """What was typed is in the catalog and in the row; the second of two clicks says nothing else."""
    form = select(panel, "openai")
    type_into(form, max_parallel_requests="9", requests_per_minute="1,200", tokens_per_minute="80000")
    form.submit_button.click()
    form.submit_button.click()
    assert panel.detail.notice.text.startswith("Saved OpenAI.")
    provider = kit.catalog.provider("openai")
    assert (provider.max_parallel_requests, provider.requests_per_minute) == (9, 1200)
    assert provider.tokens_per_minute == 80_000
    cells = next(row.cells for row in panel.table.rows if row.key == "openai")
    assert cells[1:4] == ("9", "1,200", "80,000")


def test_a_dialect_is_chosen_or_left_to_the_address(panel, kit):
    """A new provider speaks as its address says unless one is chosen; an entry with an unknown one opens as it is."""
    open_add(panel, base_url="https://openrouter.ai/api/v1").submit_button.click()
    assert kit.catalog.provider("lab").dialect == "openrouter"
    open_add(panel, name="other", dialect="xai").submit_button.click()
    assert kit.catalog.provider("other").dialect == "xai"
    form = panel.detail.form  # what was added is selected
    assert form["dialect"].control.value == "xai"
    form["dialect"].show(None)
    assert form["dialect"].control.label == "standard"  # and not nothing
    form.submit_button.click()
    assert kit.catalog.provider("other").dialect is None
    stranger = edit_form(replace(kit.catalog.provider("other"), dialect="klingon"), lambda: None, lambda: None)
    assert stranger["dialect"].control.value == "klingon"


def test_everything_else_is_changed(panel, kit):
    """Name, default prices and the switch; an emptied limit is none."""
    kit.catalog.update_provider("openai", tokens_per_minute=5)
    panel.refresh_button.click()
    form = select(panel, "openai")
    type_into(
        form,
        display_name="Open AI",
        default_cost_input_per_million="1.5",
        default_cost_output_per_million="2",
        tokens_per_minute="",
        is_enabled=False,
    )
    press_enter(form["display_name"])
    provider = kit.catalog.provider("openai")
    assert (provider.display_name, provider.is_enabled, provider.tokens_per_minute) == ("Open AI", False, None)
    assert provider.default_cost_input_per_million == Decimal("1.5")
    assert "disabled" in next(row.cells[0] for row in panel.table.rows if row.key == "openai")


def test_saving_nothing_writes_nothing(panel, events):
    """Save on an untouched form leaves no trace."""
    before = events()
    select(panel, "openai").submit_button.click()
    assert events() == before
    assert panel.detail.notice.text == "Nothing was changed."


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("max_parallel_requests", "0"),
        ("max_parallel_requests", "1000000000"),
        ("max_parallel_requests", ""),
        ("max_parallel_requests", "-2"),
        ("max_parallel_requests", "many"),
        ("requests_per_minute", "0"),
        ("requests_per_minute", "1.5"),
        ("tokens_per_minute", "0"),
        ("base_url", "api.openai.com/v1"),
        ("base_url", ""),
        ("base_url", "http://example.org/v1"),
        ("base_url", "https://user:pass@example.org/v1"),
        ("default_cost_input_per_million", "-1"),
        ("display_name", "x" * 201),
    ],
)
def test_what_makes_no_sense_is_said_beside_its_field(panel, events, field, typed):
    """A sentence beside the field, what was typed stays, and nothing is written."""
    before = events()
    form = select(panel, "openai")
    type_into(form, **{field: typed})
    form.submit_button.click()
    assert list(errors(form)) == [field]
    assert len(errors(form)[field]) > 15
    assert form[field].control.value == typed
    assert panel.detail.form is form
    assert events() == before


def test_a_new_address_is_approved_before_the_key_goes_there(panel, kit, events):
    """Another origin asks first; only the approval writes it."""
    before = events()
    form = select(panel, "openai")
    type_into(form, base_url="https://proxy.example.org/v1")
    form.submit_button.click()
    question = text_of(form.aside)
    assert "https://proxy.example.org/v1" in question
    assert "OPENAI_API_KEY" in question
    assert events() == before
    buttons(form.aside)["Cancel"].click()
    assert events() == before
    form.submit_button.click()
    buttons(form.aside)["Approve and save"].click()
    assert kit.catalog.provider("openai").base_url == "https://proxy.example.org/v1"


def test_what_was_typed_for_another_provider_is_not_lost_without_a_word(panel):
    """Choosing another row, or none, with unsaved changes says so; without, it says nothing."""
    type_into(select(panel, "openai"), requests_per_minute="77")
    select(panel, "xai")
    assert panel.detail.notice.text == "What you typed for openai was not saved."
    type_into(select(panel, "openai"), requests_per_minute="77")
    assert not panel.detail.notice.text
    panel.table.lines["openai"].control.click()
    assert panel.notice.text == "What you typed for openai was not saved."


def test_only_the_address_in_the_question_is_approved(panel, kit):
    """Another that was typed meanwhile is asked about anew, for a new provider too."""
    form = select(panel, "openai")
    type_into(form, base_url="https://proxy.example.org/v1")
    form.submit_button.click()
    type_into(form, base_url="https://elsewhere.example.org/v1")
    buttons(form.aside)["Approve and save"].click()
    assert "elsewhere" in text_of(form.aside)
    assert kit.catalog.provider("openai").base_url == "https://api.openai.com/v1"
    form = open_add(panel, base_url="https://openrouter.ai/api/v1", api_key_env="OPENROUTER_API_KEY")
    form.submit_button.click()
    type_into(form, base_url="https://elsewhere.example.org/v1")
    buttons(form.aside)["Approve and add"].click()
    assert "elsewhere" in text_of(form.aside)
    assert "lab" not in kit.catalog.state().providers
    buttons(form.aside)["Approve and add"].click()
    assert kit.catalog.provider("lab").base_url == "https://elsewhere.example.org/v1"


def test_an_address_on_this_machine_needs_no_approval(panel, kit):
    """A local proxy is saved at once."""
    form = select(panel, "openai")
    type_into(form, base_url="http://localhost:4000/v1")
    form.submit_button.click()
    assert kit.catalog.provider("openai").base_url == "http://localhost:4000/v1"


def test_a_provider_changed_elsewhere_is_not_overwritten(panel, kit):
    """The form says so and keeps what was typed until it is read again."""
    form = select(panel, "openai")
    type_into(form, max_parallel_requests="9")
    kit.catalog.update_provider("openai", max_parallel_requests=7)
    form.submit_button.click()
    assert "changed elsewhere" in form.error.text
    assert form["max_parallel_requests"].control.value == "9"
    assert kit.catalog.provider("openai").max_parallel_requests == 7
    buttons(form.aside)["Reload"].click()
    assert panel.detail.form["max_parallel_requests"].control.value == "7"


def test_refresh_shows_what_changed_elsewhere_but_keeps_what_was_typed(panel, kit):
    """An untouched form follows the catalog; a touched one waits."""
    select(panel, "openai")
    kit.catalog.update_provider("openai", max_parallel_requests=7)
    panel.refresh_button.click()
    form = panel.detail.form
    assert form["max_parallel_requests"].control.value == "7"
    type_into(form, requests_per_minute="11")
    kit.catalog.update_provider("openai", max_parallel_requests=8)
    panel.refresh_button.click()
    assert panel.detail.form is form
    assert form["requests_per_minute"].control.value == "11"


# --- adding ---


def test_a_local_provider_is_added_and_selected(panel, kit):
    """An endpoint without a key is added at once, with the limits that were typed."""
    form = open_add(panel, display_name="The lab", max_parallel_requests="3")
    form.submit_button.click()
    provider = kit.catalog.provider("lab")
    assert (provider.display_name, provider.base_url, provider.api_key_env) == (
        "The lab",
        "http://localhost:11434/v1",
        None,
    )
    assert (provider.max_parallel_requests, provider.requests_per_minute) == (3, 60)
    assert panel.form is None
    assert panel.table.selected == "lab"
    assert panel.detail.remote is not None


def test_a_provider_with_a_key_is_approved_first(panel, kit, events, recwarn):
    """Adding asks whether the key may go to that address."""
    before = events()
    form = open_add(panel, base_url="https://openrouter.ai/api/v1", api_key_env="OPENROUTER_API_KEY")
    form.submit_button.click()
    assert "OPENROUTER_API_KEY" in text_of(form.aside)
    assert events() == before
    buttons(form.aside)["Approve and add"].click()
    assert kit.catalog.provider("lab").api_key_env == "OPENROUTER_API_KEY"
    assert "not sent" not in panel.notice.text
    assert not recwarn.list


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("name", ""),
        ("name", "My Lab"),
        ("name", "openai"),
        ("base_url", "localhost:11434"),
        ("base_url", ""),
        ("api_key_env", "sk-123"),
        ("max_parallel_requests", "0"),
        ("requests_per_minute", "x"),
    ],
)
def test_a_bad_new_provider_is_said_beside_its_field(panel, events, field, typed):
    """A sentence beside the field, what was typed stays, and nothing is written."""
    before = events()
    form = open_add(panel, **{field: typed})
    form.submit_button.click()
    if "Approve and add" in buttons(form.aside):
        buttons(form.aside)["Approve and add"].click()
    assert list(errors(form)) == [field]
    assert form[field].control.value == typed
    assert panel.form is form
    assert events() == before


def test_cancel_adds_no_provider(panel, events):
    """Cancel closes the form."""
    before = events()
    open_add(panel).cancel_button.click()
    assert panel.form is None
    assert events() == before


def test_a_provider_is_deleted_when_no_run_has_asked_it(panel, kit):
    """After a question; one that came with llmkit is refused without one; undo brings a deleted one back."""
    open_add(panel).submit_button.click()
    panel.detail.delete_button.click()
    buttons(panel.detail.form.aside)["Delete"].click()
    assert "lab" not in kit.catalog.state().providers
    assert panel.detail.widget.layout.display == "none"
    assert panel.notice.text == "Deleted lab."
    select(panel, "openai")
    panel.detail.delete_button.click()
    assert "comes with llmkit" in panel.detail.notice.text
    assert not buttons(panel.detail.form.aside)
    panel.undo_button.click()
    assert panel.notice.text == "Undid: lab: deleted."
    assert "lab" in {row.key for row in panel.table.rows}
    select(panel, "lab")
    panel.undo_button.click()
    assert panel.notice.text == "Undid: lab: added."
    assert panel.detail.widget.layout.display == "none"


# --- testing the connection ---


def test_a_connection_lists_models_to_add(panel, kit):
    """The provider's own list, without what the catalog has; the selected ones are added."""
    kit.catalog.add_provider("lab", base_url="http://localhost:11434/v1")
    panel.refresh_button.click()
    select(panel, "lab")
    remote = panel.detail.remote
    remote.test_button.click()
    remote.asking.join(60)
    assert "The connection works" in remote.result.text
    chosen = remote.choice.options
    remote.choice.value = chosen
    remote.add_button.click()
    assert list(kit.catalog.models("lab")["model_id"]) == list(chosen)
    remote.test_button.click()
    remote.asking.join(60)
    assert "all of them are in the catalog" in remote.result.text


def test_a_connection_that_fails_says_why(keyless_kit):
    """Nothing listens there: a sentence, and the button can be used again."""
    keyless_kit.catalog.add_provider("lab", base_url="http://localhost:9/v1")
    panel = ProvidersPanel(keyless_kit)
    select(panel, "lab")
    remote = panel.detail.remote
    remote.test_button.click()
    remote.asking.join(60)
    assert "The connection does not work" in remote.result.text
    assert not remote.test_button.disabled
    with pytest.raises(LlmkitError):
        keyless_kit.test_connection("lab").result(20)


# --- as data, and for people without a kernel ---


def test_df_is_the_catalogs_own_table(panel, kit):
    """``panel.df`` is what code would read."""
    assert panel.df.equals(kit.catalog.providers())


def test_a_saved_notebook_shows_the_providers(panel):
    """Plain text and a table with names, keys' variables and limits."""
    bundle = panel._repr_mimebundle_()
    for kind in ("text/html", "text/plain"):
        assert "Mistral AI" in bundle[kind]
        assert "MISTRAL_API_KEY" in bundle[kind]

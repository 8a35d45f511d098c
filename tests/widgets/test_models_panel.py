from collections import Counter
from datetime import date
from decimal import Decimal

import pytest
from widget_actions import buttons, errors, press_enter, text_of, type_into

from llmkit.kit import open_kit
from llmkit.money.amounts import dollars
from llmkit.widgets.infra_panel import InfraPanel
from llmkit.widgets.models_panel import ModelsPanel
from llmkit.widgets.providers_panel import ProvidersPanel

LUNA, SOL = "openai:gpt-6-luna", "openai:gpt-6-sol"
LUNA_BEFORE = "openai:gpt-5.6-luna"


@pytest.fixture
def panel(kit):
    """The panel under test."""
    return ModelsPanel(kit)


def select(panel, reference):
    """Find a model by its id and click on it."""
    panel.table.text.value = reference
    panel.table.lines[reference].control.click()
    return panel.detail


def open_add(panel, **typed):
    """Open the form to add a model, and type."""
    panel.add_button.click()
    type_into(panel.form, provider="openai", **typed)
    return panel.form


# --- seeing ---


def test_every_model_is_listed_with_what_it_costs(panel, kit):
    """A row shows name, id, both prices per million, context and status."""
    select(panel, LUNA)
    row = panel.table.visible[0]
    model = kit.catalog.model(LUNA)
    shown = " ".join(row.cells)
    assert row.name == model.display_name
    for part in (model.model_id, "$0.10", "$0.50", "Default", "Active"):
        assert part in shown


def test_providers_head_their_models(panel):
    """Above a provider's models stands its name, its key's variable, and how many of them are active."""
    heading = next(row.heading for row in panel.table.rows if row.key == LUNA)
    for part in ("OpenAI", "OPENAI_API_KEY", "16 active"):
        assert part in heading


def test_an_unknown_price_is_unpriced_and_a_free_model_costs_nothing(panel, kit):
    """Unknown is said in words; 0 is a price."""
    kit.catalog.add_model("openai:secret", cost_input_per_million=None, cost_output_per_million=None)
    kit.catalog.add_model("openai:gift", cost_input_per_million=0, cost_output_per_million=0)
    panel.refresh_button.click()
    cells = {row.key: " ".join(row.cells) for row in panel.table.rows}
    assert "unpriced" in cells["openai:secret"]
    assert "$0.00" not in cells["openai:secret"]
    assert cells["openai:gift"].count("$0.00") == 2


def test_a_retirement_is_announced_in_the_row(panel, kit):
    """A model that will be switched off says when."""
    kit.catalog.update_model(LUNA, retires_on=date(2099, 1, 2))
    panel.refresh_button.click()
    assert "retires 2099-01-02" in next(row.cells[-1] for row in panel.table.rows if row.key == LUNA)


def test_the_filter_finds_by_words_provider_and_status(panel):
    """Words of name or id, the provider and the status narrow the list together."""
    panel.table.text.value = "GPT luna"
    assert {row.key for row in panel.table.visible} >= {LUNA}
    assert all("luna" in row.key for row in panel.table.visible)
    panel.table.text.value = ""
    panel.table.group.value = "OpenAI"
    panel.table.status.value = "DEPRECATED"
    assert panel.table.visible
    assert all(row.key.startswith("openai:") and row.status == "DEPRECATED" for row in panel.table.visible)


def test_models_sort_by_price_within_their_provider_unpriced_last(panel, kit):
    """Once by rising price, once more by falling price; what has no price stays last."""
    kit.catalog.add_model("openai:secret", cost_input_per_million=None, cost_output_per_million=None)
    panel.refresh_button.click()
    panel.table.group.value = "OpenAI"
    for descending in (False, True):
        panel.table.sorters["input"].click()
        prices = [row.sort["input"] for row in panel.table.visible]
        assert prices[:-1] == sorted(prices[:-1], reverse=descending)
    panel.table.next.click()
    assert panel.table.visible[-1].key == "openai:secret"


def test_pages_show_twenty_five_rows_each(panel, kit):
    """The list is paged; the last page ends with the last model."""
    seen = [row.key for row in panel.table.visible]
    assert len(seen) == 25
    assert panel.table.previous.disabled
    while not panel.table.next.disabled:
        panel.table.next.click()
        seen += [row.key for row in panel.table.visible]
    assert seen == list(kit.catalog.models()["model"])


def test_a_click_opens_the_model_that_was_seen(panel):
    """Sent by a browser that had not redrawn the table for a filter yet, it still opens the model that was clicked."""
    seen = panel.table.visible[0].key
    clicked = panel.table.lines[seen].control
    panel.table.text.value = "mistral"
    assert seen not in [row.key for row in panel.table.visible]
    clicked.click()
    assert panel.table.selected == seen


def test_rows_are_rows_to_a_screen_reader(panel):
    """Roles, the order of a sorted column, and which row is selected, as ``island.mjs`` puts them on the page."""
    panel.table.sorters["input"].click()
    select(panel, LUNA)
    said = [each._dom_classes for each in _widgets(panel.table.widget) if each._dom_classes]
    roles = Counter(name for names in said for name in names if name.startswith("role="))
    assert roles == {"role=table": 1, "role=row": 3, "role=columnheader": 6, "role=rowheader": 1}
    sorts = [name for names in said for name in names if name.startswith("aria-sort=")]
    assert sorted(sorts) == ["aria-sort=ascending", "aria-sort=none", "aria-sort=none"]
    line = panel.table.lines[LUNA]
    assert "aria-selected=true" in line.box._dom_classes
    assert 'role="cell"' in line.cells.value


def _widgets(widget):
    return [widget, *(each for child in getattr(widget, "children", ()) for each in _widgets(child))]


# --- adding ---


def test_five_fields_are_shown_until_more_are_wanted(panel):
    """Provider, id, name and two prices; a refusal of another field brings them all."""
    form = open_add(panel, model_id="gpt-7", context_window="0")
    assert _shown(form) == [
        "provider", "model_id", "display_name", "cost_input_per_million", "cost_output_per_million",
    ]  # fmt: skip
    form.submit_button.click()
    assert "Context window" in errors(form)["context_window"]
    assert _shown(form) == list(form.fields)
    form.cancel_button.click()
    panel.add_button.click()
    buttons(panel.form.widget)["More fields"].click()
    assert _shown(panel.form) == list(form.fields)
    assert "More fields" not in buttons(panel.form.widget)
    assert "US dollars per million tokens" in text_of(panel.form.widget)


def _shown(form):
    return [name for name, field in form.fields.items() if field.widget.layout.display != "none"]


def test_adding_writes_the_model_and_shows_it(panel, kit):
    """All that was typed is in the catalog, and the row is there."""
    form = open_add(
        panel,
        model_id="gpt-7",
        display_name="GPT-7",
        cost_input_per_million="$1.50",
        cost_output_per_million="6",
        cost_cached_input_per_million="0.15",
        tier_above="200,000",
        tier_input="3",
        context_window="1,000,000",
        max_output_tokens="64000",
        retires_on="2099-01-02",
        set_as_default=True,
    )
    form.submit_button.click()
    model = kit.catalog.model("openai:gpt-7")
    assert (model.display_name, model.cost_input_per_million, model.cost_output_per_million) == (
        "GPT-7",
        Decimal("1.5"),
        6,
    )
    assert model.cost_cached_input_per_million == Decimal("0.15")
    assert (model.price_tiers[0].above, model.price_tiers[0].cost_input_per_million) == (200_000, 3)
    assert (model.context_window, model.max_output_tokens, model.retires_on) == (1_000_000, 64_000, date(2099, 1, 2))
    assert kit.catalog.defaults()["openai"] == model
    assert panel.form is None
    assert "openai:gpt-7" in {row.key for row in panel.table.rows}
    assert "openai:gpt-7" in panel.notice.text


def test_enter_submits(panel, kit):
    """Enter in a field does what the button does."""
    press_enter(open_add(panel, model_id="gpt-7")["model_id"])
    assert kit.catalog.model("openai:gpt-7").cost_input_per_million is None


def test_cancel_adds_nothing(panel, events):
    """Cancel closes the form and writes nothing."""
    before = events()
    open_add(panel, model_id="gpt-7").cancel_button.click()
    assert panel.form is None
    assert events() == before


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("model_id", ""),
        ("model_id", "two words"),
        ("model_id", "gpt-6-luna"),
        ("cost_input_per_million", "-1"),
        ("cost_input_per_million", "cheap"),
        ("cost_output_per_million", "NaN"),
        ("cost_output_per_million", "1,5"),
        ("cost_output_per_million", "1e30"),
        ("cost_cached_input_per_million", "0.123456789"),
        ("tier_above", "many"),
        ("tier_above", "200000"),
        ("tier_input", "-3"),
        ("context_window", "0"),
        ("context_window", "1.5"),
        ("max_output_tokens", "10000000000"),
        ("retires_on", "soon"),
        ("display_name", "x" * 201),
    ],
)
def test_what_makes_no_sense_is_said_beside_its_field(panel, events, field, typed):
    """A sentence beside the field, what was typed stays, and nothing is written."""
    before = events()
    form = open_add(panel, **{"model_id": "gpt-7", field: typed})
    form.submit_button.click()
    assert list(errors(form)) == [field]
    assert len(errors(form)[field]) > 15
    assert 'role="alert"' in form[field].error.widget.value
    assert form[field].control.value == typed
    assert panel.form is form
    assert events() == before


def test_all_bad_fields_are_named_at_once(panel):
    """Nobody has to submit twice to learn of a second slip."""
    form = open_add(panel, model_id="", cost_input_per_million="-1", retires_on="soon")
    form.submit_button.click()
    assert set(errors(form)) == {"model_id", "cost_input_per_million", "retires_on"}


def test_a_mended_field_loses_its_sentence(panel, kit):
    """After the slip is mended the form saves, and no sentence is left."""
    form = open_add(panel, model_id="gpt-7", cost_input_per_million="-1")
    form.submit_button.click()
    type_into(form, cost_input_per_million="1")
    form.submit_button.click()
    assert errors(form) == {}
    assert kit.catalog.model("openai:gpt-7").cost_input_per_million == 1


# --- editing ---


def test_editing_changes_what_was_typed_and_nothing_else(panel, kit):
    """Only the price changes; the id is shown and cannot be typed into."""
    before = kit.catalog.model(LUNA)
    detail = select(panel, LUNA)
    detail.edit_button.click()
    assert detail.form["model_id"].control.disabled
    type_into(detail.form, cost_input_per_million="0.2")
    detail.form.submit_button.click()
    after = kit.catalog.model(LUNA)
    assert after.cost_input_per_million == Decimal("0.2")
    assert (after.display_name, after.cost_output_per_million) == (before.display_name, before.cost_output_per_million)
    assert "$0.20" in panel.table.visible[0].cells[1]


def test_editing_writes_nothing_when_nothing_was_changed(panel, events):
    """Save on an untouched form leaves no trace in the history."""
    before = events()
    detail = select(panel, LUNA)
    detail.edit_button.click()
    detail.form.submit_button.click()
    assert events() == before
    assert panel.detail.notice.text == "Nothing was changed."


def test_an_emptied_price_becomes_unknown(panel, kit):
    """Empty means unknown, not 0."""
    detail = select(panel, LUNA)
    detail.edit_button.click()
    type_into(detail.form, cost_output_per_million="")
    detail.form.submit_button.click()
    assert kit.catalog.model(LUNA).cost_output_per_million is None


def test_a_tier_keeps_what_the_form_does_not_show(panel, kit):
    """Changing the long-input price leaves the tier's cached price as it is."""
    tier = {"above": 1000, "cost_input_per_million": 2, "cost_cached_input_per_million": "0.5"}
    kit.catalog.update_model(LUNA, price_tiers=[tier])
    detail = select(panel, LUNA)
    detail.edit_button.click()
    type_into(detail.form, tier_input="4")
    detail.form.submit_button.click()
    (after,) = kit.catalog.model(LUNA).price_tiers
    assert (after.above, after.cost_input_per_million, after.cost_cached_input_per_million) == (1000, 4, Decimal("0.5"))


def test_a_bad_edit_is_said_beside_its_field(panel, events):
    """As when adding: a sentence, the text stays, nothing is written."""
    before = events()
    detail = select(panel, LUNA)
    detail.edit_button.click()
    type_into(detail.form, display_name="x" * 201, cost_input_per_million="-2")
    detail.form.submit_button.click()
    assert errors(detail.form).keys() == {"cost_input_per_million"}
    type_into(detail.form, cost_input_per_million="2")
    detail.form.submit_button.click()
    assert errors(detail.form).keys() == {"display_name"}
    assert events() == before


def test_an_emptied_name_is_the_id_again(panel, kit):
    """As the field promises when it is empty."""
    detail = select(panel, LUNA)
    detail.edit_button.click()
    type_into(detail.form, display_name=" ")
    detail.form.submit_button.click()
    assert kit.catalog.model(LUNA).display_name == "gpt-6-luna"


def test_a_model_changed_elsewhere_is_not_overwritten(panel, kit):
    """The form says so, keeps what was typed, and reads the model again when asked."""
    detail = select(panel, LUNA)
    detail.edit_button.click()
    type_into(detail.form, cost_input_per_million="9")
    kit.catalog.update_model(LUNA, cost_input_per_million="0.3")
    detail.form.submit_button.click()
    assert "changed elsewhere" in detail.form.error.text
    assert detail.form["cost_input_per_million"].control.value == "9"
    assert kit.catalog.model(LUNA).cost_input_per_million == Decimal("0.3")
    buttons(detail.form.widget)["Reload"].click()
    assert detail.form["cost_input_per_million"].control.value == "0.30"
    type_into(detail.form, cost_input_per_million="9")
    detail.form.submit_button.click()
    assert kit.catalog.model(LUNA).cost_input_per_million == 9


def test_an_open_form_says_that_its_model_was_changed(panel, kit):
    """As soon as the panel shows another price than the form, so that nobody types before it is read again."""
    detail = select(panel, LUNA)
    detail.edit_button.click()
    kit.catalog.update_model(LUNA, cost_input_per_million="0.3")
    panel.refresh_button.click()
    assert detail.form.error.text == "This was changed elsewhere."
    buttons(detail.form.widget)["Reload"].click()
    assert detail.form["cost_input_per_million"].control.value == "0.30"
    assert not detail.form.error.text


# --- lifecycle ---


def test_deprecating_names_its_consequences_and_then_they_happen(panel, kit):
    """The question names the model that is promoted and the tasks that use it; the promised one becomes the default."""
    detail = select(panel, LUNA)
    detail.deprecate_button.click()
    question = text_of(detail.question)
    assert LUNA_BEFORE in question
    assert "scenario expansion" in question
    assert "summarization" in question
    for model in (kit.catalog.model(LUNA_BEFORE), kit.catalog.model(LUNA)):
        assert dollars(model.cost_output_per_million, exact=True) in question
    assert kit.catalog.model(LUNA).is_active
    buttons(detail.question)["Deprecate"].click()
    assert not kit.catalog.model(LUNA).is_active
    assert detail.notice.text.count("is deprecated") == 1
    assert kit.catalog.defaults()["openai"].reference == LUNA_BEFORE
    assert "Default" in next(row.cells[-1] for row in panel.table.rows if row.key == LUNA_BEFORE)
    assert "Deprecated" in panel.table.visible[0].cells[-1]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "mistral"])
def test_the_promised_default_is_the_one_that_is_promoted(panel, kit, provider):
    """Whatever the provider and however often: what the question promises is what happens."""
    for _ in range(3):
        detail = select(panel, kit.catalog.defaults()[provider].reference)
        detail.deprecate_button.click()
        question = text_of(detail.question)
        buttons(detail.question)["Deprecate"].click()
        assert f"({kit.catalog.defaults()[provider].reference}) becomes the default" in question


def test_deprecating_the_last_active_model_leaves_no_default(panel, kit):
    """The question says that there is nothing to promote."""
    for model in kit.catalog.models("xai", "ACTIVE")["model"]:
        if not kit.catalog.model(model).is_default:
            kit.catalog.deprecate_model(model)
    detail = select(panel, kit.catalog.defaults()["xai"].reference)
    detail.deprecate_button.click()
    assert "no default" in text_of(detail.question)
    buttons(detail.question)["Deprecate"].click()
    assert "xai" not in kit.catalog.defaults()


def test_declining_deprecates_nothing(panel, kit, events):
    """Cancel closes the question."""
    before = events()
    detail = select(panel, LUNA)
    detail.deprecate_button.click()
    buttons(detail.question)["Cancel"].click()
    assert detail.question is None
    assert events() == before


def test_a_deprecated_model_is_reactivated(panel, kit):
    """It may be used again, and is not the default."""
    kit.catalog.deprecate_model(LUNA)
    panel.refresh_button.click()
    detail = select(panel, LUNA)
    assert set(buttons(detail.widget)) == {"Edit", "Reactivate", "Price history"}
    detail.reactivate_button.click()
    model = kit.catalog.model(LUNA)
    assert model.is_active
    assert not model.is_default


def test_another_model_becomes_the_default(panel, kit):
    """The badge moves to the chosen model."""
    select(panel, SOL).default_button.click()
    assert kit.catalog.defaults()["openai"].reference == SOL
    badged = [row.key for row in panel.table.rows if row.key.startswith("openai:") and "Default" in row.cells[-1]]
    assert badged == [SOL]


def test_what_was_done_elsewhere_meanwhile_is_said(panel, kit):
    """Making a model the default that was deprecated meanwhile gives the catalog's sentence."""
    detail = select(panel, SOL)
    kit.catalog.deprecate_model(SOL)
    detail.default_button.click()
    assert "deprecated" in panel.detail.notice.text
    assert kit.catalog.defaults()["openai"].reference == LUNA


def test_the_price_history_lists_every_price_with_its_source(panel, kit):
    """The newest first, the one before it still there."""
    kit.catalog.update_model(LUNA, cost_input_per_million="0.2", source="price list of May")
    panel.refresh_button.click()
    detail = select(panel, LUNA)
    detail.history_button.click()
    text = text_of(detail.widget)
    assert text.index("$0.20") < text.index("$0.10")
    assert "price list of May" in text


def test_no_button_drops_what_was_typed(panel, kit):
    """The buttons above an open form, Undo and Refresh leave it as it is, and those that would close it say so."""
    kit.catalog.update_model(SOL, cost_input_per_million="3")
    detail = select(panel, LUNA)
    detail.edit_button.click()
    form = detail.form
    type_into(form, cost_input_per_million="0.35")
    for button in (detail.edit_button, detail.deprecate_button, detail.history_button):
        detail.notice.clear()
        button.click()
        assert detail.notice.text == "Save or cancel what you typed first."
    panel.undo_button.click()
    panel.refresh_button.click()
    assert detail.form is form
    assert form.widget in _widgets(detail.widget)
    form.submit_button.click()
    assert kit.catalog.model(LUNA).cost_input_per_million == Decimal("0.35")


def test_add_model_keeps_what_was_typed(panel):
    """A second click on the button leaves the open form as it is."""
    form = open_add(panel, model_id="gpt-7")
    panel.add_button.click()
    assert panel.form is form
    assert form["model_id"].control.value == "gpt-7"


def test_undo_takes_the_last_change_back(panel, kit):
    """The price is what it was, and the panel says what it concerned."""
    kit.catalog.update_model(LUNA, cost_input_per_million="0.2")
    panel.undo_button.click()
    assert kit.catalog.model(LUNA).cost_input_per_million == Decimal("0.1")
    assert panel.notice.text == f"Undid: {LUNA}: input price $0.10 → $0.20."


@pytest.mark.parametrize("panel_class", [ProvidersPanel, InfraPanel])
def test_every_panel_of_the_catalog_has_undo(kit, panel_class):
    """What it takes back is said there, whatever panel it was changed in."""
    kit.catalog.update_provider("openai", max_parallel_requests=9, is_enabled=False)
    panel = panel_class(kit)
    panel.undo_button.click()
    assert panel.notice.text == "Undid: openai: max parallel requests 20 → 9, enabled yes → no."
    assert kit.catalog.provider("openai").is_enabled


def test_what_is_undone_is_said_of_every_kind_of_change(kit):
    """Defaults, settings, balances, lists and prices of later, each in its words."""
    catalog, told = kit.catalog, []
    for change in (
        lambda: catalog.set_default_model(SOL),
        lambda: catalog.set_infra_model("summarization", SOL),
        lambda: catalog.set_balance("openai", "12.5"),
        lambda: catalog.sync_balance("openai", "11"),
        lambda: catalog.update_model(LUNA, price_tiers=[{"above": 1000, "cost_input_per_million": 2}]),
        lambda: kit.set_budget("2099-12", 50),
        lambda: kit.set_budget("Grant", 20, provider="openai"),
        lambda: kit.set_budget("2099-12", 60, alert_at=0.5),
        lambda: kit.set_budget("Grant", None, provider="openai"),
        lambda: catalog.set_setting("groups", {"a": ["x", "y"], "b": True, "amount": "many"}),
        lambda: catalog.set_setting("groups", {"a": ["y", "z"], "b": True, "amount": "more"}),
        lambda: catalog.set_setting("groups", ["y", "x"]),
        lambda: catalog.set_setting("groups", ["x", "y"]),
        lambda: catalog.update_model(LUNA, cost_input_per_million="7", valid_from=date(2099, 1, 1)),
    ):
        change()
        told.append(catalog.last_change())
    assert told == [
        f"{LUNA}: default yes → no; {SOL}: default no → yes",
        f"infra_model_summarization: {LUNA} → {SOL}",
        "openai: balance none → $12.50",
        "openai: balance $12.50 → $11.00",
        f"{LUNA}: price tiers input price $0.20, output price $0.75, cached input price $0.02, cache write price "
        "$0.25, above 272000 → input price $2.00, above 1000",
        "budgets: none → scope 2099-12, amount $50.00, alert at 0.8",
        "budgets: none → scope Grant, amount $20.00, provider openai, alert at 0.8",
        "budgets: scope 2099-12, amount $50.00, alert at 0.8 → scope 2099-12, amount $60.00, alert at 0.5",
        "budgets: scope Grant, amount $20.00, provider openai, alert at 0.8 → none",
        "groups: none → a x; y, b yes, amount many",
        "groups: a x; y, amount many → a y; z, amount more",
        "groups: a y; z, b yes, amount more → y; x",
        "groups: in another order",
        f"{LUNA}: the price from 2099-01-01 on",
    ]


def test_undo_with_nothing_to_undo_says_so(tmp_path):
    """A fresh catalog has no change to take back."""
    with open_kit(tmp_path / "fresh.duckdb", simulate=True) as kit:
        panel = ModelsPanel(kit)
        panel.undo_button.click()
    assert "no change" in panel.notice.text
    assert 'role="alert"' in panel.notice.widget.value


def test_a_price_that_will_be_replaced_is_warned_about(panel, kit):
    """The catalog's warning is read in the panel, not on some log."""
    kit.catalog.update_model(LUNA, cost_input_per_million="7", valid_from=date(2099, 1, 1))
    panel.refresh_button.click()
    detail = select(panel, LUNA)
    detail.edit_button.click()
    type_into(detail.form, cost_input_per_million="0.2")
    detail.form.submit_button.click()
    assert "2099-01-01" in panel.detail.notice.text


# --- as data, and for people without a kernel ---


def test_df_is_the_catalogs_own_table(panel, kit):
    """``panel.df`` is what code would read."""
    assert panel.df.equals(kit.catalog.models())


def test_a_plain_python_shell_is_told_where_the_content_is(panel):
    """There, panels cannot be shown."""
    assert repr(panel) == "<Models: a panel for Jupyter and IPython; .df has its content>"


def test_a_saved_notebook_shows_the_models(panel):
    """The bundle has the widget, a table that MathJax leaves alone, and plain text; none holds a script."""
    bundle = panel._repr_mimebundle_()
    assert f"llmkit-panel-{panel.widget.model_id}" in bundle["text/html"]  # where the live view is shown
    assert "tex2jax_ignore" in bundle["text/html"]
    for kind in ("text/html", "text/plain"):
        assert "Claude Haiku 5.5" in bundle[kind]
        assert "$0.10" in bundle[kind]


def test_a_hostile_name_is_text_everywhere(kit):
    """Markup in a name is shown as it was typed: in rows, tooltips, headings, questions and the saved notebook."""
    name = "<img src=x onerror=alert(1)>\"'</title><script>1</script>"
    kit.catalog.add_model("openai:<b>x</b>", display_name=name, cost_input_per_million=1, cost_output_per_million=1)
    kit.catalog.update_provider("openai", display_name="<script>2</script>")
    panel = ModelsPanel(kit)
    detail = select(panel, "openai:<b>x</b>")
    detail.deprecate_button.click()
    shown = text_of(panel.widget.children[-1]) + text_of(panel.table.widget) + panel._repr_mimebundle_()["text/html"]
    html = shown.replace(name, "")  # the button, whose text the browser never parses
    for tag in ("<img", "<script", "<b>"):
        assert tag not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_an_added_model_is_selected_wherever_it_stands(panel, kit):
    """Its page is turned to, and a filter that would hide it is emptied."""
    panel.table.text.value = "mistral"
    form = open_add(panel, model_id="zz-new", cost_input_per_million="1", cost_output_per_million="2")
    form.submit_button.click()
    assert panel.table.selected == "openai:zz-new"
    assert "openai:zz-new" in [row.key for row in panel.table.visible]
    assert panel.table.text.value == ""

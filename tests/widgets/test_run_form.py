from datetime import UTC, datetime, timedelta
from decimal import Decimal

import ipywidgets as ipw
import pandas as pd
import pytest
from runs import LUNA, SMALL, ended, hold_after, html_of, rehearsing, wait_for
from widget_actions import buttons, errors, press_enter, text_of, type_into

from llmkit.errors import ValidationError
from llmkit.money.amounts import dollars
from llmkit.widgets.run_fields import read_prompts

HOSTILE = '<img src=x onerror="alert(1)"> $\\frac{1}{2}$'
SONNET = "anthropic:claude-sonnet-5"


@pytest.fixture
def sim(kit):
    """What answers the kit."""
    with rehearsing(kit) as running:
        yield running


@pytest.fixture
def form(kit, sim):
    """A form with two prompts typed, and the models left as they are pre-selected."""
    made = kit.run_form()
    made.form["prompts"].control.value = "What is fair?\n\nWho decides?"
    made.refresh()
    return made


def only(form, *references):
    """Tick these models and no others."""
    form.picker.chosen = references
    form.refresh()


def row_of(form, reference):
    """The checkbox of a model, after filtering for it."""
    form.picker.text.value = reference
    return form.picker.lines[reference].control


# --- models ---


def test_the_defaults_are_ticked(form, kit):
    """One model of each provider, as ``kit.run`` would choose."""
    assert set(form.picker.chosen) == {model.reference for model in kit.catalog.defaults().values()}
    assert row_of(form, LUNA).value is True
    assert row_of(form, SONNET).value is False


def test_ticking_and_unticking_change_what_is_asked(form):
    """The checkboxes are the choice, and the estimate follows."""
    row_of(form, SONNET).value = True
    row_of(form, LUNA).value = False
    form.refresh()
    assert SONNET in form.picker.chosen
    assert LUNA not in form.picker.chosen
    assert SONNET in set(form.df["model"])
    assert LUNA not in set(form.df["model"])


def test_a_provider_without_active_models_is_hidden(kit, sim):
    """Nothing of it can be asked, so it is not offered."""
    for reference in kit.catalog.models(provider="deepseek", status="ACTIVE")["model"]:
        kit.catalog.deprecate_model(reference)
    form = kit.run_form("a")
    assert "DeepSeek" not in dict(form.picker.group.options)
    assert not any(reference.startswith("deepseek:") for reference in form.picker.chosen)


def test_a_provider_without_a_key_is_shown_disabled_with_the_variable(keyless_kit):
    """Its models can be seen, not ticked; the variable to set stands beside its name; those with a key come first."""
    form = keyless_kit.run_form("a")
    assert form.picker.chosen == ("mistral:mistral-small-2603",)
    assert form.picker.visible[0].group == "Mistral AI"
    assert row_of(form, LUNA).disabled
    assert "OPENAI_API_KEY" in text_of(form.picker.widget)
    assert not row_of(form, SMALL).disabled


def test_a_key_that_is_set_meanwhile_is_found_by_refresh(keyless_kit, monkeypatch):
    """No need to open the form again."""
    form = keyless_kit.run_form("a")
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    buttons(form.widget)["Refresh"].click()
    assert not row_of(form, LUNA).disabled


def test_a_thousand_models_need_no_more_widgets(kit, sim):
    """The rows are a pool: widgets are made once, filter and pages choose what they show."""
    few = _count(kit.run_form("a").widget)
    for number in range(40):
        kit.catalog.add_model(f"openai:extra-{number}", cost_input_per_million=1, cost_output_per_million=2)
    form = kit.run_form("a")
    assert _count(form.widget) == few
    form.picker.next.click()
    assert len(form.picker.visible) == 25
    row_of(form, "openai:extra-39").value = True
    form.picker.text.value = ""
    form.picker.status.value = "chosen"
    assert {row.key for row in form.picker.visible} == set(form.picker.chosen)
    assert "openai:extra-39" in form.picker.chosen


def _count(widget):
    return 1 + sum(map(_count, getattr(widget, "children", ())))


# --- the estimate ---


def test_a_tick_is_for_the_model_that_was_seen(form):
    """Sent by a browser that had not redrawn the table for a filter yet, it still ticks the model that was clicked."""
    seen = next(row.key for row in form.picker.visible if row.key not in form.picker.chosen)
    ticked = form.picker.lines[seen].control
    before = form.picker.chosen
    form.picker.text.value = "mistral"
    ticked.value = True
    assert form.picker.chosen == (*before, seen)


def test_the_estimate_is_that_of_the_same_call(form, kit):
    """What the form says is what ``kit.estimate`` says, for each model and in total."""
    type_into(form.form, samples="3", max_tokens="200")
    form.refresh()
    same = kit.estimate(["What is fair?", "Who decides?"], samples=3, max_tokens=200)
    pd.testing.assert_frame_equal(
        form.df.set_index("model").sort_index(), same.df.set_index("model").sort_index(), check_like=True
    )
    assert dollars(same.total) in form.estimate.value


def test_the_estimate_follows_while_one_types(form, kit):
    """Nobody presses a button: it comes by itself, on a thread of its own."""
    n = 2 * len(kit.catalog.defaults())
    wait_for(form.estimate, "value", lambda: f"{n} requests" in form.estimate.value)
    type_into(form.form, samples="5")
    wait_for(form.estimate, "value", lambda: f"{5 * n} requests" in form.estimate.value)


def test_answers_that_were_cut_off_are_an_estimate_of_their_own_kind(kit, sim):
    """The form opens after a run with a small ``max_tokens``, and says what its estimate rests on."""
    kit.run(["a", "b"], LUNA, samples=5, max_tokens=5).result(60)
    form = kit.run_form("a")
    form.refresh()
    assert "of the same model, some of which were cut off. " in form.estimate.value
    assert form.estimate.value.count("cut off") == 1
    assert kit.estimate("a", samples=2).basis.endswith(", answers cut")


def test_live_and_batch_are_offered_with_both_prices(form, kit, sim):
    """What the other way would cost and take stands below the estimate; Start asks the way that was chosen."""
    only(form, LUNA)
    form.refresh()
    prompts = ["What is fair?", "Who decides?"]
    live, batch = (kit.estimate(prompts, [LUNA], mode=mode).total for mode in ("live", "batch"))
    assert float(batch) == pytest.approx(float(live) / 2)
    assert f"In batches: {dollars(batch)}, within 24 h." in form.estimate.value
    form.form["mode"].control.value = "batch-or-live"
    form.refresh()
    assert form.df["cost"].sum() == pytest.approx(float(batch))
    assert f"At once: {dollars(live)}, about" in form.estimate.value
    sim.set(batch_delay=3600)
    form.start_button.click()
    words = "waiting for batch, 0 of 2 back"
    wait_for(form.panel.summary, "value", lambda: words in form.panel.summary.value)
    assert kit.runs()["status"].tolist() == [words]
    form.panel.cancel_button.click()
    ended(form.panel)
    only(form, kit.catalog.defaults()["deepseek"].reference)
    form.refresh()
    assert "In batches" not in form.estimate.value


def test_answers_that_are_there_are_counted_and_not_asked_again(form, kit, sim):
    """A tick says how many of the answers are there and what they cost, and Start asks the others only."""
    only(form, LUNA)
    first = kit.run(["What is fair?"], [LUNA], samples=2).result()
    type_into(form.form, samples="3")
    form.refresh()
    assert "already yours" not in form.estimate.value
    form.form["reuse"].control.value = True
    form.refresh()
    assert f"2 of 6 answers are already yours: saves {dollars(first.total_cost)}." in form.estimate.value
    sent = sim.stats()["requests"]
    form.start_button.click()
    ended(form.panel)
    assert sim.stats()["requests"] - sent == 4
    assert form.handle.run.probes["reused_from"].notna().sum() == 2


def test_a_service_tier_is_asked_for(form, kit, sim):
    """What is typed goes into the estimate and the run; a tier that no model has is refused beside its field."""
    only(form, LUNA)
    standard = form.df["cost"].sum()
    type_into(form.form, service_tier="flex")
    form.refresh()
    assert form.df["cost"].sum() < standard
    type_into(form.form, service_tier="steerage")
    form.start_button.click()
    assert "steerage" in errors(form.form)["service_tier"]


def test_a_form_without_any_key_says_what_to_do(keyless_kit, monkeypatch):
    """Where no model can be ticked, the variables to set and the rehearsal stand where the estimate would."""
    monkeypatch.delenv("MISTRAL_API_KEY")
    form = keyless_kit.run_form("Why?")
    assert "OPENAI_API_KEY" in form.estimate.value
    assert "llmkit.open(simulate=True)" in form.estimate.value


def test_a_missing_estimate_says_why(form):
    """A dash beside each model alone would leave one guessing which setting is at fault."""
    type_into(form.form, samples="lots", max_tokens="x", budget="lots")
    form.refresh()
    assert "No estimate until Samples per prompt and Max tokens can be read." in form.estimate.value
    type_into(form.form, samples="1", max_tokens="", service_tier="steerage")
    form.refresh()
    assert "cannot be asked at the service tier" in form.estimate.value
    type_into(form.form, service_tier="", prompts="")
    form.refresh()
    assert "No estimate without prompts." in form.estimate.value
    assert form.df.empty
    type_into(form.form, prompts="a")
    form.refresh()
    assert "No estimate" not in form.estimate.value  # though the budget is not one yet


def test_a_parameter_that_a_model_does_not_accept_is_told_before_the_start(form):
    """Beside the model that is asked without it; after Start it would be paid for."""
    only(form, LUNA, SMALL)
    assert "without" not in form.estimate.value
    type_into(form.form, temperature="0.7")
    form.refresh()
    luna, small = (
        form.estimate.value.partition(name)[2].partition("</tr>")[0] for name in ("GPT-6 Luna", "Mistral Small")
    )
    assert ">without temperature</span>" in luna
    assert "without" not in small


def test_a_model_that_retires_soon_or_was_deprecated_is_marked(form, kit):
    """The warning stands beside the model that it is about."""
    soon = datetime.now(UTC).date() + timedelta(days=10)
    kit.catalog.update_model(LUNA, retires_on=soon)
    kit.catalog.deprecate_model(SMALL)
    form.refresh()
    assert f"retires {soon}" in form.estimate.value
    assert "deprecated" in form.estimate.value
    assert SMALL not in set(form.df["model"])
    assert f"retires {soon}" in next(row.cells[0] for row in form.picker.rows if row.key == LUNA)


def test_an_estimate_over_the_balance_is_marked(keyless_kit):
    """The provider's models say which balance they are over."""
    keyless_kit.catalog.set_balance("mistral", Decimal("0.000001"))
    form = keyless_kit.run_form(["a"] * 50)
    assert "over the balance of $0.000001" in form.estimate.value


def test_a_budget_below_the_estimate_is_said_beside_the_budget(form):
    """It is a warning: the run may be started, and stops there."""
    type_into(form.form, budget="0.001", max_tokens="100")
    form.refresh()
    assert "the run will stop at $0.001" in errors(form.form)["budget"]
    type_into(form.form, budget="50")
    form.refresh()
    assert errors(form.form) == {}


# --- starting ---


def test_start_asks_what_was_filled_in(form, kit):
    """The run has the form's prompts, models and settings, and its panel is below the form."""
    only(form, LUNA, SMALL)
    type_into(form.form, samples="2", temperature="0.5", max_tokens="60", budget="$1.50", name="pilot")
    form.start_button.click()
    assert form.panel.widget in _widgets(form.widget)
    ended(form.panel)
    run = kit.last_run()
    assert run.id == form.handle.run_id
    assert run.name == "pilot"
    assert len(run.probes) == 2 * 2 * 2
    assert set(run.probes["model"]) == {LUNA, SMALL}
    assert set(run.probes["prompt"]) == {"What is fair?", "Who decides?"}
    assert run.settings["samples"] == 2
    assert run.settings["budget"] == "1.5"
    assert run.settings["params"]["temperature"] == 0.5
    assert run.settings["params"]["max_tokens"] == 60
    assert run.id in form.notice.text


def _widgets(widget):
    return [widget, *(each for child in getattr(widget, "children", ()) for each in _widgets(child))]


def test_results_are_one_click_away(form, kit):
    """When the run has ended, its view takes the place of the panel, in the saved notebook too."""
    only(form, LUNA)
    form.start_button.click()
    wait_for(form.start_button, "disabled", lambda: not form.start_button.disabled)
    wait_for(form.results_button.layout, "display", lambda: form.results_button.layout.display is None)
    form.results_button.click()
    assert "Answers" in text_of(form.widget)
    assert form.panel.widget not in _widgets(form.widget)
    saved = form._repr_mimebundle_()["text/html"]
    assert saved.count("data:image/svg+xml") == 2
    assert kit.last_run().probes["response"][0][:40] in saved


def test_while_a_run_goes_on_no_other_is_started(form, kit, sim):
    """Neither by the button nor by Enter; afterwards it can be."""
    sim.set(latency=600)
    only(form, LUNA)
    press_enter(form.form["samples"])
    assert form.start_button.disabled
    press_enter(form.form["samples"])
    form.handle.cancel(grace=0)
    form.handle.wait()
    assert len(kit.runs()) == 1


def test_cancel_is_in_the_panel(form, kit, sim):
    """Cancel stops the run that the form started."""
    let_go = hold_after(sim, 3)
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    only(form, LUNA)
    type_into(form.form, samples="50")
    form.start_button.click()
    buttons(form.widget)["Cancel"].click()
    let_go()
    ended(form.panel)
    assert kit.last_run().status == "cancelled"
    assert sim.stats()["requests"] < 50


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("budget", "lots", "US dollars"),
        ("budget", "-1", "above 0"),
        ("budget", "0", "above 0"),
        ("budget", "nan", "US dollars"),
        ("samples", "0", "at least 1"),
        ("samples", "1.5", "whole number"),
        ("samples", "", "cannot be empty"),
        ("samples", "1000000000", "at most 10,000"),
        ("temperature", "hot", "from 0 to 2"),
        ("temperature", "2.5", "from 0 to 2"),
        ("max_tokens", "0", "at least 1"),
        ("max_tokens", "many", "whole number"),
    ],
)
def test_what_makes_no_sense_starts_nothing(form, kit, field, typed, words):
    """A sentence beside the field, what was typed stays, and no run is there."""
    type_into(form.form, **{field: typed})
    form.start_button.click()
    assert words in errors(form.form)[field]
    form.refresh()
    assert list(errors(form.form)) == [field]
    assert form.form[field].control.value == typed
    assert kit.runs().empty
    assert form.handle is None


def test_a_sentence_that_stays_does_not_flicker(form):
    """Enter on what the form has already refused leaves the sentence alone: it is not taken away and put back."""
    type_into(form.form, budget="2,000")
    form.start_button.click()
    changes = []
    form.form["budget"].error.widget.observe(changes.append)
    form.form["budget"].error.widget.layout.observe(changes.append)
    press_enter(form.form["budget"])
    assert "without commas" in form.form["budget"].error.text
    assert not changes


def test_refusals_speak_of_fields(form, kit):
    """What ``kit.run`` says of its arguments is said of the form's fields."""
    only(form, LUNA)
    type_into(form.form, budget="0.0000001")
    form.start_button.click()
    assert errors(form.form)["budget"].endswith("Lower Max tokens, or raise Budget.")
    type_into(form.form, budget="", service_tier="steerage")
    form.start_button.click()
    assert "Leave out Service tier" in errors(form.form)["service_tier"]
    assert kit.runs().empty


def test_prompts_and_models_are_needed(form, kit):
    """Without either, the sentence stands where they are chosen."""
    form.form["prompts"].control.value = "  \n \n"
    form.start_button.click()
    assert form.form["prompts"].error.text == "Prompts: type at least one."
    form.form["prompts"].control.value = "a"
    only(form)
    form.start_button.click()
    assert form.picker.error.text == "Tick at least one model."
    assert form.form["prompts"].error.text == ""
    assert kit.runs().empty


def test_a_budget_that_no_request_fits_is_refused_beside_the_budget(form, kit):
    """The sentence of ``kit.run`` stays until something is changed."""
    only(form, LUNA)
    type_into(form.form, budget="0.0001")
    form.start_button.click()
    refused = errors(form.form)["budget"]
    assert "more than the budget" in refused
    form.refresh()
    assert errors(form.form)["budget"] == refused
    type_into(form.form, budget="")
    form.refresh()
    assert errors(form.form) == {}
    assert kit.runs().empty


def test_a_model_that_was_deprecated_meanwhile_is_refused_beside_the_models(form, kit):
    """The form was open while somebody else retired the model."""
    only(form, LUNA)
    kit.catalog.deprecate_model(LUNA)
    form.start_button.click()
    assert "is deprecated" in form.picker.error.text
    assert kit.runs().empty


# --- prompts ---


def test_prompts_are_separated_by_empty_lines():
    """A prompt may have several lines; blanks around it do not count."""
    assert read_prompts("one\ntwo\n\n  \n three \n\n") == ["one\ntwo", "three"]
    assert read_prompts("\n \n") == []
    assert read_prompts("from\x0ca\u2028PDF\r\n\r\nnext") == ["from\x0ca\u2028PDF", "next"]


def test_a_given_frame_travels_along(kit, sim):
    """Columns of a DataFrame come back in the run."""
    form = kit.run_form(pd.DataFrame({"prompt": ["a", "b"], "tone": ["kind", "harsh"]}))
    only(form, LUNA)
    form.start_button.click()
    ended(form.panel)
    assert list(kit.last_run().probes["tone"]) == ["kind", "harsh"]


def test_prompts_that_make_no_sense_open_no_form(kit):
    """As ``kit.run`` would, with the same sentence."""
    with pytest.raises(ValidationError, match="prompt"):
        kit.run_form([])


def test_hostile_text_stays_text(kit, sim):
    """Prompts and model names are shown as they are written."""
    kit.catalog.add_model("openai:evil", display_name=HOSTILE, cost_input_per_million=1, cost_output_per_million=1)
    form = kit.run_form([HOSTILE])
    only(form, "openai:evil")
    for shown in (html_of(form.widget), form._repr_mimebundle_()["text/html"]):
        assert "<img src=x" not in shown
    boxes = [each for each in _widgets(form.widget) if isinstance(each, ipw.Checkbox)]
    assert all(box.description_allow_html is False for box in boxes)


def test_a_rehearsal_says_so(kit, keyless_kit):
    """Nobody should take simulated answers for real ones, or pay unawares."""
    assert "simulated" in text_of(kit.run_form("a").widget)
    assert "simulated" not in text_of(keyless_kit.run_form("a").widget)


def test_the_saved_form_reads_well_without_a_kernel(form):
    """Its text says what would be asked and what it would cost."""
    bundle = form._repr_mimebundle_()
    assert "New run: about $" in bundle["text/plain"]
    assert LUNA in bundle["text/html"]


def test_every_control_has_a_label(form):
    """A screen reader can say what each is for."""
    controls = [each for each in _widgets(form.widget) if isinstance(each, ipw.Text | ipw.Textarea | ipw.Dropdown)]
    assert len(controls) >= 9
    assert all(control.description for control in controls)


def test_a_resumed_run_keeps_start_disabled_until_it_ends(form, kit, sim):
    """Resume in the form's panel is a run like any other: nothing else starts beside it, and its results come after."""
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    sim.script("openai", ["quota"])
    form.picker.chosen = (LUNA,)
    form.start_button.click()
    ended(form.panel)
    wait_for(form.start_button, "disabled", lambda: not form.start_button.disabled)
    let_go = hold_after(sim, 0)
    form.panel.resume_button.click()
    assert form.start_button.disabled
    assert form.results_button.layout.display == "none"
    let_go()
    ended(form.panel)
    wait_for(form.start_button, "disabled", lambda: not form.start_button.disabled)
    assert list(form.handle.run.probes["status"]) == ["ok", "ok"]


def test_a_system_prompt_is_sent(form, kit, sim):
    """What is typed as the system prompt goes with every prompt, and into the estimate."""
    form.picker.chosen = (LUNA,)
    form.refresh()
    before = form.df["input_tokens"].sum()
    type_into(form.form, system="You are a nurse. " * 20)
    form.refresh()
    assert form.df["input_tokens"].sum() > before
    form.start_button.click()
    ended(form.panel)
    assert set(form.handle.run.probes["system"]) == {("You are a nurse. " * 20).strip()}


def test_the_form_says_how_long_it_will_take(form, kit):
    """Before the start, by the limits of the slowest provider."""
    kit.catalog.update_provider("google", requests_per_minute=10, max_parallel_requests=1)
    type_into(form.form, samples="20", max_tokens="50")
    form.refresh()
    assert "about 4 min, google is the slowest" in form.estimate.value


def test_a_rehearsal_says_simulated_and_not_that_a_key_is_set(form, kit):
    """No key is sent to anybody."""
    drawn = "".join(line for row in form.picker.rows for line in [row.heading])
    assert "simulated" in drawn
    assert "key set" not in drawn

"""Scenarios from a description: exactly as many as asked for, all different, or a clear account; with their cost."""

import asyncio
import warnings
from collections import Counter

import pytest

import llmkit
from llmkit import Level, RequestFailed, Scenario, ValidationError
from llmkit.catalog import load_seed

PROVIDERS = tuple(load_seed().providers)
ABOUT = "How households decide about saving water during a drought"


def models_asked(sim):
    """The model of every request that the server saw (Gemini's is in the path)."""
    return [request.body.get("model") or request.path for request in sim.requests]


def test_exactly_as_many_as_asked_for(kit, asks):
    """One request, no warning, all different, recorded as a run of kind infra with its cost."""
    asks("openai")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenarios = kit.expand(ABOUT, 12).result(60)
    assert all(isinstance(scenario, Scenario) for scenario in scenarios)
    assert len({scenario.prompt for scenario in scenarios}) == len(scenarios) == 12
    assert [scenario.scenario_id for scenario in scenarios] == [f"s{i:04d}" for i in range(1, 13)]
    runs = kit.runs()
    assert list(runs["kind"]) == ["infra"]
    assert scenarios.run.id == runs["run_id"][0]
    assert scenarios.total_cost == scenarios.run.total_cost > 0
    assert str(scenarios.account) == "12 of 12 scenarios are usable, after 1 request."


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_with_everything_that_can_be_wrong_with_an_answer(kit, sim, asks, provider):
    """In each provider's format: no JSON, a refusal, too few, and nothing but repetitions."""
    asks(provider)
    for fault in ("malformed_json", "refusal", "empty") if provider == "openai" else ("malformed_json", "refusal"):
        sim.script(provider, [fault])
        mended = kit.expand(ABOUT, 4).result(60)
        assert len(mended) == 4, fault
        first, second = (str(request.body) for request in sim.requests[-2:])
        assert "could not be used" in second, fault
        assert "could not be used" not in first, fault
        assert ABOUT in second, fault
        assert mended.total_cost == sum(run.total_cost for run in mended.runs), fault
        assert len(mended.account.problems) == 1, fault
    sim.script(provider, ["too_few"])
    filled = kit.expand(ABOUT, 8).result(60)
    assert (len(filled), filled.account.requests) == (8, 2)
    assert set(filled.run.probes["provider"]) == {provider}
    assert filled[0].prompt in str(sim.requests[-1].body)
    sim.script(provider, ["duplicates", "duplicates"])
    with pytest.warns(UserWarning, match="2 of 6 scenarios are usable"):
        scenarios = kit.expand(ABOUT, 6).result(60)
    assert len(scenarios) == 2
    account = scenarios.account
    assert (account.asked_for, account.usable, account.requests) == (6, 2, 2)
    assert account.duplicates >= 8
    assert f"{account.duplicates} repeated" in str(account)


@pytest.mark.parametrize(("fault", "code"), [("malformed_json", "INVALID_RESPONSE"), ("auth", "AUTH_ERROR")])
def test_when_nothing_usable_comes_the_error_says_why(kit, sim, asks, fault, code):
    """Two requests, no third, no empty list that looks like a result; what it cost stays on record."""
    asks("openai")
    sim.set(faults={fault: 1.0})
    with pytest.raises(RequestFailed) as caught:
        kit.expand(ABOUT, 3).result(60)
    assert caught.value.code == code
    assert "no usable scenario" in str(caught.value)
    assert len(sim.requests) == 2
    assert len(kit.runs()) == 2


def test_levels_are_spread_evenly_and_become_columns(kit, asks):
    """20 scenarios over 3 × 2 levels: every combination 3 or 4 times, the levels' scores beside their labels."""
    asks("openai")
    dimensions = {"Tone": ["polite", "blunt"], "Income": [Level("low", score=1), Level("mid", score=2), "high"]}
    scenarios = kit.expand(ABOUT, 20, dimensions).result(60)
    frame = scenarios.df
    assert set(Counter(zip(frame["Tone"], frame["Income"], strict=True)).values()) == {3, 4}
    for name, size in (("Tone", 2), ("Income", 3)):
        counts = frame[name].value_counts()
        assert len(counts) == size
        assert counts.max() - counts.min() <= 1
    assert set(frame.loc[frame["Income"] == "mid", "Income_score"]) == {2}
    run = kit.run(scenarios, "mistral:mistral-small-2603").result(60)
    assert list(run.probes["Tone"]) == list(frame["Tone"])


def test_a_scenario_keeps_the_levels_that_it_was_written_for(third_party):
    """Entries in another order are told apart by their number; one with an unknown number is not used."""
    entries = [{"id": 2, "prompt": "blunt one"}, {"id": 7, "prompt": "stray"}, {"id": 1, "prompt": "polite one"}]
    kit, _ = third_party([("exactly", {"scenarios": entries})])
    scenarios = kit.expand(ABOUT, 2, {"Tone": ["polite", "blunt"]}).result(60)
    assert [(s.dimensions["Tone"], s.prompt) for s in scenarios] == [("polite", "polite one"), ("blunt", "blunt one")]


def test_names_alone_leave_the_levels_to_the_model(kit, asks):
    """Every scenario has a value for each named dimension, also from a model that is told its schema in words."""
    asks("deepseek")
    frame = kit.expand(ABOUT, 5, ["Region", "Household size"]).result(60).df
    assert list(frame.columns[-2:]) == ["Region", "Household size"]
    assert frame[["Region", "Household size"]].map(lambda value: isinstance(value, str) and bool(value)).all(axis=None)


def test_many_scenarios_are_asked_for_in_parts(kit, sim, asks):
    """No request asks for more than forty; what comes is all different."""
    asks("openai")
    handle = kit.expand(ABOUT, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the simulator's repertoire is small: some are repeated
        scenarios = handle.result(60)
    asked = {
        words
        for request in sim.requests[:2]
        for words in ("40 scenarios", "10 scenarios")
        if words in str(request.body)
    }
    assert asked == {"40 scenarios", "10 scenarios"}
    assert len({scenario.prompt for scenario in scenarios}) == len(scenarios) > 30
    assert len(handle.runs[0].run.probes) == 2


def test_the_infra_model_is_asked_and_never_the_models_of_a_run(kit, sim):
    """Setting another model changes whom the server sees next; the models of runs never write scenarios."""
    run = kit.run("hello", ["xai:" + kit.catalog.defaults()["xai"].model_id]).result(60)
    before = len(sim.requests)
    for reference in ("openai:gpt-6-luna", "mistral:mistral-small-2603"):
        kit.catalog.set_infra_model("scenario_expansion", reference)
        kit.expand(ABOUT, 3).result(60)
    assert models_asked(sim)[before:] == ["gpt-6-luna", "mistral-small-2603"]
    assert set(run.probes["provider"]) == {"xai"}
    assert kit.last_run().id == run.id


def test_choosing_in_the_panel_changes_whom_the_server_sees(kit, sim):
    """The form and the next expansion agree, without a restart."""
    panel = kit.infra_panel()
    for reference in ("mistral:mistral-small-2603", "openai:gpt-6-luna"):
        panel.choices["scenario_expansion"].value = reference
        kit.expand(ABOUT, 2).result(60)
    assert models_asked(sim) == ["mistral-small-2603", "gpt-6-luna"]


def test_a_stand_in_is_warned_of_and_recorded_in_every_row(kit, sim):
    """When the configured model is deprecated another one is asked, and the run says which one should have been."""
    configured = kit.catalog.infra_model("scenario_expansion").reference
    kit.catalog.deprecate_model(configured)
    with pytest.warns(UserWarning, match=f"{configured}, is deprecated"):
        scenarios = kit.expand(ABOUT, 3).result(60)
    row = scenarios.run.probes.iloc[0]
    assert row["configured_model"] == configured
    assert row["model"] != configured
    assert row["model"] in row["note"]
    seen = len(sim.requests)
    with pytest.raises(llmkit.ModelDeprecated):
        kit.expand(ABOUT, 3, strict=True)
    assert len(sim.requests) == seen
    assert len(kit.runs()) == 1


def test_without_a_key_nothing_is_sent(tmp_path):
    """The error names the variable to set."""
    with llmkit.open(tmp_path / "real.duckdb") as kit:
        with pytest.raises(llmkit.MissingApiKey, match="OPENAI_API_KEY"):
            kit.expand(ABOUT, 3)
        assert kit.runs().empty


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"description": "  "}, "description"),
        ({"description": ABOUT, "n": 0}, "n"),
        ({"description": ABOUT, "n": True}, "n"),
        ({"description": ABOUT, "dimensions": {"model": ["a"]}}, "dimensions"),
        ({"description": ABOUT, "dimensions": {"Tone": []}}, "dimensions"),
        ({"description": ABOUT, "dimensions": ["Tone", "Tone"]}, "dimensions"),
        ({"description": ABOUT, "budget": -1}, "budget"),
    ],
)
def test_arguments_without_sense_are_refused_before_anything_is_written(kit, sim, arguments, field):
    """With the argument at fault."""
    with pytest.raises(ValidationError) as caught:
        kit.expand(**arguments)
    assert caught.value.field == field
    assert kit.runs().empty
    assert not sim.requests


def test_a_budget_holds_for_all_requests_together(kit, sim, asks):
    """What the first answer cost is taken off before the second is asked for."""
    asks("mistral")
    sim.script("mistral", ["too_few"])
    scenarios = kit.expand(ABOUT, 4, budget=1).result(60)
    assert len(scenarios) == 4
    budgets = [run.settings["budget"] for run in scenarios.runs]
    assert float(budgets[1]) == pytest.approx(1 - float(scenarios.runs[0].total_cost))


def test_it_can_be_awaited_and_cancelled(kit, sim, asks):
    """``await`` gives the list; ``cancel`` asks nothing more and leaves no run running."""
    asks("openai")

    async def wait():
        return await kit.expand(ABOUT, 2)

    assert len(asyncio.run(wait())) == 2
    sim.script("openai", ["timeout"])
    handle = kit.expand(ABOUT, 4)
    assert sim.wait_until(lambda: sim.stats()["in_flight"] == 1, 60)
    handle.cancel()
    handle.runs[0].cancel(grace=0)
    with pytest.raises(RequestFailed) as caught:
        handle.result(60)
    assert caught.value.code == "CANCELLED"
    assert set(kit.runs()["status"]) == {"completed", "cancelled"}
    assert sim.stats()["requests"] == 2


def test_closing_the_kit_ends_what_is_under_way(database, sim):
    """An expansion in the middle asks nothing after ``close``, which returns when it has ended."""
    sim.set(faults={"malformed_json": 1.0}, latency=0.2)
    with llmkit.open(database, simulate=True) as kit:
        kit.use_simulator(sim)
        handle = kit.expand(ABOUT, 3)
        assert sim.wait_until(lambda: sim.stats()["in_flight"] == 1, 60)
    assert handle.done()
    assert sim.stats()["requests"] == 1
    with pytest.raises(RequestFailed):
        handle.result()

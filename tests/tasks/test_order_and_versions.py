"""RunSpec and balance: drift at a provider is not mistaken for a condition, and a change of version is said."""

from collections import defaultdict
from statistics import mean

import pandas as pd
import pytest

from llmkit.analysis.run_words import version_notes
from llmkit.records import Model, Params, Scenario
from llmkit.runs.plan import Configuration, Plan

TONES, CITIES = ("polite", "blunt"), ("Rome", "Oslo", "Lima")


def plan(seed, order="interleaved", samples=5):
    """2 tones × 3 cities × 4 wordings, three models."""
    scenarios = tuple(
        Scenario(f"{tone} {city} {i}", dimensions={"tone": tone, "city": city})
        for tone in TONES
        for city in CITIES
        for i in range(4)
    )
    models = [Model(provider="p", model_id=name, display_name=name) for name in "abc"]
    configs = tuple(Configuration(model=model, label=model.reference, params=Params()) for model in models)
    return Plan(scenarios=scenarios, configs=configs, samples=samples, params=Params(), order=order, order_seed=seed)


def mean_places(asked):
    """The mean place in time (0 to 1) of every tone, city, model and sample."""
    places = defaultdict(list)
    for place, position in enumerate(asked.asking_order()):
        probe = asked.probe(position)
        for key in (*probe.scenario.dimensions.items(), ("model", probe.model.model_id), ("sample", probe.sample)):
            places[key].append(place / (len(asked) - 1))
    return {key: mean(found) for key, found in places.items()}


def test_interleaved_spreads_models_and_conditions_over_time():
    """Over many seeds no model and no condition comes early or late on average, nor much so with any one seed.

    Within one seed, models are shuffled within each scenario, so their mean place hardly differs at all.
    """
    per_seed = [mean_places(plan(seed)) for seed in range(40)]
    for key in (("model", "a"), ("model", "c"), ("tone", "polite"), ("city", "Lima")):
        assert mean(places[key] for places in per_seed) == pytest.approx(0.5, abs=0.01)
    for places in per_seed:
        assert all(places[("model", name)] == pytest.approx(0.5, abs=0.01) for name in "abc")
        assert all(places[key] == pytest.approx(0.5, abs=0.1) for key in places if key[0] in ("tone", "city"))


def test_sequential_confounds_and_interleaved_does_not():
    """What the default protects from: by position, the first tone is asked in the first half of the run."""
    assert mean_places(plan(1, "sequential"))[("tone", "polite")] < 0.3
    assert mean_places(plan(1))[("tone", "polite")] == pytest.approx(0.5, abs=0.1)


def test_every_scenario_is_asked_once_before_any_is_asked_again():
    """A run that is stopped half way has about the same number of answers for everything."""
    asked = plan(7)
    first = [asked.probe(position) for position in list(asked.asking_order())[: len(asked) // 5]]
    assert {probe.sample for probe in first} == {1}
    assert len({(probe.scenario.prompt, probe.model.model_id) for probe in first}) == len(first) == 24 * 3


def test_the_order_is_kept_in_the_run(kit):
    """The seed is in its settings, and the same seed asks in the same order again."""
    run = kit.run(["a", "b", "c"], "openai:gpt-6-luna", samples=2).result(60)
    seed = run.settings["order_seed"]
    again = kit.run(["a", "b", "c"], "openai:gpt-6-luna", samples=2, options={"order_seed": seed}).result(60)
    assert run.settings["order"] == again.settings["order"] == "interleaved"
    assert again.settings["order_seed"] == seed
    other = kit.run(["a", "b", "c"], "openai:gpt-6-luna", samples=2).result(60)
    assert other.settings["order_seed"] != seed


def row(version, answers, first, last, day=24):
    """What a run tells of one version of a model; ``day`` is that of its last answer."""
    times = (pd.Timestamp(f"2026-11-{at}", tz="UTC") for at in (f"24 {first}", f"{day} {last}"))
    return {"model": "p:m", "version": version, "answers": answers, **dict(zip(("first", "last"), times, strict=True))}


def test_versions_of_a_model_are_said_with_their_times():
    """How many answers each gave, and when, with the second date if it is another one; the older first."""
    two = [row("m-2", 2000, "12:00", "12:01"), row("m-1", 1, "12:02", "12:02", day=25)]
    notes = version_notes([*two, row("m-0", 3, "12:03", "12:03")])
    assert len(notes) == 1
    assert "p:m was served in 3 versions" in notes[0]
    first = notes[0].index("m-2 (2,000 answers, 2026-11-24 12:00 to 12:01 UTC)")
    second = notes[0].index("m-1 (1 answer, 2026-11-24 12:02 to 2026-11-25 12:02 UTC)")
    assert first < second < notes[0].index("m-0 (3 answers, 2026-11-24 12:03 UTC)")


@pytest.mark.parametrize("rows", [[], [row("m-1", 3, "12:00", "12:05")]])
def test_one_version_is_nothing_to_speak_of(rows):
    """Nor is a provider that does not name it."""
    assert version_notes(rows) == []


def test_a_run_says_that_its_model_changed(kit, sim):
    """The provider goes over to another version between two answers: the run's notes and its repr say so."""
    body = (
        '{"id": "x", "object": "chat.completion", "model": "mistral-small-2611", "choices": [{"index": 0, '
        '"finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}], '
        '"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}'
    )
    sim.script("mistral", [None, kit_fault(body)])
    run = kit.run(["a", "b"], "mistral:mistral-small-2603").result(60)
    assert set(run.probes["status"]) == {"ok"}
    assert run.probes["model_version"].nunique() == 2
    assert len(run.notes) == 1
    assert "mistral-small-2611" in run.notes[0]
    assert "2 versions" in repr(run)
    assert kit.run("a", "mistral:mistral-small-2603").result(60).notes == []


def kit_fault(body):
    """A reply that the test writes itself."""
    from llmkit.simulator import Fault

    return Fault(kind="raw", body=body)

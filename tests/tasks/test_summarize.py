"""Summaries: one for each group, in parts where the answers do not fit, with their cost."""

import pandas as pd
import pytest

from llmkit import ValidationError
from llmkit.catalog import load_seed

SUBJECTS = ["mistral:mistral-small-2603", "openai:gpt-6-luna"]


@pytest.fixture
def run(kit):
    """Two models, two tones, two prompts each."""
    prompts = pd.DataFrame({"prompt": ["a?", "b?", "c?", "d?"], "tone": ["polite", "polite", "blunt", "blunt"]})
    return kit.run(prompts, SUBJECTS, max_tokens=60).result(60)


@pytest.mark.parametrize("provider", load_seed().providers)
def test_every_group_has_its_summary(kit, sim, asks, run, provider):
    """One request a group, holding its answers and no others; rows carry the group, the count and the cost."""
    asks(provider)
    before = len(sim.requests)
    frame = kit.summarize(run, "Who should pay?", by=["model", "tone"]).result(60)
    assert list(frame.columns[:2]) == ["model", "tone"]
    assert len(frame) == len(sim.requests) - before == 4
    assert frame["summary"].str.len().min() > 20
    assert set(frame["n_answers"]) == {2}
    assert frame["error"].isna().all()
    infra = kit.load(frame["infra_run_id"][0])
    assert frame["cost"].sum() == pytest.approx(float(infra.total_cost))
    assert set(infra.probes["provider"]) == {provider}
    assert set(infra.probes["source_run"]) == {run.id}
    for request in sim.requests[before:]:
        body = str(request.body)
        assert "Who should pay?" in body
        assert body.count("</doc-") == 2


def test_what_does_not_fit_is_summarized_in_parts(kit, sim):
    """Forty answers and a small context: several requests, then one over their summaries; the cost is that of all."""
    kit.catalog.add_model(
        "openai:tiny", cost_input_per_million=1, cost_output_per_million=1, context_window=3_000, max_output_tokens=300
    )
    kit.catalog.set_infra_model("summarization", "openai:tiny")
    run = kit.run("Why?", SUBJECTS[0], samples=40, max_tokens=80).result(60)
    before = len(sim.requests)
    frame = kit.summarize(run).result(60)
    bodies = [str(request.body) for request in sim.requests[before:]]
    parts = [body for body in bodies if "summaries of parts" not in body]
    assert len(parts) > 1
    assert len(bodies) > len(parts)
    assert sum(body.count("</doc-") for body in parts) == 40
    assert len(frame) == 1
    assert frame["n_answers"][0] == 40
    assert frame["summary"][0] in str(sim.requests[-1]) or len(frame["summary"][0]) > 20
    infra = kit.runs().query("kind == 'infra'")["run_id"]
    assert len(infra) >= 2
    assert frame["cost"][0] == pytest.approx(float(sum(kit.load(each).total_cost for each in infra)))


def test_a_group_that_could_not_be_summarized_says_why(kit, sim, asks, run):
    """The other groups have their summaries; a group without good answers is there, with none."""
    asks("openai")
    sim.script("openai", ["blocked"])
    with pytest.warns(UserWarning, match="1 of 2 groups"):
        frame = kit.summarize(run).result(60)
    failed = frame[frame["summary"].isna()]
    assert len(failed) == 1
    assert failed["error"].str.len().min() > 10
    sim.script("mistral", ["blocked"] * 4)
    half = kit.run(["a?", "b?", "c?", "d?"], SUBJECTS).result(60)
    frame = kit.summarize(half).result(60).set_index("model")
    assert frame.loc[SUBJECTS[0], "n_answers"] == 0
    assert pd.isna(frame.loc[SUBJECTS[0], "summary"])
    assert frame.loc[SUBJECTS[1], "n_answers"] == 4


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"by": "colour"}, "by"), ({"by": []}, "by"), ({"by": ["model", "model"]}, "by"), ({"question": " "}, "question")],
)
def test_arguments_without_sense_are_refused(kit, run, arguments, field):
    """With the argument at fault, and the columns that there are."""
    with pytest.raises(ValidationError) as caught:
        kit.summarize(run, **arguments)
    assert caught.value.field == field


def test_costs_of_internal_tasks_can_be_told_apart(kit, run):
    """``kit.costs(by="kind")`` has them beside the probes, and the run's own cost stays what it was."""
    before = run.total_cost
    kit.summarize(run).result(60)
    assert run.total_cost == before
    costs = kit.costs(by="kind")
    assert set(costs["kind"]) == {"infra", "probe"}

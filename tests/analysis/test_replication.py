"""A part of a run asked again: what has changed since is told, and the answers are compared within scenarios."""

import pandas as pd
import pytest

import llmkit
from llmkit.analysis.replication import new_versions

LUNA, HAIKU = "openai:gpt-6-luna", "anthropic:claude-haiku-5-5"


@pytest.fixture
def run(kit):
    """Two models, one of them in two ways, in 30 scenarios."""
    scenarios = llmkit.scenarios_from_template("Say [word]", {"word": [f"w{n}" for n in range(30)]})
    models = [LUNA, HAIKU, llmkit.Config(LUNA, label="terse", system="Be brief.", max_tokens=300)]
    return kit.run(scenarios, models, samples=2, name="study", project="thesis", system=None).result()


def test_nothing_is_sent_before_the_start(kit, run):
    """The share and its cost are known first; then it is a run of its own, in the same project."""
    replication = kit.replicate(run, share=0.1)
    assert kit.runs()["name"].tolist() == ["study"]
    assert len(replication.plan) == 18
    assert 0 < replication.cost.low <= replication.cost.total <= replication.cost.high
    assert replication.changes.empty
    replica = replication.start(budget=1).result()
    assert (replica.name, replica.settings["project"]) == ("replication of study", "thesis")
    assert replica.probes.groupby("config").size().to_dict() == {LUNA: 6, HAIKU: 6, "terse": 6}
    assert set(replica.probes["scenario_id"]) < set(run.probes["scenario_id"])
    assert set(replica.probes.loc[replica.probes["config"] == "terse", "system"]) == {"Be brief."}


def test_what_was_asked_in_batches_is_asked_in_batches_again(kit):
    """At their price, so that a difference of costs is none of modes; a model without batches is asked at once."""
    models = [LUNA, "deepseek:deepseek-flash"]
    run = kit.run("Say aye.", models, max_tokens=50, mode="batch-or-live").result()
    replication = kit.replicate(run, share=1)
    assert replication.cost.batched == {LUNA}
    tiers = replication.start(budget=1).result().probes.set_index("model")["service_tier"]
    assert tiers[LUNA] == "batch"
    assert pd.isna(tiers[models[1]])


def test_a_study_that_is_run_again_reuses_its_own_answers(kit):
    """A replica's, though they are later, would mix what is to be compared."""
    study = {"prompts": ["Say aye.", "Say no."], "models": [LUNA, HAIKU], "reuse": True}
    first = kit.run(**study).result()
    replica = kit.replicate(first, share=1).start(budget=1).result()
    again = kit.run(**study).result().probes
    assert again["reused_from"].tolist() == first.probes["probe_id"].tolist()
    assert replica.settings["replicates"] == first.id


def test_the_same_seed_draws_the_same_scenarios(kit, run):
    """A share can be drawn again, and another one by another seed."""
    drawn = [[each.scenario_id for each in kit.replicate(run.id, 0.1, seed=seed).plan.scenarios] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_scenarios_come_before_samples(kit, run):
    """A second sample of a scenario says less than another scenario; the whole run can be asked again."""
    plans = [kit.replicate(run, share).plan for share in (0.001, 0.5, 0.51, 1)]
    assert [(len(plan.scenarios), plan.samples) for plan in plans] == [(1, 1), (30, 1), (30, 2), (30, 2)]


def test_a_share_that_makes_no_sense_is_refused(kit, run):
    """With the range that it has."""
    for share in (0, -0.1, 1.5, float("nan"), True, "2%", None):
        with pytest.raises(llmkit.ValidationError, match="above 0 and at most 1"):
            kit.replicate(run, share)


def test_what_has_changed_since_is_a_table(kit, run):
    """Prices, names and lifecycle; what is retired is not asked, and what is left can be compared."""
    before = float(kit.catalog.model(LUNA).cost_input_per_million)
    kit.catalog.update_model(LUNA, cost_input_per_million="3", display_name="Luna, renamed")
    with pytest.warns(UserWarning, match="is deprecated"):
        kit.catalog.deprecate_model(HAIKU)
    replication = kit.replicate(run, share=0.1)
    assert replication.changes.to_dict("split")["data"] == [
        [LUNA, "renamed", "display_name", "GPT-6 Luna", "Luna, renamed"],
        [LUNA, "repriced", "cost_input_per_million", before, 3.0],
        [HAIKU, "retired", "status", "ACTIVE", "deprecated"],
    ]
    replica = replication.start().result()
    table = replication.compare(replica)
    assert table["config"].tolist() == [LUNA, "terse"]
    assert (table["cost_now"] > table["cost_before"]).all()


def test_a_model_whose_day_has_passed_is_not_asked(kit, run):
    """Its provider may refuse it, active in the catalog or not; where all are gone, nothing is asked."""
    for model in (LUNA, HAIKU):
        kit.catalog.update_model(model, retires_on="2020-01-01")
    replication = kit.replicate(run, share=0.1)
    assert set(replication.changes["now"]) == {"retired 2020-01-01"}
    assert replication.cost.total is None
    with pytest.raises(llmkit.ValidationError, match="None of the models"):
        replication.start()


def test_another_version_is_told():
    """One that the run was not served and that answered since."""
    before = [{"model": "a:x", "version": "1"}, {"model": "a:x", "version": "2"}, {"model": "a:y", "version": "1"}]
    rows = new_versions(before, {"a:x": "3", "a:y": "1", "a:z": "9"})
    assert rows == [("a:x", "another version", "model_version", "1, 2", "3")]
    assert not new_versions(before, {})


def test_the_same_answers_agree(kit, run):
    """The simulator answers a prompt and sample the same again: both samples agree with one of two."""
    replication = kit.replicate(run, share=1)
    table = replication.compare(replication.start().result()).set_index("config")
    assert (table["scenarios"] == 30).all()
    assert (table["missing"] == 0).all()
    assert (table["agree"] == 0.5).all()
    assert (table["agree_before"] == 0).all()
    assert (table["agree_low"] < 0.5).all()
    assert (table["agree_high"] > 0.5).all()
    pd.testing.assert_series_equal(table["length_before"], table["length_now"], check_names=False)
    assert (table["version_before"] == table["version_now"]).all()
    assert (table["cost_low"] <= 0).all()
    assert (table["cost_high"] >= 0).all()


def test_choices_are_compared_not_where_they_stood(kit):
    """Options come in another order each time; what counts is what was chosen. A run may come from a capsule."""
    questions = [llmkit.question.likert(f"Is tea {n} good?") for n in range(20)]
    run = kit.run(questions, LUNA, samples=3).result()
    file = kit.export_capsule(run, kit.path.with_name("study.capsule"))
    replication = kit.replicate(llmkit.open_capsule(file), share=1)
    replica = replication.start().result()
    (row,) = replication.compare(replica).to_dict("records")
    both = run.probes.merge(replica.probes, on="scenario_id")
    assert row["agree"] == pytest.approx((both["answer_x"] == both["answer_y"]).mean())
    assert row["agree_before"] > 0


def test_a_rehearsal_is_not_compared_with_real_answers(kit, run, tmp_path):
    """The run's kind and the kit's are the same."""
    with llmkit.open(kit.path) as real, pytest.raises(llmkit.ValidationError, match="simulate=True"):
        real.replicate(run.id)


def test_a_run_that_does_not_exist_is_refused(kit):
    """As everywhere."""
    with pytest.raises(llmkit.RunNotFound):
        kit.replicate("nope")

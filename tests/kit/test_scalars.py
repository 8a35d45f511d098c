"""Values as tables and other programs have them: numpy's scalars and times, generators, copies of records."""

import copy
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import llmkit

LUNA, SMALL = "openai:gpt-6-luna", "mistral:mistral-small-2603"


def test_numbers_from_a_table_are_numbers(kit, sim):
    """numpy's scalars, as a cell of a DataFrame gives them, are taken for what they are."""
    run = kit.run(
        "a question",
        "mistral:mistral-small-2603",
        samples=np.int64(2),
        temperature=np.float32(0.5),
        max_tokens=np.int32(40),
        seed=np.int64(3),
    ).result(60)
    assert set(run.probes["status"]) == {"ok"}
    body = sim.requests[0].body
    assert (body["temperature"], body["max_tokens"]) == (0.5, 40)


def test_decimals_are_numbers_where_no_money_is_meant(kit, sim):
    """A temperature out of a table with exact numbers is sent as JSON has it."""
    kit.run("a question", SMALL, temperature=Decimal("0.5")).result(60)
    assert sim.requests[0].body["temperature"] == 0.5


def test_a_policy_of_numbers_from_a_table_is_recorded_with_the_run(kit):
    """Whatever kind its numbers are of, the policy of a run can be written down, and is the same as with Python's."""
    given = {"max_attempts": np.int64(2), "jitter": np.True_, "retry_unknown": np.False_, "timeout_s": np.int32(20)}
    policy = llmkit.RetryPolicy(**given, rate_limit_waits=np.array([1.0, 2.0]))
    assert policy == llmkit.RetryPolicy(
        max_attempts=2, jitter=True, retry_unknown=False, timeout_s=20, rate_limit_waits=(1, 2)
    )
    assert kit.run("a", SMALL, retry=policy).result(60).status == "completed"


def test_the_catalog_takes_flags_and_settings_from_a_table(kit):
    """True is True, and a number a number, in whichever package."""
    assert kit.catalog.update_provider("xai", is_enabled=np.False_).is_enabled is False
    assert kit.catalog.models(available_only=np.bool_(True))["is_available"].all()
    kit.catalog.set_setting("most", np.int64(5))
    assert kit.catalog.get_setting("most") == 5


def test_times_of_numpy_do_not_become_options():
    """As integers, which those in nanoseconds would become, a model would be asked them."""
    for unit in ("ns", "s"):
        days = np.array(["2026-01-02", "2026-01-03"], dtype=f"datetime64[{unit}]")
        with pytest.raises(llmkit.ValidationError, match="texts or numbers"):
            llmkit.question.choice("Which day?", days)


def test_durations_of_numpy_are_no_numbers(kit):
    """Python takes them for integers, though no float can be made of them."""
    three = np.timedelta64(3, "s")
    wrong = [
        lambda: llmkit.half_width("answer", three),
        lambda: llmkit.question.number("n?", low=three),
        lambda: llmkit.Level("far", score=three),
        lambda: kit.run("a", SMALL, samples=three),
        lambda: kit.run("a", SMALL, temperature=three),
    ]
    for call in wrong:
        with pytest.raises(llmkit.ValidationError):
            call()


def test_a_time_of_numpy_is_a_time(kit):
    """``frame["at"].values[0]`` limits a table of costs as its text does."""
    model = kit.catalog.update_model(LUNA, retires_on=np.datetime64("2027-01-14"))
    assert str(model.retires_on) == "2027-01-14"
    kit.run("a", LUNA).result(60)
    assert len(kit.costs(since=np.datetime64("2020-01-01T00:00:00.123456789"))) == 1
    with pytest.raises(llmkit.ValidationError, match="a date or a time"):
        kit.costs(since=np.datetime64("NaT", "s"))


def test_questions_and_designs_take_numbers_from_a_table(kit):
    """Options, bounds, sizes and seeds; the same seed gives the same scenarios."""
    asked = [
        llmkit.question.choice("which?", np.array([1, 2, 3])),
        llmkit.question.number("n?", np.int64(1), np.int8(5)),
    ]
    run = kit.run(asked, SMALL).result(60)
    assert run.probes["status"].eq("ok").all()
    assert kit.run(asked, SMALL, reuse=np.True_).result(60).probes["cost_source"].eq("reused").all()
    assert not kit.run(asked, SMALL, reuse=np.False_).result(60).probes["cost_source"].eq("reused").any()
    levels = {"a": [1, 2, 3], "b": [4, 5, 6]}
    few = llmkit.scenarios_from_template("[a] [b]", levels, n=np.int64(3), method="sample", seed=np.int64(4))
    assert few == llmkit.scenarios_from_template("[a] [b]", levels, n=3, method="sample", seed=4)
    again = kit.replicate(run, share=np.float32(1), seed=np.int64(3))
    assert again.plan.scenarios == kit.replicate(run, share=1, seed=3).plan.scenarios
    assert llmkit.half_width("answer", np.float32(0.5)) == llmkit.half_width("answer", 0.5)


def test_codes_and_marks_of_a_table_are_kept(kit):
    """A coder's column of numbers is written as it is."""
    run = kit.run("a", LUNA).result(60)
    run.annotate(run.probes["probe_id"], mark=np.True_, codes={"score": np.int64(3), "sure": np.True_})
    assert run.probes[["mark", "code.score", "code.sure"]].iloc[0].tolist() == [True, 3, True]


def test_parameters_of_sql_may_be_numbers_of_a_table(kit):
    """By position and by name."""
    assert kit.sql("SELECT ? AS a, ? AS b", [np.int64(1), np.True_]).iloc[0].tolist() == [1, True]
    assert kit.sql("SELECT $a AS a", {"a": np.float32(0.5)})["a"].tolist() == [0.5]


def test_modes_are_compared_for_prompts_and_models_of_any_kind(kit):
    """A generator can be read only once, while several estimates are made."""
    listed = kit.plan_modes(["a", "b"], [SMALL, LUNA])
    pd.testing.assert_frame_equal(kit.plan_modes(iter("ab"), iter([SMALL, LUNA])), listed)
    pd.testing.assert_frame_equal(kit.plan_modes(pd.Series(["a", "b"]), pd.Index([SMALL, LUNA])), listed)


def test_records_travel_to_other_processes(kit):
    """Scenarios, configurations and models can be copied and pickled, as process pools and clusters do."""
    scenario = llmkit.Scenario("a", dimensions={"x": 1}, messages=[{"role": "user", "content": "q"},
                                                                  {"role": "assistant", "content": "a"}])  # fmt: skip
    asked = llmkit.question.likert("b", dimensions={"y": [1, 2]})
    for record in (scenario, asked, llmkit.Config(LUNA, "warm", temperature=1), kit.catalog.model(LUNA)):
        assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record

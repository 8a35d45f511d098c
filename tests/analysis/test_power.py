"""Designs and stopping: the power foretold is the power achieved, and stopping early keeps intervals honest."""

import gc
from decimal import Decimal
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from studies import World

import llmkit
from llmkit import question
from llmkit.analysis.power import Spread, design, pilot_spread

TRUE = Spread(between=2 * 0.5**2, within=2 * 1.0**2)  # of World's interaction and sample variances
UNIT = {"cost": Decimal("0.01"), "low": Decimal("0.005"), "high": Decimal("0.02")}


def _design(spread=TRUE, **changes):
    return design(spread, **{"detect": 0.5, "power": 0.8, "available": 1000, "unit": UNIT, **changes})


def test_power_is_that_of_statsmodels():
    """Of a paired t test over as many scenarios, to 1e-8."""
    for row in _design().curve.query("scenarios > 5").to_dict("records"):
        deviation = TRUE.of_mean(row["samples"])
        expected = TTestPower().power(0.5 / deviation, row["scenarios"], 0.05)
        if not np.isfinite(expected):  # scipy gives up where the power is 1
            expected = 1.0
        assert row["power"] == pytest.approx(expected, abs=1e-8)


def test_a_design_for_which_scenarios_are_missing_says_so():
    """More than those given are proposed where no number of samples would do: asking those given has less power."""
    assert repr(_design(available=12)).endswith("; only 12 scenarios given>")
    assert "given" not in repr(_design())


def _achieved(studies):
    plan, generator = _design(), np.random.default_rng(5)
    gc.freeze()
    world = World(plan.scenarios, samples=plan.samples)
    tables = [
        llmkit.compare(world.study(generator, {"a": 0.0, "b": 0.5}), "score", "config", "scenario_id").differences
        for _ in range(studies)
    ]
    return plan.power, np.mean([table["p"].iloc[0] < 0.05 for table in tables])


def test_the_power_foretold_is_achieved_in_few_studies():
    """A glance at what the long test measures."""
    foretold, achieved = _achieved(100)
    assert abs(foretold - achieved) < 0.12


@pytest.mark.soak
def test_the_power_foretold_is_achieved():
    """Of 1,000 studies as designed, as many find the difference as was said, to four points."""
    foretold, achieved = _achieved(1000)
    print(f"\npower foretold {foretold:.1%}, achieved {achieved:.1%}")
    assert abs(foretold - achieved) <= 0.04


def test_a_pilot_tells_scenarios_from_chance():
    """Averaged over pilots, components are the true ones; one sample each puts all into scenarios, which is safe."""
    generator, world = np.random.default_rng(3), World(12)
    spreads = [pilot_spread(world.study(generator), "score") for _ in range(40)]
    assert fmean(each.between for each in spreads) == pytest.approx(TRUE.between, rel=0.3)
    assert fmean(each.within for each in spreads) == pytest.approx(TRUE.within, rel=0.15)
    single = pilot_spread(World(200, samples=1).study(generator), "score")
    assert single.within == 0
    assert single.between == pytest.approx(TRUE.between + TRUE.within, rel=0.3)


def test_a_pilot_whose_answers_never_differ_tells_nothing():
    """Two scenarios that happen to agree are no reason to promise a power of 100%."""
    pilot = World(4, samples=2).study(np.random.default_rng(1), {"a": 0.0, "b": 0.5}).assign(score=1.0)
    with pytest.raises(llmkit.ValidationError, match="'score' does not vary"):
        pilot_spread(pilot, "score")


def test_the_cheapest_design_is_proposed_and_budgets_hold():
    """More samples where scenarios are few; the most power that a budget buys where it is too small."""
    ample = _design()
    assert ample.enough
    assert ample.power >= 0.8
    assert ample.cost == UNIT["cost"] * ample.scenarios * ample.samples
    scarce = _design(available=30)
    assert scarce.scenarios <= 30
    assert scarce.samples > ample.samples
    poor = _design(budget=Decimal("0.30"))
    assert not poor.enough
    assert poor.cost <= Decimal("0.30")
    assert poor.power < 0.8
    assert "not reached" in repr(poor)
    assert _design(unit=dict.fromkeys(UNIT)).cost is None
    assert "unpriced" in repr(_design(unit=dict.fromkeys(UNIT)))
    assert "$0.00" in repr(_design(unit=dict.fromkeys(UNIT, Decimal(0))))
    assert ample.plot().get_ylabel() == "Power"
    for change in ({"detect": 0}, {"power": 1}, {"detect": "much"}, {"budget": Decimal("0.001")}):
        with pytest.raises(llmkit.ValidationError):
            _design(**change)


def test_a_design_is_made_from_a_pilot_run(kit):
    """The variances of a run, and costs as they are estimated for what can be asked."""
    statements = [question.likert(f"Statement {number}.") for number in range(40)]
    models = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]
    pilot = kit.run(statements[:6], models, samples=2).result(60)
    plan = kit.design(statements, models, value="answer.score", detect=0.8, power=0.8, budget=20, pilot=pilot)
    assert plan.low < plan.cost < plan.high
    assert plan.scenarios >= 2
    assert "power" in repr(plan)
    with pytest.raises(llmkit.ValidationError, match="no column"):
        kit.design(statements, models, value="answer.points", detect=0.8, pilot=pilot)
    with pytest.raises(llmkit.ValidationError, match="leave samples out"):
        kit.design(statements, models, value="answer.score", detect=0.8, pilot=pilot, samples=4)


# --- stopping early --------------------------------------------------------------------------------------------------


WORLDS = {  # scores, their mean, the width asked for, and the coverage (in brackets: with t at a size fixed before)
    "normal": (lambda generator: generator.normal(0, 1, 400), 0.0, 0.5, 0.93),
    "shares": (lambda generator: (generator.random(400) < 0.8).astype(float), 0.8, 0.2, 0.93),
    "one in ten": (lambda generator: generator.choice([4.0, 5.0], 400, p=[0.1, 0.9]), 4.9, 0.1, 0.89),  # (93%)
    "one in twenty": (lambda generator: generator.choice([1.0, 5.0], 400, p=[0.05, 0.95]), 4.8, 0.2, 0.86),  # (92%)
}


def _stopped(generator, rule, draw):
    """The numbers of scenarios, and the means, of a study that is stopped by a rule."""
    scores = draw(generator)
    rows = [{"config": "a", "scenario_id": number, "score": score} for number, score in enumerate(scores)]
    for count in range(10, 400, 2):
        if rule.reached(rows[:count], ["a"]):
            return scores[:count]
    return scores


def _covered(studies, draw, truth, width):
    generator, rule = np.random.default_rng(11), llmkit.half_width("score", width)
    honest, naive = [], []
    for _ in range(studies):
        scores = _stopped(generator, rule, draw)
        frame = pd.DataFrame({"config": "a", "score": scores, "s": range(len(scores))})
        row = llmkit.compare(frame, "score", "config", "s").levels.loc[0]
        honest.append(row["low"] <= truth <= row["high"])
        early = generator.normal(0, 1, 400)
        for count in range(3, 400):
            low, high = stats.t.interval(0.95, count - 1, early[:count].mean(), stats.sem(early[:count]))
            if high - low <= 1.0:
                break
        naive.append(low <= 0 <= high)
    return np.mean(honest), np.mean(naive)


@pytest.mark.soak
@pytest.mark.parametrize("world", WORLDS)
def test_stopping_early_keeps_the_coverage(world):
    """Of 500 studies stopped by the rule, at least 93% of the intervals hold the truth, and nearly as many as t's can
    where scores hardly vary; stopped at the first narrow interval that shows up, far fewer do."""
    *how, bar = WORLDS[world]
    honest, naive = _covered(500, *how)
    print(f"\n{world}: stopped by the rule {honest:.1%}; at the first narrow interval of a normal mean {naive:.1%}")
    assert honest >= bar
    assert naive < 0.93


@pytest.mark.parametrize("unit", [1e-9, 1, 1e9])
def test_equal_scores_do_not_prove_that_all_are_equal(unit):
    """Ten equal scores of five could as well be nine tenths of them: a rule waits, in whatever unit, as for shares."""
    rows = [{"config": "a", "scenario_id": number, "score": 5 * unit} for number in range(400)]
    shares = [{**row, "score": 1} for row in rows]
    rule, of_shares = llmkit.half_width("score", 0.5 * unit), llmkit.half_width("score", 0.1)
    waits = [not rule.reached(rows[:count], ["a"]) for count in range(10, 400, 10)]
    assert waits == [not of_shares.reached(shares[:count], ["a"]) for count in range(10, 400, 10)]
    assert waits[0]
    assert not waits[-1]


def test_a_rule_waits_for_every_configuration():
    """Ten scenarios at least, and none of the configurations left behind; what is no number is not counted."""
    rule = llmkit.half_width("score", 5)
    rows = [{"config": config, "scenario_id": n, "score": n % 3} for config in "ab" for n in range(10)]
    assert rule.reached(rows, ["a", "b"])
    assert not rule.reached(rows, ["a", "b", "c"])
    assert not rule.reached(rows[:-1], ["a", "b"])
    assert not rule.reached([{**row, "score": None} for row in rows], ["a", "b"])


def test_a_run_stops_when_enough_is_known_and_is_resumed(kit, sim):
    """What was not asked costs nothing; resumed, it is asked, and the reason is kept with the run."""
    statements = [question.likert(f"Statement {number}.") for number in range(60)]
    rule = llmkit.half_width("answer.score", 3)
    run = kit.run(statements, "mistral:mistral-small-2603", stop_when=rule).result(60)
    asked = (run.probes["status"] == "ok").sum()
    assert 10 <= asked < 60
    assert run.status == "cancelled"
    assert "answer.score is known to ± 3" in kit.runs()["message"].iloc[0]
    assert sim.stats()["requests"] == asked
    again = kit.resume(run.id).result(60)
    assert (again.probes["status"] == "ok").all()


def test_a_resumed_run_says_that_it_no_longer_stops_by_itself(kit):
    """Nobody who was cut off should pay for all that is left without having been told."""
    statements = [question.likert(f"Statement {number}.") for number in range(60)]
    handle = kit.run(statements, "mistral:mistral-small-2603", stop_when=llmkit.half_width("answer.score", 0.001))
    handle.cancel()
    handle.wait()
    with pytest.warns(UserWarning, match=r"was to stop when answer.score is known to ± 0.001.*reuse=True, stop_when="):
        assert kit.resume(handle.run_id).result(60).status == "completed"


def test_reused_answers_count_when_it_is_decided_whether_enough_is_known(kit, sim):
    """Where they suffice, nothing is bought; a run of nothing but reused answers is complete."""
    statements = [question.likert(f"Statement {number}.") for number in range(60)]
    kit.run(statements[:40], "mistral:mistral-small-2603").result(60)
    how = {"reuse": True, "stop_when": llmkit.half_width("answer.score", 3)}
    run = kit.run(statements, "mistral:mistral-small-2603", **how).result(60)
    assert (run.status, sim.stats()["requests"]) == ("cancelled", 40)
    assert (run.probes["status"] == "ok").sum() == 40
    assert kit.run(statements[:40], "mistral:mistral-small-2603", **how).result(60).status == "completed"


@pytest.mark.parametrize(
    "arguments", [("", 1), ("score", 0), ("score", -1), ("score", float("nan")), ("score", "wide")]
)
def test_rules_that_make_no_sense_are_refused(kit, arguments):
    """And so is what is no rule, before anything is sent."""
    with pytest.raises(llmkit.ValidationError):
        llmkit.half_width(*arguments)
    with pytest.raises(llmkit.ValidationError, match="stop_when"):
        kit.run("hello", stop_when=0.03)


def test_a_misspelt_column_is_refused_before_anything_is_asked(kit):
    """It would never stop the run: the answers' fields are known from questions and schemas, the nearest is named."""
    question = llmkit.question.likert("Is tea good?")
    schema = {"type": "object", "properties": {"score": {"type": "number"}}, "required": ["score"]}
    for prompts, how, rule, near in (
        ([question], {}, llmkit.half_width("answer.scor", 0.1), "answer.score"),
        (["Why?"], {}, llmkit.half_width("answer.score", 0.1), "no column 'answer.score'"),
        (["Why?"], {"schema": schema}, llmkit.half_width("answer.skore", 0.1), "answer.score"),
        ([question], {}, llmkit.half_width("answer.score", 0.1, within="scenario"), "scenario_id"),
    ):
        with pytest.raises(llmkit.ValidationError, match=near):
            kit.run(prompts, "openai:gpt-6-luna", stop_when=rule, **how)
    assert kit.runs().empty
    for value, how in (
        ("answer.score", {"schema": schema}),
        ("output_tokens", {}),
        ("answer.x", {"schema": {"type": "object"}}),
    ):
        kit.run("Why?", "openai:gpt-6-luna", stop_when=llmkit.half_width(value, 0.1), **how).result()


def test_a_column_without_numbers_is_told_of_once(kit):
    """What an option is called is no number; its score is one. Costs count, though the journal keeps them as text."""
    questions = [llmkit.question.likert(f"Is tea {n} good?") for n in range(15)]
    with pytest.warns(UserWarning, match="no number in 'answer'") as told:
        run = kit.run(questions, "openai:gpt-6-luna", stop_when=llmkit.half_width("answer", 9)).result()
    assert len([each for each in told if "no number" in str(each.message)]) == 1
    assert run.status == "completed"
    stopped = kit.run(questions * 6, "openai:gpt-6-luna", stop_when=llmkit.half_width("estimated_cost", 9)).result()
    assert stopped.status == "cancelled"

"""Estimates that know what they do not know: in made-up worlds, and from the history of a real catalog."""

import json

import pytest
from local_provider import LOCAL
from test_money_unknown import NO_RETRY, answer
from workloads import MODEL, NOON
from worlds import WORLDS, covered

from llmkit.money.estimates import Workload, estimate_model
from llmkit.money.history import History, Observation
from llmkit.records import Scenario, Usage

SLACK = 0.08
"""What chance may do to a share that is counted in few trials."""


@pytest.mark.parametrize("name", WORLDS)
def test_the_interval_holds_in_every_world(name):
    """In 40 trials, about as often as it promises; the basis says where it guesses."""
    inside, _, basis = covered(WORLDS[name], 40, seed=2)
    assert inside >= 0.7 - SLACK
    assert ("answers cut" in basis) == (WORLDS[name].cap is not None)
    assert (basis == "model") == (WORLDS[name].unlike is not None)


def test_few_scenarios_are_not_taken_for_all():
    """Three of them rarely include one with long answers: actual / estimate is 1 on average all the same."""
    assert covered(WORLDS["clustered"], 400, seed=1)[1] == pytest.approx(1, abs=0.05)


@pytest.mark.soak
def test_the_interval_holds_what_it_promises_in_every_world():
    """80% intervals cover 70 to 95% of 1,000 trials in each of the worlds, but for noise of two points.

    Two of them pull in opposite directions: one pilot does not show how far runs lie from each other, so its interval
    is the same where runs drift by 0.3 ("run drift") and where none does ("lognormal").
    """
    table = {name: covered(world, 1000, seed=1) for name, world in WORLDS.items()}
    for name, (inside, ratio, basis) in table.items():
        print(f"{name:20} {inside:6.1%} inside, actual / estimate {ratio:.2f}, basis: {basis}")
    assert all(0.68 <= inside <= 0.97 for inside, _, _ in table.values())


def cut(count=50):
    """An answer that was ended by max_tokens."""
    reply = answer(prompt_tokens=20, completion_tokens=count, total_tokens=20 + count)
    body = json.loads(reply.body)
    body["choices"][0]["finish_reason"] = "length"
    return type(reply)(kind="raw", body=json.dumps(body), headers=reply.headers)


def test_answers_that_were_cut_are_not_taken_for_short_ones(paying, sim):
    """A pilot at 50 tokens does not promise the cost of 50 tokens for a study without a limit, nor certainty."""
    sim.script("openai", [cut()] * 20)
    prompts = [f"q{n}" for n in range(20)]
    pilot = paying.run(prompts, LOCAL, max_tokens=50).result(60)
    again, study = paying.estimate(prompts, LOCAL, max_tokens=50), paying.estimate(prompts, LOCAL)
    assert "cut" not in again.basis
    assert float(again.total) == pytest.approx(float(pilot.total_cost), rel=0.1)
    assert "answers cut" in study.basis
    assert study.total > 3 * pilot.total_cost
    assert study.high > 2 * study.low


def test_what_was_billed_in_vain_is_expected_again(paying, sim):
    """Failures that were billed, whether an answer came after them or not, make a study dearer."""
    good = answer(prompt_tokens=20, completion_tokens=100, total_tokens=120)
    vain = answer(prompt_tokens=20, completion_tokens=100, total_tokens=120)
    body = json.loads(vain.body)
    body["choices"][0]["message"]["content"] = ""
    vain = type(vain)(kind="raw", body=json.dumps(body), headers=vain.headers)
    sim.script("openai", [good, vain] * 20)
    prompts = [f"q{n}" for n in range(40)]
    run = paying.run(prompts, LOCAL, retry=NO_RETRY).result(60)
    assert set(run.probes["status"]) == {"ok", "failed"}
    estimate = paying.estimate(prompts, LOCAL)
    assert estimate.models[0].observations == 40
    assert float(estimate.total) == pytest.approx(float(run.total_cost), rel=0.05)


def test_a_follow_up_is_estimated_from_answers_to_follow_ups():
    """Short first answers say nothing about what comes after them."""
    seen = [
        Observation(
            provider="acme",
            model=MODEL.reference,
            input_chars=100,
            usage=Usage(input_tokens=25, output_tokens=10 if turn == 1 else 1000),
            turn=turn,
        )
        for _ in range(10)
        for turn in (1, 2)
    ]
    alone, both = (Workload.of([Scenario("q", followups=each)]) for each in ((), ("more",)))
    one, two = (estimate_model(MODEL, work, History(seen), at=NOON) for work in (alone, both))
    assert (one.output_tokens, two.output_tokens) == (10, 1010)


def test_a_token_holds_fewer_characters_of_other_scripts(paying):
    """Without history, as many bytes of any script make a token."""
    latin, greek, chinese = (paying.estimate(text * 300, LOCAL).models[0] for text in ("a", "α", "文"))
    assert (latin.chars_per_token, greek.chars_per_token) == (4, 2)
    assert chinese.chars_per_token == pytest.approx(4 / 3)
    assert latin.input_tokens < greek.input_tokens < chinese.input_tokens


def test_a_model_that_reasons_by_default_is_taken_to(kit):
    """Also where its entry does not say how much; one that reasons only when asked is not."""
    reasons, asked = (kit.estimate("q", ref).models[0] for ref in ("openai:gpt-6-luna", "anthropic:claude-haiku-5-5"))
    assert reasons.output_tokens > 1000
    assert asked.output_tokens < 600

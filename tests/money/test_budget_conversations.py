"""Conversations under a budget: what was begun is finished, and little is spent on what is not."""

import json
import random
from decimal import Decimal

import pytest
from local_provider import LOCAL
from test_money_unknown import answer

FOLLOWUPS = ["And then?", "Why?", "Sum it up."]


def scripted(seed, count):
    """Answers of 40 to 300 tokens, as a provider bills them, enough for all conversations."""
    rng = random.Random(seed)
    tokens = [rng.randint(40, 300) for _ in range(4 * count)]
    return [answer(prompt_tokens=60, completion_tokens=n, total_tokens=60 + n) for n in tokens]


@pytest.mark.parametrize(("count", "share"), [(60, 0.85), (200, 0.9)])
@pytest.mark.parametrize("max_tokens", [300, 1000])
def test_conversations_of_four_turns_under_a_third_of_the_money(paying, sim, max_tokens, count, share):
    """20 at a time: of 200, nine tenths of what the money allows are finished, and a twentieth is wasted at most."""
    replies = scripted(1, count)
    used = [json.loads(reply.body)["usage"] for reply in replies]
    total = sum(each["prompt_tokens"] + 4 * each["completion_tokens"] for each in used) / Decimal(1_000_000)
    budget = total / 3
    sim.script("openai", replies)
    prompts = [f"q{n}" for n in range(count)]
    run = paying.run(prompts, LOCAL, followups=FOLLOWUPS, max_tokens=max_tokens, budget=budget).result(120)
    finished = (run.probes["status"] == "ok").sum()
    wasted = Decimal(str(run.probes.loc[run.probes["status"] != "ok", "estimated_cost"].sum()))
    assert run.status == "budget"
    assert run.total_cost <= budget
    assert finished >= share * count / 3
    assert wasted <= budget * Decimal("0.05")


def test_one_that_costs_more_than_it_could_is_told_and_reckoned_with(paying, sim):
    """The sentence says by how much and which model; its next requests are set aside at what was learnt."""
    paying.catalog.update_provider("local", max_parallel_requests=1)
    paying.catalog.update_model(LOCAL, api_config={"max_tokens_param": "max_completion_tokens"})
    sim.script("openai", [answer(prompt_tokens=30, completion_tokens=5_000, total_tokens=5_030)] * 10)
    with pytest.warns(UserWarning, match=rf"A request to {LOCAL} cost \$0\.02.*but at most \$0\.0021"):
        run = paying.run([f"q{n}" for n in range(10)], LOCAL, max_tokens=500, budget="0.05").result(60)
    assert run.total_cost <= Decimal("0.05")
    assert (run.probes["status"] == "ok").sum() == 2
    assert "may cost up to $0.02" in run.message


def test_a_conversation_that_is_resumed_keeps_what_its_turns_cost(paying, sim):
    """Also when the price was changed in the middle of it."""
    sim.script("openai", [answer(prompt_tokens=60, completion_tokens=9, total_tokens=69), "auth"])
    run = paying.run("one", LOCAL, followups=["two"]).result(60)
    assert run.probes["turns"].tolist() == [1]
    first = run.total_cost
    paying.catalog.update_model(LOCAL, cost_input_per_million=7, cost_output_per_million=90)
    with pytest.warns(UserWarning, match="was changed"):
        run = paying.resume(run.id).result(60)
    costs = run.turns["cost"].tolist()
    assert costs[0] == float(first)
    assert run.probes["estimated_cost"].tolist() == [pytest.approx(sum(costs))]
    assert run.reprice().attrs["total"] == run.total_cost

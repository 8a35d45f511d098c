"""Options of a run in all pairs: whatever meets, the tables agree with the server, and nothing is asked twice."""

import itertools
import random

import pytest

import llmkit
from llmkit import Config, Scenario, question

LUNA, HAIKU, GROK, PRO = (
    "openai:gpt-6-luna", "anthropic:claude-haiku-5-5", "xai:grok-4.3", "openai:gpt-5.4-pro",
)  # fmt: skip
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["score"],
    "additionalProperties": False,
}
PREFIX = "A beginning that all of them share. " * 150
OPTIONS = {
    "prompts": [
        ["one", "two", "three"],
        [Scenario("plain"), question.likert("Do you agree?"), question.choice("Which?", ["a", "b", "c"])],
        [PREFIX + "one", PREFIX + "two"],
        [Scenario("now", messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}])],
    ],
    "models": [[LUNA, HAIKU], [Config(GROK, "a", max_tokens=30), Config(GROK, "b", temperature=0)], PRO],
    "samples": [1, 2],
    "system": [None, "Be brief."],
    "followups": [None, ["Why?"]],
    "max_tokens": [None, 60],
    "seed": [None, 7],
    "budget": [None, 90],
    "order": ["interleaved", "sequential", "cache"],
    "options": [{"order_seed": 3}, {"strict": True}, {"adaptive": True, "poll_s": 0.01}],
    "schema": [None, SCHEMA],
    "service_tier": [None, "flex"],
    "reuse": [False, True, "only"],
    "mode": ["live", "batch", "batch-or-live"],
    "stop_when": [None, llmkit.half_width("output_tokens", 1e6)],
    "project": [None, "study"],
}
FAULTS = [{}, {"rate_limit": 0.2, "server_error": 0.2}, {"disconnect": 0.3}, {"empty": 0.3}]


def covering(options, chance):
    """Combinations that hold every pair of values, each the best of a few random ones."""
    left = {
        pair for a, b in itertools.combinations(options, 2) for pair in itertools.product(
            ((a, n) for n in range(len(options[a]))), ((b, n) for n in range(len(options[b])))
        )
    }  # fmt: skip
    while left:
        drawn = [{name: chance.randrange(len(values)) for name, values in options.items()} for _ in range(30)]
        best = max(drawn, key=lambda each: len(left & {*itertools.combinations(each.items(), 2)}))
        left -= {*itertools.combinations(best.items(), 2)}
        yield best


COMBINATIONS = [
    {name: [*OPTIONS.get(name, FAULTS)][place] for name, place in each.items()}
    for each in covering(OPTIONS | {"faults": FAULTS}, random.Random(1))
]
MILDER = {"service_tier": None, "options": {"order_seed": 3}, "mode": "batch-or-live", "followups": None}
"""Instead of what some models or prompts refuse."""


@pytest.fixture(scope="module")
def sim():
    """A simulator that answers at once, also in batches."""
    with llmkit.simulator.serve(latency=0, batch_delay=0, seed=3) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def kit(sim, loose_catalog, copy_catalog, tmp_path_factory):
    """A kit for all of them, so that later ones may reuse what earlier ones bought."""
    folder = tmp_path_factory.mktemp("together")
    copy_catalog(loose_catalog, folder)
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        kit.use_simulator(sim)
        yield kit


def accepted(kit, sim, how):
    """The run, and its arguments as far as they were accepted; a refusal leaves no trace."""
    before = len(kit.runs()), sim.count("requests")
    try:
        return kit.run(**how), how
    except llmkit.LlmkitError:
        assert (len(kit.runs()), sim.count("requests")) == before
        return kit.run(**how | MILDER), how | MILDER


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(COMBINATIONS)))
def test_any_two_options_agree(kit, sim, number):
    """The grid is whole, each request is an attempt, each table has the same cost, and what is there is not bought."""
    how = {"retry": llmkit.RetryPolicy.fast(), **COMBINATIONS[number]}
    sim.set(faults=how.pop("faults"))
    asked = sim.count("requests")
    handle, how = accepted(kit, sim, how)
    run = handle.result(60)
    sim.set(faults={})
    probes, attempts = run.probes, run.attempts
    configs = 1 if isinstance(how["models"], str) else len(how["models"])
    assert len(probes) == len(how["prompts"]) * configs * how["samples"]
    assert sim.count("requests") - asked == len(attempts) == probes["attempts"].sum()
    assert attempts["maybe_billed"].sum() == probes["maybe_billed"].sum()
    costs = run.costs(["config", "status"])
    assert costs["probes"].sum() == len(probes)
    for table, name in ((costs, "estimated_cost"), (probes, "estimated_cost"), (attempts, "cost")):
        assert table[name].sum() == pytest.approx(float(run.total_cost), abs=1e-12)
    ended = {"completed": {"ok", "failed"}, "cancelled": {"ok", "failed", "cancelled"}}[run.status]
    assert set(probes["status"]) <= ({"ok", "pending"} if how["reuse"] == "only" else ended)
    assert (run.status == "cancelled") == (probes["status"] == "cancelled").any()
    if (probes["status"] == "ok").all():
        asked, again = sim.count("requests"), how | {"reuse": True}
        assert kit.estimate(**again).total == 0
        assert kit.run(**again).result(60).total_cost == 0
        assert sim.count("requests") == asked

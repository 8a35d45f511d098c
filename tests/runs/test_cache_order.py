"""The order ``cache``: what begins alike is asked together, and read from the providers' caches for less."""

import json
import threading
from itertools import groupby, pairwise
from random import Random
from typing import get_type_hints

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

import llmkit
from llmkit.providers.wires.anthropic_messages import AnthropicMessages
from llmkit.records import Call, Message, Model, Params, Scenario
from llmkit.runs.plan import Configuration, Plan
from llmkit.runs.prefixes import alike, divided

AUTOMATIC, MARKED = "openai:gpt-5.4-mini", "anthropic:claude-haiku-5-5"
RULES = "".join(f"Rule {n} of this house concerns the keeping of bees. " for n in range(240))[:12_000]
QUESTIONS = [f"{RULES}\nQuestion {n}: how many hives, from 1 to 9?" for n in range(40)]


@pytest.fixture
def slow():
    """A simulator that takes so long that all requests of a study have come before the first is answered."""
    with llmkit.simulator.serve(latency=2) as simulator:
        yield simulator


@pytest.fixture
def wide(kit, slow):
    """A kit that asks everything at once."""
    kit.use_simulator(slow)
    for name in ("openai", "anthropic"):
        kit.catalog.update_provider(name, max_parallel_requests=len(QUESTIONS))
    return kit


def shares(run):
    """By model, the share of the input that was read from a cache."""
    costs = run.costs().set_index("model")
    return (costs["cached_input_tokens"] / costs["input_tokens"]).to_dict()


def test_a_shared_beginning_is_read_from_the_cache_at_the_cost_that_was_predicted(wide, slow):
    """At the same concurrency nearly nothing is cached when all go at once, nearly all when the first goes alone."""
    how = {"models": [AUTOMATIC, MARKED], "max_tokens": 40}
    plain = wide.run(QUESTIONS, **how).result(60)
    slow.reset()
    expected = wide.estimate(QUESTIONS, **how), wide.estimate(QUESTIONS, **how, order="cache")
    run = wide.run(QUESTIONS, **how, order="cache").result(60)
    assert all(share <= 0.1 for share in shares(plain).values())
    assert all(share >= 0.9 for share in shares(run).values())
    costs = run.costs().set_index("model")
    for model in (AUTOMATIC, MARKED):
        own = [frame.df.set_index("model").loc[model, "cost"] for frame in expected]
        fell = plain.costs().set_index("model").loc[model, "estimated_cost"] - costs.loc[model, "estimated_cost"]
        assert fell == pytest.approx(own[0] - own[1], rel=0.05)
        assert costs.loc[model, "estimated_cost"] == pytest.approx(own[1], rel=0.05)
        assert costs.loc[model, "cache_saved"] == pytest.approx(fell, rel=0.05)


def test_a_beginning_of_several_longer_ones_is_paid_for_once(wide):
    """Documents after the same instructions, all asked at once: these are written with the first document alone."""
    documents = [f"Document {n}. " + "It says much. " * 600 for n in range(5)]
    study = [Scenario(f"{document}\nQuestion {n}?", system=RULES) for document in documents for n in range(6)]
    expected = wide.estimate(study, [AUTOMATIC, MARKED], max_tokens=40, order="cache").df.set_index("model")["cost"]
    run = wide.run(study, [AUTOMATIC, MARKED], max_tokens=40, order="cache").result(60)
    costs = run.costs().set_index("model")
    written = len(RULES) + sum(map(len, documents))
    assert costs.loc[MARKED, "cache_write_tokens"] == pytest.approx(written / 4, rel=0.01)
    assert costs["estimated_cost"].to_dict() == pytest.approx(expected.to_dict(), rel=0.05)


def test_what_was_read_from_the_cache_is_not_expected_where_nothing_is_cached(wide, slow):
    """Whatever the history of the template: neither without the order, at a provider that needs marks, nor where no
    beginning is asked twice.
    """
    alone = [f"Study {n}. {RULES}" for n in range(5)]
    for model, again in ((MARKED, {"samples": 4}), (AUTOMATIC, {"order": "cache"})):
        wide.run(alone, model, samples=4, max_tokens=40, order="cache").result(60)
        slow.reset()
        expected = wide.estimate(alone, model, max_tokens=40, **again)
        run = wide.run(alone, model, max_tokens=40, **again).result(60)
        assert shares(run) == {model: 0}
        assert float(run.total_cost) == pytest.approx(float(expected.total), rel=0.05)


def test_answers_that_are_sent_back_are_read_from_no_cache(wide):
    """Of a conversation the shared beginning is, as the estimate knows: what was answered follows it."""
    study = [Scenario(f"Question {n}?", system=RULES, followups=("Why?", "And then?")) for n in range(20)]
    how = {"models": MARKED, "max_tokens": 400}
    wide.run(study, **how).result(60)
    expected = wide.estimate(study, **how, order="cache").total
    assert float(wide.run(study, **how, order="cache").result(60).total_cost) == pytest.approx(
        float(expected), rel=0.05
    )


def test_marks_are_shown_and_change_no_question(kit, sim):
    """What was sent is shown with its marks and valid for the provider's SDK; answers are reused from either order."""
    first = kit.run(QUESTIONS[:3], MARKED, followups=["Why?"], order="cache").result(60)
    bodies = [json.loads(body) for body in first.attempts["request"]]
    for body in bodies:
        assert set(body) <= set(get_type_hints(MessageCreateParamsNonStreaming))
        list(TypeAdapter(MessageCreateParamsNonStreaming).validate_python(body)["messages"])
        blocks = body["messages"][0]["content"]
        assert blocks[0]["cache_control"] == {"type": "ephemeral"}
        assert blocks[0]["text"] == f"{RULES}\nQuestion "
        assert "".join(block["text"] for block in blocks) in QUESTIONS
    before = sim.stats()["requests"]
    assert kit.run(QUESTIONS[:3], MARKED, followups=["Why?"], reuse=True).result(60).total_cost == 0
    kit.run(QUESTIONS[3:5], MARKED).result(60)
    assert kit.run(QUESTIONS[3:5], MARKED, order="cache", reuse="only").result(60).probes["status"].eq("ok").all()
    assert sim.stats()["requests"] == before + 2


def test_batches_are_not_marked(kit, sim, tmp_path):
    """No request of a batch waits for another, so writing to the cache would only cost more."""
    sim.set(batch_delay=0)
    run = kit.run(QUESTIONS[:3], MARKED, order="cache", mode="batch", options={"poll_s": 0.01}).result(60)
    assert run.probes["status"].eq("ok").all()
    assert not run.attempts["request"].str.contains("cache_control").any()
    assert run.probes["cache_write_tokens"].eq(0).all()
    run.archive(str(tmp_path / "archive"))
    archived = llmkit.dataset(str(tmp_path / "archive")).sql("SELECT request FROM attempts ORDER BY probe_id")
    assert archived["request"].tolist() == run.attempts.sort_values("probe_id")["request"].tolist()


def test_a_run_that_was_stopped_goes_on_in_its_order(kit, sim):
    """Resumed, the first of each block goes alone again, and every request is marked as before."""
    sim.set(latency=0.2)
    study = [Scenario(f"Question {n}?", system=f"{n % 2} {RULES}", followups=("Why?",)) for n in range(16)]
    kit.catalog.update_provider("anthropic", max_parallel_requests=2)
    answered = threading.Event()
    handle = kit.run(study, MARKED, order="cache", on_event=lambda event: event.kind == "answered" and answered.set())
    assert answered.wait(60)
    handle.cancel()
    handle.wait()
    run = kit.resume(handle.run_id).result(60)
    assert run.probes["status"].eq("ok").all()
    assert run.attempts["request"].str.contains("cache_control").all()
    prefix = len(RULES) / 4
    assert run.probes["cache_write_tokens"].sum() == pytest.approx(2 * prefix, rel=0.01)
    assert run.probes["cached_input_tokens"].sum() == pytest.approx((2 * len(study) - 2) * prefix, rel=0.01)


def test_nothing_is_marked_where_it_does_not_pay(kit):
    """Once used, too short, or at a price of reading that saves nothing: then requests are as always."""
    for prompts, changes in (
        (QUESTIONS[:1], {}),
        (["Why bees?", "Why bees at all?"], {}),
        (QUESTIONS[:2], {"cost_cached_input_per_million": kit.catalog.model(MARKED).price.cost_input_per_million}),
    ):
        kit.catalog.update_model(MARKED, **changes)
        run = kit.run(prompts, MARKED, order="cache").result(60)
        assert not run.attempts["request"].str.contains("cache_control").any()


def test_unknown_rates_have_no_saving(kit):
    """What nobody knows the price of saves nobody knows what."""
    kit.catalog.update_model(AUTOMATIC, cost_input_per_million=None, cost_cached_input_per_million=None)
    kit.run(QUESTIONS[:1], AUTOMATIC).result(60)
    run = kit.run(QUESTIONS[:2], AUTOMATIC, order="cache").result(60)
    assert run.probes["cached_input_tokens"].gt(0).any()
    assert run.costs()["cache_saved"].isna().all()


def test_a_first_one_that_fails_lets_the_others_go(kit, sim):
    """Whatever becomes of it, nobody waits for it any longer, and a model's first is not another's."""
    sim.script("openai", ["blocked"])
    run = kit.run(QUESTIONS[:5], [AUTOMATIC, MARKED], order="cache").result(60)
    assert run.probes["status"].value_counts().to_dict() == {"ok": 9, "failed": 1}


# --- the order itself -------------------------------------------------------------------------------------------------


def plan(scenarios, configs=None, samples=2, seed=1):
    """A plan in the order ``cache``."""
    models = [Model(provider="p", model_id=name, display_name=name) for name in "abc"]
    own = [Configuration(model=each, label=each.reference, params=Params()) for each in models]
    return Plan(
        scenarios=tuple(scenarios),
        configs=tuple(configs or own),
        samples=samples,
        params=Params(),
        order="cache",
        order_seed=seed,
    )


def test_conditions_are_balanced_within_blocks():
    """Blocks come one after the other; in each, every round asks all of it once, in an order of its own."""
    systems = [f"You are person {n}. {RULES}" for n in range(3)]
    asked = plan([Scenario(f"Question {n}?", system=systems[n % 3]) for n in range(12)])
    order = [asked.probe(position) for position in asked.asking_order()]
    blocks = [list(block) for _, block in groupby(order, key=lambda probe: probe.scenario.system)]
    assert len(blocks) == 3
    for block in blocks:
        first, second = block[:12], block[12:]
        assert [{probe.sample for probe in part} for part in (first, second)] == [{1}, {2}]
        places = [[(probe.scenario.prompt, probe.model.model_id) for probe in part] for part in (first, second)]
        assert sorted(places[0]) == sorted(places[1])
        assert places[0] != places[1]
        for start in range(0, 24, 3):
            assert {probe.model.model_id for probe in block[start : start + 3]} == set("abc")
    again = plan(asked.scenarios)
    assert list(again.asking_order()) == list(asked.asking_order())
    assert list(plan(asked.scenarios, seed=2).asking_order()) != list(asked.asking_order())


def test_longer_beginnings_are_kept_together_within_shorter_ones():
    """Documents under two system prompts: a document's questions follow each other, and documents of a prompt too."""
    systems, documents = [RULES, RULES.upper()], [f"Document {n}. " + "It says much. " * 400 for n in range(4)]
    scenarios = [
        Scenario(f"{document}\nQuestion {n}?", system=system, dimensions={"s": system[:4], "d": document[:11]})
        for n in range(3)
        for document in documents
        for system in systems
    ]
    asked = plan(scenarios, samples=1)
    order = [asked.probe(position).scenario.dimensions for position in asked.asking_order()]
    assert len(list(groupby(order, key=lambda each: each["s"]))) == 2
    assert len(list(groupby(order, key=lambda each: (each["s"], each["d"])))) == 8
    assert all(len(block.shared) == 2 for block in asked.blocks)


def test_the_system_prompt_of_a_configuration_counts():
    """Short questions share the long system prompt that their configuration has; without one there is nothing."""
    model = Model(provider="p", model_id="a", display_name="A", api_config={"cache_min_tokens": 512})
    configs = [
        Configuration(model=model, label=label, params=Params(), system=system)
        for label, system in (("long", RULES), ("none", None))
    ]
    asked = plan([Scenario(f"Question {n}?") for n in range(4)], configs, samples=1)
    assert len(asked.blocks) == 1
    assert asked.blocks[0].shared[0].scenarios == 4


PART = st.sampled_from(["", "a", "ab", "aab", "b" * 9, "a" * 12])
TEXTS = st.lists(st.lists(PART, min_size=2, max_size=4), min_size=1)


@given(TEXTS, st.integers(1, 3), st.integers(1, 12), st.integers(0, 20))
def test_blocks_divide_and_share_what_they_say(texts, repeats, least, before):
    """Every scenario is in one block; beginnings grow by what is worth a block, and all of a block have them."""
    parts = [tuple(text.encode() for text in each) for each in texts]
    blocks = divided(parts, Random(1), repeats=repeats, least=least, before=before)
    assert sorted(number for block in blocks for number in block.scenarios) == list(range(len(parts)))
    for block in blocks:
        sizes = [-before, *(each.size for each in block.shared)]
        assert all(longer - shorter >= least for shorter, longer in pairwise(sizes))
        for number in block.scenarios:
            assert all(alike(parts[number], parts[each.first]) >= each.size for each in block.shared)


@given(st.lists(st.text("ab \n", min_size=1, max_size=12), min_size=1, max_size=3), st.lists(st.integers(0, 40)))
def test_marked_texts_say_the_same(texts, ends):
    """Whatever is marked, at most four blocks are, each with something to read in it, and the texts are the same."""
    wire = AnthropicMessages()
    model = Model(provider="anthropic", model_id="m", display_name="M")
    messages = tuple(Message("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts))
    call = Call(model=model, messages=messages, system="s a", marks=tuple(ends))
    request = wire.build(call)
    contents = [request.body["system"], *(message["content"] for message in request.body["messages"])]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    said = ["".join(block["text"] for block in each) if isinstance(each, list) else each for each in contents]
    assert said == ["s a", *texts]
    assert sum("cache_control" in block for block in blocks) <= 4
    assert all(block["text"].strip() for block in blocks)
    assert request.question_json == wire.build(Call(model=model, messages=messages, system="s a")).content

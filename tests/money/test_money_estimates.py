"""Estimates from the answers that were stored, and what they are worth."""

import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import llmkit
from llmkit.providers.wires import answer_limit, wire_for
from llmkit.records import Call, Message, Params
from llmkit.runs.plan import most_output_tokens

LUNA, HAIKU = "openai:gpt-6-luna", "anthropic:claude-haiku-5-5"


def scenarios(template, n):
    """So many scenarios of one template."""
    return llmkit.scenarios_from_template(template, {"number": [str(k) for k in range(n)]})


def test_estimates_learn_from_earlier_answers_and_name_their_basis(kit):
    """Nothing known, then the same model and template, then the model only, then the provider, then all."""
    assert (first := kit.estimate("Hello", LUNA)).basis == "constant"
    assert repr(first).endswith("; based on typical lengths, for lack of earlier runs)>")
    kit.run(scenarios("Tell me about [number]", 6), LUNA).result(60)
    same = kit.estimate(scenarios("Tell me about [number]", 9), LUNA)
    assert same.basis == "model × template"
    assert same.df["observations"].tolist() == [6]
    assert kit.estimate(scenarios("Another one: [number]", 3), LUNA).basis == "model"
    assert kit.estimate("Hello", "openai:gpt-6-sol").basis == "provider"
    assert kit.estimate("Hello", HAIKU).basis == "all"
    assert set(kit.estimate("Hello", [LUNA, HAIKU]).df["basis"]) == {"model", "all"}


def test_prompts_are_counted_with_the_ratio_learnt_from_what_was_sent(kit):
    """System prompts included, the tokens of the same again are those that came; in conversations, where answers are
    sent again and the first ones may be longer than the others, nearly.
    """
    prompts = [llmkit.Scenario(prompt="word " * n, system="Be brief.") for n in range(5, 25)]
    talks = [replace(prompt, followups=("And now?",)) for prompt in prompts]
    for asked, model, tolerance in ((prompts, LUNA, 0.02), (talks, HAIKU, 0.35)):
        run = kit.run(asked, model).result(60)
        est = kit.estimate(asked, model).df.iloc[0]
        assert est["input_tokens"] == pytest.approx(run.turns["input_tokens"].sum(), rel=tolerance)
        assert est["output_tokens"] == pytest.approx(run.turns["output_tokens"].sum(), rel=0.02)


def test_answers_in_json_do_not_pass_for_free_text(kit):
    """A run with a schema is estimated from runs with that schema where there are any."""
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
              "additionalProperties": False}  # fmt: skip
    asked = scenarios("Is [number] prime?", 8)
    kit.run(asked, LUNA).result(60)
    assert kit.estimate(asked, LUNA, schema=schema).basis == "model"
    run = kit.run(asked, LUNA, schema=schema).result(60)
    est = kit.estimate(asked, LUNA, schema=schema)
    assert est.basis == "model × template"
    assert est.df["output_tokens"][0] == pytest.approx(run.probes["output_tokens"].sum(), abs=2)


def test_rehearsals_and_real_runs_do_not_learn_from_each_other(paying, sim, tmp_path):
    """A kit that pays knows nothing of a rehearsal in the same catalog, and the other way round."""
    paying.run([f"q{n}" for n in range(6)], "local:gpt-6-luna").result(60)
    assert paying.estimate("q", "local:gpt-6-luna").basis == "model"
    with llmkit.open(paying.path, simulate=True) as rehearsal:
        assert rehearsal.estimate("q", "local:gpt-6-luna").basis == "constant"


def test_what_a_model_would_cost_is_known_before_there_is_a_key(database, monkeypatch):
    """Prices decide which provider to open an account with; the run itself needs the key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with llmkit.open(database) as keyless:
        assert keyless.estimate("Why?", "openai:gpt-6-luna").total > 0
        assert set(keyless.plan_modes("Why?", "openai:gpt-6-luna")["mode"]) > {"live", "batch"}
        with pytest.raises(llmkit.MissingApiKey, match="OPENAI_API_KEY"):
            keyless.run("Why?", "openai:gpt-6-luna")
        with pytest.raises(llmkit.MissingApiKey, match="OPENAI_API_KEY"):
            keyless.estimate("Why?")


def test_the_effort_that_is_asked_for_counts(kit):
    """More reasoning is expected to cost more, also before any answer at that effort."""
    kit.run([f"q{n}" for n in range(8)], LUNA, options={"reasoning_effort": "low"}).result(60)
    low, high = (kit.estimate("q", LUNA, reasoning_effort=effort).total for effort in ("low", "high"))
    assert high > 2 * low


def test_history_is_read_again_only_when_something_was_written(kit):
    """The form estimates at each keystroke: without new answers the same history serves."""
    kit.run([f"q{n}" for n in range(6)], LUNA).result(60)
    kit.estimate("q", LUNA)
    first = kit._engine.checker.past.history("probe", True)
    kit.estimate("another", LUNA)
    assert kit._engine.checker.past.history("probe", True) is first
    kit.run("q", LUNA).result(60)
    assert kit._engine.checker.past.history("probe", True) is not first
    assert kit.estimate("q", LUNA).df["observations"].tolist() == [7]


def test_calibration_holds_estimates_against_what_came(kit):
    """One row a run and model; the ratio is what was paid over what was expected."""
    first = kit.run([f"q{n}" for n in range(6)], [LUNA, HAIKU], name="first").result(60)
    kit.run([f"q{n}" for n in range(6)], [LUNA, HAIKU], name="second").result(60)
    table = kit.calibration()
    assert table["name"].tolist() == ["first", "first", "second", "second"]
    assert table["basis"].tolist() == ["constant", "constant", "model", "model"]
    assert table["observations"].tolist() == [0, 0, 6, 6]
    costs = first.costs().set_index("model")["estimated_cost"]
    for _, row in table.head(2).iterrows():
        assert row["actual"] == pytest.approx(costs[row["model"]])
        assert row["ratio"] == pytest.approx(row["actual"] / row["estimate"])
        assert row["inside"] == (row["low"] <= row["actual"] <= row["high"])
    assert kit.calibration(simulated=False).empty


def call(kit, reference, **params):
    """A call of a model."""
    return Call(model=kit.catalog.model(reference), messages=(Message("user", "hi"),), params=Params(**params))


def sent(kit, asked):
    """The request that is made of it."""
    return wire_for(kit.catalog.provider(asked.model.provider), asked.model).build(asked)


@pytest.mark.parametrize(
    ("reference", "params", "expected"),
    [
        (HAIKU, {}, 8192),
        (HAIKU, {"max_tokens": 50}, 50),
        ("google:gemini-3.5-flash-lite", {"max_tokens": 60}, 60),
        (LUNA, {"max_tokens": 70}, 70),
        (LUNA, {"max_tokens": 70, "extra_body": {"max_completion_tokens": 900}}, 900),
        (LUNA, {"max_tokens": 70, "extra_body": {"n": 3}}, 210),
        ("mistral:mistral-small-2603", {"max_tokens": 80}, 80),
    ],
)
def test_the_most_that_is_billed_is_what_the_request_says(kit, reference, params, expected):
    """Anthropic is always sent a limit, ``extra_body`` can set another, and several answers are billed each."""
    asked = call(kit, reference, **params)
    assert most_output_tokens(sent(kit, asked), asked.model) == expected


def test_without_a_limit_in_the_request_the_models_own_counts(kit):
    """OpenAI's format needs none."""
    asked = call(kit, LUNA)
    assert answer_limit(sent(kit, asked)) is None
    assert most_output_tokens(sent(kit, asked), asked.model) == asked.model.max_output_tokens


def test_a_budget_that_holds_for_the_limit_that_is_sent_is_accepted(kit):
    """Claude's answers are cut at 8,192 tokens, so that a budget need not cover its 128,000."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = kit.run("hi", HAIKU, budget="0.006").result(60)
    assert run.status == "completed"
    with pytest.raises(llmkit.BudgetExceeded, match="8,192"):
        kit.run("hi", HAIKU, budget="0.004")


def test_what_a_price_becomes_while_the_run_goes_on_is_in_the_upper_bound(kit):
    """An announced price counts where the run will still go on when it begins; the expected cost is today's."""
    kit.catalog.update_provider("openai", requests_per_minute=1, max_parallel_requests=1)
    prompts = [f"q{n}" for n in range(300)]
    before = kit.estimate(prompts, [LUNA, HAIKU])
    assert before.hours["openai"] > 4
    for later, dearer in ((timedelta(days=30), False), (timedelta(hours=2), True)):
        kit.catalog.update_model(LUNA, cost_output_per_million=50, valid_from=datetime.now(UTC) + later)
        after = kit.estimate(prompts, [LUNA, HAIKU])
        assert (after.total, after.low) == (before.total, before.low)
        assert after.models[1].high == before.models[1].high
        for now, then in ((after, before), (after.models[0], before.models[0])):
            assert (now.high > 10 * then.high) == dearer
            assert (now.high == then.high) != dearer

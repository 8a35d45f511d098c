"""A run end to end: over real HTTP, within limits, every probe a row, every token priced."""

import asyncio
import gc
import math
import threading
from decimal import Decimal

import pandas as pd
import pytest

import llmkit
from llmkit.catalog import load_seed
from llmkit.money import pricing
from llmkit.records import Scenario, Usage

TWO = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]


def test_every_probe_is_a_row_with_its_tokens_and_cost(kit):
    """Scenarios × models × samples rows, each at the prices of the catalog, exact in Decimal."""
    run = kit.run(["one", "two", "three"], TWO, samples=2, max_tokens=50).result(60)
    probes = run.probes
    assert run.status == "completed"
    assert len(probes) == 3 * 2 * 2
    assert set(probes["status"]) == {"ok"}
    assert set(probes["model"]) == set(TWO)
    assert probes["response"].str.len().min() > 0
    assert probes["simulated"].all()
    assert (probes["cost_source"] == "computed").all()
    luna = kit.catalog.model(TWO[0])
    for _, turn in run.turns[run.turns["probe_id"].isin(probes.loc[probes["model"] == TWO[0], "probe_id"])].iterrows():
        usage = Usage(
            input_tokens=turn["input_tokens"],
            output_tokens=turn["output_tokens"],
            cached_input_tokens=turn["cached_input_tokens"],
            cache_write_tokens=turn["cache_write_tokens"],
        )
        assert float(pricing.cost(usage, luna.price, turn["answered_at"]).amount) == pytest.approx(turn["cost"])
    stored = kit.sql("SELECT estimated_cost::VARCHAR AS cost FROM probes WHERE run_id = ?", [run.id])
    assert run.total_cost == sum(map(Decimal, stored["cost"]))
    assert run.costs()["probes"].sum() == 12


def test_default_models_are_asked_when_none_is_named(kit):
    """One model of each shipped provider."""
    run = kit.run("hello").result(60)
    assert set(run.probes["provider"]) == set(load_seed().providers)
    assert set(run.probes["model"]) == {model.reference for model in kit.catalog.defaults().values()}
    assert set(run.probes["status"]) == {"ok"}


def test_a_conversation_sends_what_was_said_before(kit, sim):
    """Each follow-up goes out with all prompts and answers before it."""
    run = kit.run("first", TWO[:1], followups=["second", "third"], system="Be brief.").result(60)
    assert list(run.turns["turn"]) == [1, 2, 3]
    assert list(run.turns["prompt"]) == ["first", "second", "third"]
    bodies = [request.body for request in sim.requests]
    roles = [[message["role"] for message in body["messages"]] for body in bodies]
    assert roles[0][-1:] == ["user"]
    assert roles[2][-5:] == ["user", "assistant", "user", "assistant", "user"]
    assert bodies[2]["messages"][-2]["content"] == run.turns["response"][1]
    assert "Be brief." in str(bodies[0])
    assert run.probes["turns"].tolist() == [3]
    assert run.probes["response"][0] == run.turns["response"][2]


def test_columns_travel_along(kit):
    """Other columns of a DataFrame come back beside the answers."""
    prompts = pd.DataFrame({"prompt": ["a", "b"], "tone": ["kind", "harsh"], "score": [1, 2]})
    probes = kit.run(prompts, TWO[:1]).result(60).probes
    assert probes["tone"].tolist() == ["kind", "harsh"]
    assert probes["score"].tolist() == [1, 2]
    assert kit.last_run().costs(by=["tone", "model"])["tone"].tolist() == ["harsh", "kind"]


def test_long_numbers_keep_their_digits(kit):
    """Ids of more than 53 bits stay as they are beside a missing one, in the answers and in the costs by them."""
    ids = [9007199254740993, 9007199254740992]
    run = kit.run(pd.DataFrame({"prompt": ["a", "b", "c"], "id": pd.array([*ids, None], "Int64")}), TWO[:1]).result(60)
    assert run.probes["id"].tolist() == [*ids, None]
    assert run.costs(by="id")["id"].tolist() == [*sorted(ids), None]


def test_a_level_is_the_same_in_all_runs(kit):
    """A level is one row of the costs over all runs, though it is a float where its column had a missing value; and
    so is a missing level, whether it was given or its run had no such column."""
    for columns in ({"wave": [1, 2]}, {"wave": [1, None]}, {}):
        kit.run(pd.DataFrame({"prompt": ["a", "b"]} | columns), TWO[:1]).result(60)
    costs = kit.costs(by="wave")
    assert costs["probes"].tolist() == [2, 1, 3]
    assert costs["wave"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("limit", [1, 5])
def test_the_server_sees_no_more_at_a_time_than_the_limit(kit, sim, limit):
    """Ten probes: with a limit of one they come one at a time, with five at some time all five, and never more."""
    sim.set(latency=0.05 if limit == 1 else 1.0)  # long enough for five to meet on a machine that is busy
    kit.catalog.update_provider("openai", max_parallel_requests=limit)
    run = kit.run([f"question {n}" for n in range(10)], TWO[:1]).result(60)
    assert set(run.probes["status"]) == {"ok"}
    assert sim.stats()["by_provider"]["openai"]["max_in_flight"] == limit


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("auth", "AUTH_ERROR"),
        ("quota", "QUOTA_EXHAUSTED"),
        ("server_error", "SERVER_ERROR"),
        ("overloaded", "OVERLOADED"),
        ("rate_limit", "RATE_LIMITED"),
        ("garbage", "INVALID_RESPONSE"),
        ("empty", "EMPTY_RESPONSE"),
        ("refusal", "CONTENT_BLOCKED"),
        ("disconnect", "NETWORK_ERROR"),
    ],
)
def test_a_failure_is_a_row_with_its_code(kit, sim, fault, code):
    """Whatever goes wrong, the row is there, says why, and is never ok."""
    sim.set(faults={fault: 1.0})
    retry = llmkit.RetryPolicy(max_attempts=2, rate_limit_waits=(0.01,), backoff_initial=0.01, backoff_max=0.02)
    models = [TWO[0], "anthropic:claude-haiku-5-5", "google:gemini-2.5-flash"]  # the others have no word for a refusal
    run = kit.run("hello", models, retry=retry).result(60)
    probes = run.probes
    assert len(probes) == 3
    assert set(probes["status"]) == {"failed"}
    assert set(probes["error_code"]) == {code}
    assert (probes["error_message"].str.len() > 10).all()
    assert run.status == "completed"


def test_a_timeout_is_a_row(kit, sim):
    """A server that never answers ends as TIMEOUT, which may have been billed."""
    sim.set(faults={"timeout": 1.0})
    retry = llmkit.RetryPolicy(max_attempts=1, timeout_s=0.3)
    probes = kit.run("hello", TWO[:1], retry=retry).result(60).probes
    assert probes["error_code"].tolist() == ["TIMEOUT"]
    assert probes["maybe_billed"].tolist() == [1]


def test_an_account_that_is_empty_stops_its_provider_only(kit, sim):
    """The other probes of that provider are skipped with the reason; other providers go on; resume asks them later."""
    sim.script("openai", ["quota"])
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    run = kit.run([f"q{n}" for n in range(6)], TWO).result(60)
    openai = run.probes[run.probes["provider"] == "openai"]
    assert openai["status"].value_counts().to_dict() == {"skipped": 5, "failed": 1}
    assert set(openai["error_code"]) == {"QUOTA_EXHAUSTED"}
    assert set(run.probes.loc[run.probes["provider"] == "mistral", "status"]) == {"ok"}
    again = kit.resume(run.id).result(60)
    assert set(again.probes["status"]) == {"ok"}
    assert sim.stats()["by_provider"]["mistral"]["billed"] == 6


def test_the_catalog_can_change_while_old_runs_keep_their_costs(kit):
    """Prices are noted when a run starts."""
    run = kit.run("hello", TWO[:1]).result(60)
    before = run.probes
    kit.catalog.update_model(TWO[0], cost_input_per_million="99", cost_output_per_million="99")
    pd.testing.assert_frame_equal(run.probes, before)
    assert kit.run("hello", TWO[:1]).result(60).probes["cost_input_per_million"].tolist() == [99.0]


def test_an_unpriced_model_has_no_cost_rather_than_zero(kit):
    """Unknown is missing, in the row and in the sum."""
    kit.catalog.add_model("openai:new", cost_input_per_million=None, cost_output_per_million=None)
    run = kit.run("hello", ["openai:new"]).result(60)
    assert run.probes["estimated_cost"].isna().all()
    assert run.probes["cost_source"].tolist() == ["unpriced"]
    assert run.costs()["estimated_cost"].isna().all()
    assert run.costs()["unpriced"].tolist() == [1]


def test_problems_are_told_together_before_anything_is_sent(kit, sim):
    """An unknown, a deprecated and a disabled model: one error, three sentences, no request."""
    kit.catalog.deprecate_model("openai:gpt-5.2")
    kit.catalog.update_provider("xai", is_enabled=False)
    with pytest.raises(llmkit.RunRefused) as caught:
        kit.run("hello", ["openai:gpt-6-lunar", "openai:gpt-5.2", "xai:grok-4.3"])
    text = str(caught.value)
    assert "openai:gpt-6-luna" in text
    assert "reactivate_model" in text
    assert "is_enabled=True" in text
    assert [problem.code for problem in caught.value.problems] == [
        "MODEL_NOT_FOUND",
        "MODEL_DEPRECATED",
        "MODEL_DEPRECATED",
    ]
    assert sim.stats()["requests"] == 0
    assert kit.runs().empty


def test_a_problem_of_several_models_is_told_once(kit):
    """Three models of a provider that is not there are one sentence, as one such model is."""
    with pytest.raises(llmkit.UnsupportedProvider, match=r"There is no provider 'lab'"):
        kit.run("hello", ["lab:a", "lab:b", "lab:c"])


def test_without_keys_the_error_names_the_variables(tmp_path):
    """A newcomer is told which environment variables to set, and how to rehearse."""
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        with pytest.raises(llmkit.MissingApiKey, match=r"ANTHROPIC_API_KEY.*OPENAI_API_KEY.*simulate=True"):
            kit.run("hello")
        with pytest.raises(llmkit.MissingApiKey, match="OPENAI_API_KEY"):
            kit.run("hello", "openai:gpt-6-luna")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"prompts": []}, "prompts"),
        ({"prompts": "  "}, "prompts"),
        ({"samples": 0}, "samples"),
        ({"samples": True}, "samples"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"budget": -1}, "budget"),
        ({"budget": "lots"}, "budget"),
        ({"order": "backwards"}, "order"),
        ({"options": {"topp": 1}}, "options"),
        ({"models": []}, "models"),
        ({"models": [TWO[0], TWO[0]]}, "models"),
        ({"schema": {"type": "nonsense"}}, "schema"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(kit, sim, arguments, field):
    """One sentence, the argument's name, and nothing written or sent."""
    given = {"prompts": "hello", "models": TWO[:1], **arguments}
    with pytest.raises(llmkit.ValidationError) as caught:
        kit.run(given.pop("prompts"), given.pop("models"), **given)
    assert caught.value.field == field
    assert kit.runs().empty
    assert sim.stats()["requests"] == 0


def test_a_parameter_that_a_model_does_not_take_is_left_out_or_refused(kit):
    """One warning and a note in the row; an error when strict."""
    with pytest.warns(UserWarning, match="claude-haiku-5-5 does not accept temperature"):
        run = kit.run("hello", ["anthropic:claude-haiku-5-5"], temperature=0.5).result(60)
    assert run.probes["left_out"].tolist() == [["temperature"]]
    with pytest.raises(llmkit.ValidationError, match="temperature"):
        kit.run("hello", ["anthropic:claude-haiku-5-5"], temperature=0.5, options={"strict": True})


def test_await_gives_the_run_in_any_event_loop(kit):
    """In a notebook, ``run = await kit.run(...)``, while the loop goes on with other things."""
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.01)

    async def main():
        other = asyncio.create_task(tick())
        run = await kit.run(["a", "b"], TWO)
        other.cancel()
        return run

    run = asyncio.run(main())
    assert len(run.probes) == 4
    assert len(ticks) > 1


def test_events_tell_what_happens(kit):
    """A listener sees the start, every answer and the end, in order, as immutable records."""
    seen, ended = [], threading.Event()

    def listen(event):
        seen.append(event)
        if event.kind == "ended":
            ended.set()

    run = kit.run(["a", "b"], TWO, on_event=listen).result(60)
    assert ended.wait(60)
    kinds = [event.kind for event in seen]
    assert (kinds[0], kinds[-1]) == ("started", "ended")
    assert kinds.count("answered") == kinds.count("probe_done") == 4
    assert {event.run_id for event in seen} == {run.id}
    with pytest.raises(AttributeError):
        seen[0].kind = "other"


def test_who_forgets_to_wait_is_told_to(kit):
    """A handle that is taken for its run says how to get it; type checkers still refuse the name."""
    handle = kit.run("a", TWO)
    with pytest.raises(AttributeError, match=r"RunHandle has no 'probes'\. .* \.result\(\) first"):
        handle.probes  # noqa: B018
    assert len(handle.result(60).probes) == 2


def test_progress_adds_up(kit):
    """At the end all probes are done, and the cost shown is the cost of the run."""
    handle = kit.run(["a", "b"], TWO)
    run = handle.result(60)
    now = handle.progress
    assert (now.total, now.done, now.ok, now.in_flight, now.status) == (4, 4, 4, 0, "completed")
    assert now.cost == run.total_cost
    assert handle.status == "completed"
    assert run.id in repr(handle)


@pytest.mark.parametrize("order", ["interleaved", "cache"])
def test_the_handle_of_a_run_that_is_over_keeps_no_prompts(kit, order):
    """What was asked is in the catalog; a handle, which its kit keeps, has its progress and can still be cancelled."""
    handle = kit.run(["let go", "let go too"], TWO, order=order)
    handle.result(60)
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Scenario) and each.prompt.startswith("let go")]
    handle.cancel()
    assert handle.progress.models[TWO[0]].ok == 2


def test_runs_are_listed_and_loaded(kit):
    """kit.runs(), kit.load() and kit.last_run() find what was run; an unknown id gets a sentence."""
    first = kit.run("a", TWO, name="first").result(60)
    second = kit.run("b", TWO, name="second").result(60)
    assert kit.runs()["name"].tolist() == ["second", "first"]
    assert kit.runs()["ok"].tolist() == [2, 2]
    assert kit.last_run().id == second.id
    assert kit.load(first.id).name == "first"
    with pytest.raises(llmkit.RunNotFound, match=r"kit\.runs"):
        kit.load("nonsense")


def test_the_order_of_asking_is_shuffled_by_a_seed_that_is_kept(kit, sim):
    """Interleaved by default, reproducible by its seed, sequential on request."""
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    prompts = [f"question {n}" for n in range(12)]

    def asked(**arguments):
        sim.reset()
        run = kit.run(prompts, TWO[:1], **arguments).result(60)
        return [request.body["messages"][-1]["content"] for request in sim.requests], run

    first, run = asked()
    again, _ = asked(options={"order_seed": run.settings["order_seed"]})
    plain, _ = asked(order="sequential")
    assert first == again
    assert sorted(first) == sorted(prompts)
    assert first != prompts
    assert plain == prompts
    assert run.probes["prompt"].tolist() == prompts


def test_structured_answers_become_columns(kit, sim):
    """A schema gives columns ``answer.<field>``; an answer that does not match is a failed row with its text kept."""
    schema = {
        "type": "object",
        "properties": {"verdict": {"type": "string", "enum": ["yes", "no"]}, "score": {"type": "integer"}},
        "required": ["verdict", "score"],
        "additionalProperties": False,
    }
    run = kit.run(["a", "b"], TWO, schema=schema).result(60)
    assert set(run.probes["answer.verdict"]) <= {"yes", "no"}
    assert run.probes["status"].tolist() == ["ok"] * 4
    sim.set(faults={"malformed_json": 1.0})
    run = kit.run("a", TWO[:1], schema=schema).result(60)
    assert run.probes["status"].tolist() == ["failed"]
    assert run.probes["error_code"].tolist() == ["INVALID_RESPONSE"]
    assert run.probes["response"].str.len().min() > 0
    sim.set(faults={})
    again = kit.resume(run.id).result(60)
    assert again.probes["status"].tolist() == ["ok"]
    assert again.probes["wasted_cost"][0] > 0
    assert len(again.turns) == 1
    assert len(again.attempts) == 2


def test_a_closed_kit_stops_its_runs_and_keeps_their_answers(tmp_path, sim):
    """Leaving the with block cancels what is running and saves what arrived."""
    sim.set(latency=0.05)
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        kit.use_simulator(sim)
        handle = kit.run([f"q{n}" for n in range(200)], TWO[:1])
        assert sim.wait_until(lambda: sim.stats()["billed"] >= 2, timeout=60)
    assert handle.status == "cancelled"
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        run = kit.load(handle.run_id)
        assert run.status == "cancelled"
        assert len(run.probes) == 200
        assert (run.probes["status"] == "ok").sum() == sim.stats()["billed"]


def test_a_cancelled_conversation_keeps_its_answers_and_their_cost(kit, sim):
    """What was answered before the cancellation is saved, counted, and not asked again by resume."""
    kit.catalog.update_provider("openai", max_parallel_requests=30)
    sim.set(latency=lambda request: math.inf if request.turn == "2" and int(request.probe[-6:]) >= 10 else 0.0)
    handle = kit.run([f"q{n}" for n in range(30)], TWO[:1], followups=["and?", "why?"])
    assert sim.wait_until(lambda: sim.count("billed") == 50, timeout=60)
    handle.cancel()
    sim.set(latency=0)
    run = handle.result(60)
    assert run.status == "cancelled"
    assert set(run.probes["status"]) == {"ok", "cancelled"}
    assert len(run.turns) == sim.count("billed")
    turns = kit.sql("SELECT sum(cost)::VARCHAR AS cost FROM turns WHERE run_id = ?", [run.id])
    assert run.total_cost == Decimal(turns["cost"][0])
    begun = run.probes[(run.probes["status"] == "cancelled") & (run.probes["turns"] > 0)]
    assert not begun.empty
    assert (begun["estimated_cost"] > 0).all()
    again = kit.resume(run.id).result(60)
    assert set(again.probes["status"]) == {"ok"}
    assert sim.count("billed") == 90

"""Runs in batches: one handle and one grid as live, at the batch price, whatever a batch brings."""

import logging
import threading
from decimal import Decimal

import pytest
from waiting import until

import llmkit
from llmkit.records import Usage

MODELS = [
    "openai:gpt-6-luna", "anthropic:claude-haiku-5-5", "google:gemini-3.8-flash", "mistral:mistral-small-2603",
    "xai:grok-4.3",
]  # fmt: skip
PROMPTS = [f"Question {number}?" for number in range(8)]
HOW = {"max_tokens": 60, "retry": llmkit.RetryPolicy(scale=0.001, max_attempts=8), "options": {"poll_s": 5}}


@pytest.fixture(scope="module")
def sim():
    """A simulator whose batches are ready at once."""
    with llmkit.simulator.serve(latency=0, batch_delay=0, seed=3) as simulator:
        yield simulator


@pytest.fixture
def kit(tmp_path, sim):
    """A kit that asks that simulator."""
    sim.set(batch_delay=0, faults={})
    sim.reset()
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        kit.use_simulator(sim)
        yield kit


def _custom_ids(sim):
    return [custom_id for batch in sim.batches() for custom_id in batch["custom_ids"]]


def _half_price(kit, row):
    """What an attempt costs at half of the model's rates, by hand."""
    price, usage = kit.catalog.model(row["model"]).price, Usage.from_row(row["usage"])
    cached_rate = price.cost_cached_input_per_million
    cached_rate = price.cost_input_per_million if cached_rate is None else cached_rate
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    written = usage.cache_write_tokens * (price.cost_cache_write_per_million or price.cost_input_per_million)
    amount = plain * price.cost_input_per_million + usage.cached_input_tokens * cached_rate + written
    return float(round((amount + usage.output_tokens * price.cost_output_per_million) / 2_000_000, 10))


def test_five_providers_two_turns_errors_and_expired_requests(kit, sim):
    """Every row is answered at the batch price: what failed or expired went with a later batch, nothing went twice."""
    sim.set(faults={"server_error": 0.1, "expired": 0.1})
    run = kit.run(PROMPTS, MODELS, followups=["Why?"], mode="batch", budget=1, **HOW).result(120)
    probes, attempts = run.probes, run.attempts
    assert (run.status, len(probes), set(probes["status"])) == ("completed", len(PROMPTS) * len(MODELS), {"ok"})
    assert set(probes["service_tier"]) == {"batch"}
    assert (probes["turns"] == 2).all()
    codes = set(attempts["error_code"].dropna())
    assert codes == {"SERVER_ERROR", "TIMEOUT"}
    assert len(_custom_ids(sim)) == len(set(_custom_ids(sim))) == len(attempts)
    assert sim.count("billed") == 2 * len(probes)
    assert len(sim.batches()) > 2 * len(MODELS)
    answered = kit.sql("SELECT model, usage, cost, cost_source FROM attempts WHERE usage IS NOT NULL")
    computed = answered[answered["cost_source"] == "computed"]
    assert computed["cost"].tolist() == [_half_price(kit, row) for _, row in computed.iterrows()]
    reported = answered[answered["model"] == "xai:grok-4.3"]
    assert [Decimal(str(cost)) for cost in reported["cost"]] == [
        Decimal(usage["reported_cost"]) for usage in reported["usage"]
    ]
    assert run.total_cost < 1


def test_a_rule_that_stops_nothing_ends_no_run(kit):
    """All answers of a batch come together: enough is known, but none is left out, so the run did not end early."""
    how = {"mode": "batch", "stop_when": llmkit.half_width("output_tokens", 1e6), **HOW}
    run = kit.run(PROMPTS * 3, MODELS[:1], **how).result(120)
    assert set(run.probes["status"]) == {"ok"}
    assert (run.status, run.message) == ("completed", None)


def test_a_turn_is_one_batch(kit, sim):
    """Without failures a model has as many batches as turns, however many probes there are."""
    kit.run(PROMPTS, MODELS[:2], followups=["Why?", "Really?"], mode="batch", **HOW).result(120)
    assert [len(batch["custom_ids"]) for batch in sim.batches()] == [len(PROMPTS)] * 3 * 2


def test_a_budget_holds_in_batches(kit, sim):
    """What does not fit at its worst case is not handed in; what was answered stays below the budget."""
    kit.catalog.update_model("openai:gpt-6-luna", cost_output_per_million=1000)
    with pytest.warns(UserWarning, match="budget"):
        run = kit.run(PROMPTS * 3, "openai:gpt-6-luna", mode="batch", budget="0.15", **HOW).result(120)
    probes = run.probes
    assert run.status == "budget"
    assert 0 < run.total_cost <= Decimal("0.15")
    assert set(probes["status"]) == {"ok", "skipped"} or set(probes["error_code"].dropna()) == {"BUDGET_EXCEEDED"}
    assert sim.count("billed") == (probes["status"] == "ok").sum()


def test_a_budget_counts_a_request_in_a_batch_at_the_price_of_batches(kit):
    """However dear the tiers that an account may select for single requests: 1,000 tokens at $7.50 a million."""
    run = kit.run("Why?", "openai:gpt-5.4", mode="batch", **HOW | {"max_tokens": 1000}).result(60)
    worst = kit.sql("SELECT worst_case FROM attempts WHERE run_id = $id", {"id": run.id})["worst_case"]
    assert worst.between(0.0075, 0.0080).all()


def test_who_has_no_batches_is_refused_or_asked_at_once(kit, sim):
    """Refused before anything is sent; batch-or-live asks it live, and the others in batches."""
    models = ["deepseek:deepseek-flash", "openai:gpt-6-luna"]
    with pytest.raises(llmkit.ValidationError, match="no batch API"):
        kit.run("Why?", models, mode="batch")
    with pytest.raises(llmkit.ValidationError, match="service tier"):
        kit.run("Why?", "openai:gpt-6-luna", mode="batch", service_tier="flex")
    with pytest.raises(llmkit.ValidationError, match="mode is one of"):
        kit.estimate("Why?", models, mode="later")
    assert not sim.requests
    probes = kit.run("Why?", models, mode="batch-or-live", **HOW).result(60).probes
    tiers = dict(zip(probes["model"], probes["service_tier"].fillna("live"), strict=True))
    assert tiers["openai:gpt-6-luna"] == "batch"
    assert tiers["deepseek:deepseek-flash"] != "batch"


def test_an_estimate_knows_the_mode(kit):
    """Half the dollars, and the hours that the provider promises at most, turn by turn."""
    live, batch = (
        kit.estimate(PROMPTS, "anthropic:claude-haiku-5-5", followups="Why?", max_tokens=60, mode=mode)
        for mode in ("live", "batch")
    )
    assert float(batch.total) == pytest.approx(float(live.total) / 2)
    assert batch.df["hours"].tolist() == [48.0]


def test_modes_are_planned_beside_each_other(kit):
    """Who has no batches or no flex tier has no row of it; a batch costs half."""
    models = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5", "deepseek:deepseek-flash"]
    plan = kit.plan_modes(PROMPTS, models, max_tokens=60).set_index(["model", "mode"])
    assert [mode for model, mode in plan.index if model == models[1]] == ["live", "batch"]
    assert [mode for model, mode in plan.index if model == models[2]] == ["live"]
    cost = plan["cost"]
    assert cost[models[1], "batch"] == pytest.approx(cost[models[1], "live"] / 2)


def test_what_chooses_a_mode_cannot_be_compared(kit):
    """Options that a plan varies itself, nothing to compare, and a model twice are refused in a sentence."""
    for options, words in (({"mode": "batch"}, "leave mode out"), ({"service_tier": "flex"}, "leave service_tier out")):
        with pytest.raises(llmkit.ValidationError, match=words):
            kit.plan_modes(PROMPTS, MODELS[0], **options)
    for models in ([], [MODELS[0]] * 2):
        with pytest.raises(llmkit.ValidationError):
            kit.plan_modes(PROMPTS, models)
    assert len(kit.plan_modes(PROMPTS, MODELS[0], order="cache")) == 3
    for pause in (-1, 0):  # 0 would ask the provider without any pause
        with pytest.raises(llmkit.ValidationError, match=r"poll_s .* more than 0"):
            kit.run(PROMPTS, MODELS[0], mode="batch", options={"poll_s": pause})


def test_answers_that_are_there_need_no_batch(kit, sim):
    """What is reused takes no time, costs nothing, and is not handed in."""
    kit.run(PROMPTS, MODELS[0], max_tokens=60).result(60)
    estimate = kit.estimate(PROMPTS, MODELS[0], max_tokens=60, reuse=True, mode="batch")
    assert (estimate.total, estimate.hours, estimate.reused) == (0, {"openai": 0}, len(PROMPTS))
    run = kit.run(PROMPTS, MODELS[0], samples=2, reuse=True, mode="batch", **HOW).result(60)
    assert [len(batch["custom_ids"]) for batch in sim.batches()] == [len(PROMPTS)]
    assert run.probes["service_tier"].value_counts().to_dict().get("batch") == len(PROMPTS)


def test_a_model_that_is_not_there_fails_as_it_does_alone(kit, sim):
    """Its rows have the code; the other model's are answered."""
    sim.set(models={"openai": ["gpt-6-luna"]})
    probes = kit.run(PROMPTS, ["openai:gpt-6-luna", "openai:gpt-6-sol"], mode="batch", **HOW).result(60).probes
    sim.set(models=None)
    codes = probes.groupby("model")["error_code"].agg(lambda codes: set(codes.dropna()))
    assert codes.to_dict() == {"openai:gpt-6-luna": set(), "openai:gpt-6-sol": {"MODEL_NOT_FOUND"}}


def _when_waiting(kit, models=MODELS):
    """The handle of a run that waits for its first batches."""
    asked, all_asked = [], threading.Event()

    def listen(event):
        asked.extend([1] * (event.kind == "asked"))
        if len(asked) == len(PROMPTS) * len(models):
            all_asked.set()

    handle = kit.run(PROMPTS, models, mode="batch", on_event=listen, **HOW)
    assert all_asked.wait(60)
    return handle


def test_a_run_that_waits_says_so_and_outlives_its_kit(kit, sim, tmp_path):
    """Closed and opened next morning, the batches are there: nothing is handed in again, and the costs are right."""
    sim.set(batch_delay=3600)
    handle = _when_waiting(kit)
    run_id, words = handle.run_id, f"waiting for batch, 0 of {len(PROMPTS) * len(MODELS)} back"
    assert (handle.status, kit.runs()["status"].tolist()) == (words, [words])
    kit.close()
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as later:
        later.use_simulator(sim)
        assert later.runs()["status"].tolist() == [words]
        assert later.runs()["unknown"].tolist() == [0]
        states = ["pending", "cancelled", "ok", "failed"]
        assert later.runs()[states].to_numpy().tolist() == [[len(PROMPTS) * len(MODELS), 0, 0, 0]]
        waiting = later.load(run_id)
        assert waiting.status == words
        assert f"{words}: " in repr(waiting)
        assert "cancelled" not in repr(waiting)
        assert set(later.sql("SELECT status, maybe_billed FROM probes").itertuples(index=False)) == {("pending", 0)}
        assert waiting.costs()["maybe_billed"].sum() == 0, "nothing is lost that is still to come"
        assert words in waiting.view().summary.value
        probes = waiting.probes
        assert set(probes["status"]) == {"pending"}
        assert probes[["error_code", "error_message", "retryable"]].isna().all(axis=None)
        assert (set(probes["attempts"]), set(probes["maybe_billed"])) == ({1}, {0})
        attempts = waiting.attempts
        assert attempts[["ended_at", "error_code"]].isna().all(axis=None)
        assert not attempts["maybe_billed"].any()
        before = len(sim.batches())
        sim.set(batch_delay=0)
        run = later.resume(run_id).result(60)
        assert len(sim.batches()) == max(before, len(MODELS))
        assert set(run.probes["status"]) == {"ok"}
        assert len(_custom_ids(sim)) == len(set(_custom_ids(sim))) == sim.count("billed") == len(run.attempts)
        assert later.runs()["status"].tolist() == ["completed"]


def test_answers_on_their_way_are_fetched_at_their_price_whatever_was_edited_meanwhile(kit, sim, tmp_path):
    """A model deprecated overnight has answered and is paid for, and one that was repriced was asked before that."""
    sim.set(batch_delay=3600)
    run_id = _when_waiting(kit, MODELS[:2]).run_id
    before = kit.catalog.model(MODELS[1]).price.cost_input_per_million
    kit.close()
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as later:
        later.use_simulator(sim)
        with pytest.warns(UserWarning, match="is deprecated"):
            later.catalog.deprecate_model(MODELS[0])
        later.catalog.update_model(MODELS[1], cost_input_per_million=77, cost_output_per_million=77)
        sim.set(batch_delay=0)
        with pytest.warns(UserWarning, match="was changed"):
            run = later.resume(run_id).result(60)
        assert set(run.probes["status"]) == {"ok"}
        repriced = run.probes[run.probes["model"] == MODELS[1]]
        assert set(repriced["cost_input_per_million"]) == {float(before) / 2}
        assert run.reprice().attrs["difference"] == 0


def test_a_batch_of_a_simulator_that_is_gone_is_asked_again(kit, sim, tmp_path, caplog):
    """A rehearsal ends: no other key will ever find what its simulator has forgotten, and nothing was billed for it."""
    caplog.set_level(logging.INFO, logger="llmkit.runs")
    sim.set(batch_delay=3600)
    run_id = _when_waiting(kit, MODELS[:1]).run_id
    assert until(lambda: "batch" in [record.getMessage() for record in caplog.records])  # it was accepted
    kit.close()
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as later:
        run = later.resume(run_id).result(60)
        assert set(run.probes["status"]) == {"ok"}
        assert run.costs()["maybe_billed"].sum() == 0


def test_cancelling_a_run_cancels_its_batches(kit, sim, caplog):
    """What had been answered is saved, the rest is cancelled at the provider; resumed, that is asked again."""
    caplog.set_level(logging.INFO, logger="llmkit.runs")
    sim.set(batch_delay=3600)
    handle = _when_waiting(kit, MODELS[:2])
    assert until(lambda: [record.getMessage() for record in caplog.records].count("batch") == 2)  # both were accepted
    handle.cancel(10)
    handle.wait()
    assert {batch["status"] for batch in sim.batches()} <= {"cancelled"}
    assert set(handle.run.probes["status"]) == {"cancelled"}
    sim.set(batch_delay=0)
    run = kit.resume(handle.run_id).result(60)
    assert set(run.probes["status"]) == {"ok"}
    assert sim.count("billed") == len(run.probes)

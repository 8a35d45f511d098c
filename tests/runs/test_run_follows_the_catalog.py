"""A run that is under way when its catalog is edited: what is under way finishes, what waits is skipped."""

import logging

import pytest

import llmkit

LUNA, MINI = "openai:gpt-6-luna", "openai:gpt-5.6-sol"
OTHER = "mistral:mistral-small-2603"


def slow_run(kit, sim, models, n=60):
    """A run of two requests at a time, once its first answers are there."""
    kit.catalog.update_provider("openai", max_parallel_requests=2)
    sim.set(latency=0.2)
    handle = kit.run([f"q{i}" for i in range(n)], models)
    assert sim.wait_until(lambda: sim.count("billed") >= 2, timeout=60)
    return handle


def test_a_provider_that_is_disabled_is_asked_no_more(kit, sim, caplog):
    """Its waiting probes are skipped with a sentence, other providers go on, and resume asks them later."""
    caplog.set_level(logging.INFO, logger="llmkit")
    handle = slow_run(kit, sim, [LUNA, OTHER])
    kit.catalog.update_provider("openai", is_enabled=False)
    run = handle.result(60)
    probes = run.probes
    openai = probes[probes["provider"] == "openai"]
    skipped = openai[openai["status"] == "skipped"]
    assert set(openai["status"]) == {"ok", "skipped"}
    assert set(probes.loc[probes["provider"] == "mistral", "status"]) == {"ok"}
    assert set(skipped["error_code"]) == {"MODEL_DEPRECATED"}
    assert skipped["error_message"].str.contains("is disabled", regex=False).all()
    assert skipped["error_message"].str.contains("is_enabled=True", regex=False).all()
    assert [record.provider for record in caplog.records if record.message == "skipped"] == ["openai"]
    assert len(run.attempts) == (probes["status"] == "ok").sum()
    sim.set(latency=0)
    again = kit.resume(run.id).result(60)  # still disabled: nothing is sent
    assert (again.probes["status"] == "skipped").sum() == len(skipped)
    kit.catalog.update_provider("openai", is_enabled=True)
    assert set(kit.resume(run.id).result(60).probes["status"]) == {"ok"}
    assert sim.count("billed") == 120


def test_a_model_that_is_deprecated_is_asked_no_more(kit, sim, caplog):
    """Only that model's waiting probes are skipped, and the sentence names the way back."""
    caplog.set_level(logging.INFO, logger="llmkit")
    handle = slow_run(kit, sim, [LUNA, MINI], n=40)
    kit.catalog.deprecate_model(LUNA)
    probes = handle.result(60).probes
    luna = probes[probes["model"] == LUNA]
    assert set(probes.loc[probes["model"] == MINI, "status"]) == {"ok"}
    assert "skipped" in set(luna["status"]) <= {"ok", "skipped"}
    messages = luna.loc[luna["status"] == "skipped", "error_message"]
    assert messages.str.contains(f"reactivate_model('{LUNA}')", regex=False).all()
    assert [record.model for record in caplog.records if record.message == "skipped"] == [LUNA]


def test_a_run_of_failures_says_so_and_shows_no_cost(kit, sim):
    """``repr`` counts what is ok, failed and skipped; a cost that nobody knows is unknown, not $0.00."""
    sim.set(faults={"timeout": 1.0})
    retry = llmkit.RetryPolicy(max_attempts=1, timeout_s=0.2)
    run = kit.run("hello", LUNA, retry=retry).result(60)
    assert repr(run) == f"<Run {run.id} completed: 1 probe, 0 ok, 1 failed, unpriced>"
    sim.set(faults={})
    run = kit.run(["a", "b"], LUNA, name="two").result(60)
    assert repr(run).startswith(f"<Run {run.id} 'two' completed: 2 probes, 2 ok, $0.")


def test_probes_that_were_skipped_are_counted_apart(kit, sim):
    """A refused account: one failed, the rest skipped, and nothing was billed."""
    sim.script("openai", ["quota"])
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    run = kit.run([f"q{n}" for n in range(4)], LUNA).result(60)
    assert repr(run) == f"<Run {run.id} completed: 4 probes, 0 ok, 1 failed, 3 skipped, $0.00>"


def test_every_answer_that_was_bought_counts_however_often_a_run_is_resumed(kit, sim):
    """An answer that is not as its schema asks is asked for again; each one that was bought stays in the sums."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    sim.set(faults={"malformed_json": 1.0})
    run = kit.run("hello", LUNA, schema=schema).result(60)
    assert run.probes["status"].tolist() == ["failed"]
    kit.resume(run.id).result(60)
    sim.set(faults={})
    probes = kit.resume(run.id).result(60).probes
    assert probes["status"].tolist() == ["ok"]
    assert probes["attempts"].tolist() == [3]
    bought = kit.sql("SELECT cost, usage->>'$.output_tokens' AS tokens FROM attempts WHERE run_id = ?", [run.id])
    assert probes["estimated_cost"][0] == pytest.approx(bought["cost"].sum())
    assert probes["wasted_cost"][0] == pytest.approx(bought["cost"][:2].sum())
    assert probes["output_tokens"][0] == bought["tokens"].astype(int).sum()


def test_a_model_past_its_retirement_is_asked_with_a_warning(kit):
    """The API says of a retired model what the form says of it."""
    kit.catalog.update_model(LUNA, retires_on="2020-01-31")
    with pytest.warns(UserWarning, match=f"{LUNA} was retired on 2020-01-31"):
        run = kit.run("hello", LUNA).result(60)
    assert run.probes["status"].tolist() == ["ok"]

"""Runs of colleagues: seen while they go on, equal when they are over, and never held up by the team's database."""

import multiprocessing
import os
import signal
import threading
from decimal import Decimal

import pandas as pd
import psycopg
import pytest
from local_account import add_local
from same_tables import assert_same_tables
from waiting import until

import llmkit
from llmkit import Scenario
from llmkit.store import archive, compaction
from llmkit.store.packs import SUFFIX
from llmkit.team import roll

MODEL = "openai:gpt-6-luna"
TABLES = ("runs", "probes", "turns", "attempts", "provider_balance_deductions")


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """What the simulator wants to see."""
    monkeypatch.setenv("LOCAL_API_KEY", "any")


def assert_equal(kits):
    """All know the same of all runs, and that the balance is what was not spent."""
    assert_same_tables(kits, TABLES)
    for kit in kits:
        spent = kit.sql("SELECT sum(cost)::VARCHAR AS spent FROM attempts WHERE provider = 'local'")["spent"][0]
        assert kit.catalog.provider("local").balance == 100 - Decimal(spent or 0)


def has_money(kit):
    """Whether all that :func:`add_local` did is there."""
    return lambda: kit.catalog.providers().set_index("name")["balance"].get("local") == 100


def ended(kit, count):
    """Whether so many runs are there that have ended."""
    return lambda: list(kit.runs()["status"]) == ["completed"] * count


def test_merged_journals_are_exchanged(member, sim, monkeypatch):
    """Who has merged its segments gives them to who comes later, and goes on taking what others write."""
    monkeypatch.setattr(compaction, "MANY", 1)
    anna = member("anna")
    anna.use_simulator(sim)
    sim.set(latency=0)
    for prompt in ("one", "two"):
        anna.run([prompt], MODEL).result(60)
    anna.close()
    ben = member("ben")
    ben.use_simulator(sim)
    for prompt in ("three", "four"):
        ben.run([prompt], MODEL).result(60)
    ben.close()
    anna, ben = member("anna"), member("ben")
    assert list(anna.path.with_name("anna.duckdb.journal").glob(f"*{SUFFIX}"))
    assert list(ben.path.with_name("ben.duckdb.journal").glob(f"*{SUFFIX}"))
    ben.catalog.set_setting("colour", "red")
    assert until(lambda: len(anna.runs()) == len(ben.runs()) == 4 and "colour" in set(anna.catalog.settings()["key"]))
    assert_same_tables([anna, ben], TABLES)


def test_a_run_of_a_colleague_is_there_with_its_answers(member, sim):
    """Its head and its answers come within a second or two; while it goes on, nobody else can take it up."""
    anna, ben = member("anna"), member("ben")
    anna.use_simulator(sim)
    sim.set(latency=3_600)
    handle = anna.run(["one", "two"], MODEL)
    assert until(lambda: list(ben.runs()["status"]) == ["running"])
    assert list(ben.runs()["actor"]) == ["anna"]
    with pytest.raises(llmkit.ValidationError, match="running in another"):
        ben.resume(handle.run_id)
    handle.cancel(grace=0)
    handle.wait()
    sim.set(latency=0)
    assert until(lambda: list(ben.runs()["status"]) == ["cancelled"])
    run = ben.resume(handle.run_id).result(60)
    assert run.status == "completed"
    assert until(lambda: anna.load(run.id).status == "completed")
    pd.testing.assert_frame_equal(run.probes, anna.load(run.id).probes)
    pd.testing.assert_frame_equal(run.attempts, anna.load(run.id).attempts)
    assert ben.costs(by="actor")["actor"].tolist() == ["anna"]


def texts(kit):
    """What is here of all texts of runs."""
    return kit.sql(
        "SELECT prompt, response, reply FROM probes JOIN attempts USING (probe_id) "
        "WHERE coalesce(prompt, response, reply) IS NOT NULL"
    )


def test_texts_come_when_a_run_is_opened(member, sim):
    """Until then a colleague has its head alone, with all counts and costs; from then on whatever is added to it."""
    anna, ben = (member(name, simulate=False) for name in ("anna", "ben"))
    add_local(anna, sim, max_parallel_requests=10, requests_per_minute=100_000)
    first = anna.run(["one", "two"], "local:gpt-6-luna").result(60)
    long = anna.run(Scenario("three", system="Be brief.", followups=["and four?"]), "local:gpt-6-luna").result(60)
    assert until(ended(ben, 2))
    assert texts(ben).empty
    pd.testing.assert_frame_equal(ben.costs(by=["config", "run_id"]), anna.costs(by=["config", "run_id"]))
    assert ben.catalog.provider("local").balance == 100 - first.total_cost - long.total_cost
    for run in (first, long):
        for table in ("probes", "turns", "attempts"):
            pd.testing.assert_frame_equal(getattr(ben.load(run.id), table), getattr(run, table))
        assert len(texts(ben)) == (2 if run is first else 4)
    sim.set(latency=3_600)
    handle = anna.run(["five"], "local:gpt-6-luna")
    assert until(lambda: handle.run_id in set(ben.runs()["run_id"]))
    assert ben.load(handle.run_id).probes["prompt"].tolist() == ["five"]
    handle.cancel(grace=0)
    handle.wait()
    sim.set(latency=0)
    run = anna.resume(handle.run_id).result(60)
    assert until(ended(ben, 3))
    assert set(texts(ben)["prompt"]) == {"one", "two", "three", "five"}
    pd.testing.assert_frame_equal(ben.load(run.id).attempts, run.attempts)


def test_a_run_that_was_never_opened_says_so_outside_of_the_team(member, url, tmp_path):
    """Its costs are here; for its texts a sentence names the way, which a file rebuilt from its journal finds too."""
    anna = member("anna")
    runs = [anna.run([prompt], MODEL).result(60) for prompt in ("one", "two")]
    ben = member("ben")
    assert until(ended(ben, 2))
    assert ben.load(runs[0].id).probes["prompt"].tolist() == ["one"]
    ben.close()
    for _ in range(2):
        with llmkit.open(tmp_path / "ben.duckdb", simulate=True) as alone:
            pd.testing.assert_frame_equal(alone.costs(by="run_id"), anna.costs(by="run_id"))
            assert alone.load(runs[0].id).turns["prompt"].tolist() == ["one"]
            run = alone.load(runs[1].id)
            assert "its texts have not been received" in repr(run)
            for reading in (lambda run: run.probes, lambda run: run.archive(tmp_path / "x"), lambda run: run.report()):
                with pytest.raises(llmkit.ValidationError, match=r"open the catalog with team=.*kit\.load"):
                    reading(run)
            with pytest.raises(llmkit.ValidationError, match="open the catalog with team="):
                alone.resume(run.id)
            again = alone.estimate(["one", "two"], MODEL, reuse=True)
            assert again.reused == 1  # what is not here is not found
        (tmp_path / "ben.duckdb").unlink()
        llmkit.open(tmp_path / "ben.duckdb", adopt=True).close()
    ben = member("ben")
    assert ben.costs(by="prompt")["prompt"].tolist() == ["one", "two"]
    backup = ben.backup(tmp_path / "backup.tar.gz")
    assert archive.restore(backup, tmp_path / "restored.duckdb")
    with llmkit.open(tmp_path / "restored.duckdb", adopt=True) as restored:
        assert restored.load(runs[1].id).probes["prompt"].tolist() == ["two"]


def test_runs_of_a_team_that_relayed_no_heads_come_whole(member, url):
    """What an earlier version has uploaded is complete everywhere, as it was then."""
    run, ben = member("anna").run(["one"], MODEL).result(60), member("ben")
    assert until(ended(ben, 1))
    with psycopg.connect(url) as session:
        session.execute("DELETE FROM llmkit_parts WHERE segment LIKE '%.head.jsonl'")
    kit = member("carol")
    assert texts(kit)["prompt"].tolist() == ["one"]
    assert kit.load(run.id).probes["response"].notna().all()


def test_the_team_as_a_table(member, sim):
    """Who is on, what they run, and what each of them has spent this month; the same to everybody."""
    anna, ben = member("anna"), member("ben")
    for kit in (anna, ben):
        kit.use_simulator(sim)
    done = anna.run("What is fair?", MODEL).result(60)
    sim.set(latency=3_600)
    handle = ben.run(["one", "two"], MODEL)

    def shown():
        rows = anna.team().set_index("actor").to_dict("index")
        return rows if rows.get("ben", {}).get("asking") and not rows["anna"]["asking"] else None

    rows = until(shown)
    assert (rows["anna"]["is_on"], rows["anna"]["runs"], rows["anna"]["asking"]) == (True, [], [])
    assert (rows["ben"]["is_on"], rows["ben"]["runs"], rows["ben"]["asking"]) == (True, [handle.run_id], ["openai"])
    assert rows["anna"]["spent"] == pytest.approx(float(done.total_cost))
    panel = anna.settings_panel()
    assert panel.tabs.titles[-1] == "Team"
    page = panel._repr_mimebundle_()["text/html"]
    assert handle.run_id in page
    assert "away" not in page
    handle.cancel(grace=0)
    handle.wait()
    ben.close()
    assert until(lambda: list(anna.team()["actor"]) == ["anna", "ben"] and list(anna.team()["is_on"]) == [True, False])
    with pytest.raises(llmkit.LlmkitError, match="closed"):
        ben.team()


def test_a_team_out_of_reach_is_not_shown_as_online(server, member):
    """The panel says why, as long as the database does not answer."""
    anna = member("anna")
    panel = anna.settings_panel().team
    assert until(lambda: anna.team()["is_on"].all())
    server.stop()
    try:
        assert until(lambda: not anna.team()["is_on"].any())
        panel.refresh_button.click()
        assert "does not answer" in panel.widget.children[1].value
        assert ">away<" in panel.widget.children[0].value
    finally:
        server.start()
    assert until(lambda: anna.team()["is_on"].all())
    panel.refresh_button.click()
    assert not panel.widget.children[1].value


def test_without_a_team_nobody_is_in_it(kit):
    """The error says how to open a catalog with one."""
    with pytest.raises(llmkit.ValidationError, match="team='postgresql"):
        kit.team()


def test_a_balance_is_the_same_for_everybody(member, sim):
    """What is entered, what both spend and what is taken off: folded by what came first, wherever it was."""
    anna, ben = (member(name, simulate=False) for name in ("anna", "ben"))
    add_local(anna, sim, max_parallel_requests=10, requests_per_minute=100_000)
    assert until(has_money(ben))
    for kit in (ben, anna, ben):
        kit.run([f"question {n}" for n in range(5)], "local:gpt-6-luna").result(60)
    assert until(ended(anna, 3))
    assert until(ended(ben, 3))
    assert_equal([anna, ben])


def test_what_a_colleague_spends_counts_against_a_shared_budget(member, sim, monkeypatch):
    """A run that goes on slowly hears of it within seconds, and ends although it has spent little itself."""
    monkeypatch.setattr("llmkit.runs.session.SYNC_AFTER", 1.0)
    anna, ben = (member(name, simulate=False) for name in ("anna", "ben"))
    add_local(anna, sim, max_parallel_requests=20, requests_per_minute=100_000)
    limits = {"max_parallel_requests": 1, "requests_per_minute": 60}
    anna.catalog.add_provider("slow", base_url=sim.url_for("openai"), api_key_env="LOCAL_API_KEY", **limits)
    anna.catalog.update_provider("slow", approve_origin=True)
    anna.catalog.add_model("slow:gpt-6-luna", cost_input_per_million=1, cost_output_per_million=4)
    anna.set_budget("study", "0.05")
    assert until(lambda: ben.budgets()["scope"].eq("study").any())
    handle = anna.run([f"slow {n}" for n in range(500)], "slow:gpt-6-luna", project="study", max_tokens=1000)
    with pytest.warns(UserWarning, match="study"):
        other = ben.run([f"fast {n}" for n in range(400)], "local:gpt-6-luna", project="study", max_tokens=1000)
        fast = other.result(100)
    run = handle.result(150)
    assert run.status == "budget"
    assert run.total_cost < fast.total_cost
    assert run.total_cost + fast.total_cost <= Decimal("0.05")


def test_an_outage_delays_edits_and_colleagues_and_no_run(member, sim, server, monkeypatch):
    """Both runs go on while the server is away; an edit says why it cannot be made; then all is exchanged."""
    anna, ben = (member(name, simulate=False) for name in ("anna", "ben"))
    add_local(anna, sim, max_parallel_requests=4, requests_per_minute=100_000)
    assert until(has_money(ben))
    sim.set(latency=0.05)
    handles = [kit.run([f"{kit} {n}" for n in range(60)], "local:gpt-6-luna") for kit in (anna, ben)]
    assert sim.wait_until(lambda: sim.count("ok") > 20, 60)
    monkeypatch.setattr("llmkit.team.membership.PATIENCE", 0.5)
    server.stop()
    try:
        with pytest.raises(llmkit.CatalogBusy, match="cannot be used: ") as busy:
            anna.catalog.set_balance("openai", 1)
        assert busy.value.retryable
        begun = ben.run(["begun in the outage"], "local:gpt-6-luna")
        for handle in (*handles, begun):
            assert handle.result(60).status == "completed"
        assert begun.run_id not in set(anna.runs()["run_id"])
    finally:
        server.start()
    assert until(ended(anna, 3))
    assert until(ended(ben, 3))
    assert_equal([anna, ben])
    anna.catalog.set_balance("openai", 1)


def _ask(path, url, ready):
    """A member's process, which asks until it is killed."""
    kit = llmkit.open(path, simulate=False, actor="anna", team=url)
    handle = kit.run([f"question {n}" for n in range(600)], "local:gpt-6-luna")
    ready.send(handle.run_id)
    handle.wait()


def test_a_run_whose_process_died_is_resumed_where_it_was(url, member, sim, tmp_path, monkeypatch):
    """Colleagues see it interrupted and are told where to resume it; then all have all of it, and the balance."""
    monkeypatch.setattr(roll, "LAPSE", 3)
    ben = member("ben", simulate=False)
    add_local(ben, sim, max_parallel_requests=4, requests_per_minute=100_000)
    sim.set(latency=0.1)
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_ask, args=(tmp_path / "anna.duckdb", url, there))
    process.start()
    try:
        assert here.poll(60)
        run_id = here.recv()
        assert until(
            lambda: run_id in set(ben.runs()["run_id"]) and ben.load(run_id).probes["status"].eq("ok").sum() > 8
        )
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
    sim.set(latency=0)
    assert until(lambda: ben.load(run_id).status == "interrupted")
    with pytest.raises(llmkit.ValidationError, match=rf"anna on .* resume it there.*{run_id}.*reuse=True"):
        ben.resume(run_id)
    ben.catalog.update_provider("local", max_parallel_requests=20)
    anna = member("anna", simulate=False)
    assert set(anna.resume(run_id).result(120).probes["status"]) == {"ok"}
    assert until(ended(ben, 1))
    assert_equal([anna, ben])


@pytest.mark.soak
def test_an_outage_of_ten_seconds_in_the_middle_of_two_runs(member, sim, server):
    """Both runs complete, and afterwards all know the same and have the same balance."""
    anna, ben = (member(name, simulate=False) for name in ("anna", "ben"))
    add_local(anna, sim, max_parallel_requests=10, requests_per_minute=600)
    assert until(has_money(ben))
    sim.set(latency=0.2)
    handles = [kit.run([f"{kit} {n}" for n in range(150)], "local:gpt-6-luna") for kit in (anna, ben)]
    assert sim.wait_until(lambda: sim.count("ok") > 50, 60)
    before = sim.count("ok")
    server.stop()
    threading.Event().wait(10)
    meanwhile = sim.count("ok") - before
    server.start()
    assert [handle.result(100).status for handle in handles] == ["completed"] * 2
    assert until(ended(anna, 2))
    assert until(ended(ben, 2))
    assert_equal([anna, ben])
    print({"asked during the outage": meanwhile, "refused": sim.count("rejected"), "ok": sim.count("ok")})
    assert meanwhile > 50

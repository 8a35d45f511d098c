"""Balances: what runs take off them, whoever runs them and however they end."""

import itertools
import math
import multiprocessing
import subprocess
import warnings
from decimal import Decimal

import pytest
from local_provider import LOCAL, add_local

import llmkit
from llmkit.store import Store, events


def balance(kit):
    """What the catalog says is left."""
    return kit.catalog.provider("local").balance


def test_a_run_takes_off_what_it_spent(paying, sim):
    """To the last digit; failed attempts that were billed are spent too, and an untracked balance stays untracked."""
    paying.run("a", LOCAL).result(60)
    assert balance(paying) is None
    paying.catalog.set_balance("local", "5")
    sim.script("openai", ["empty"])
    run = paying.run([f"q{n}" for n in range(5)], LOCAL).result(60)
    assert (run.probes["status"] == "failed").sum() == 1
    assert run.probes["wasted_cost"].max() > 0
    assert balance(paying) == 5 - run.total_cost


def test_a_cancelled_run_takes_off_what_it_spent_and_its_resumption_only_the_rest(paying, sim):
    """Spent is spent; nothing is taken off twice."""
    paying.catalog.set_balance("local", "5")
    arrivals = itertools.count()
    sim.set(latency=lambda _: 0 if next(arrivals) < 4 else math.inf)
    paying.catalog.update_provider("local", max_parallel_requests=2)
    handle = paying.run([f"q{n}" for n in range(60)], LOCAL)
    assert sim.wait_until(lambda: sim.stats()["billed"] >= 4, timeout=60)
    handle.cancel()
    sim.set(latency=0)
    handle.wait()
    run = paying.load(handle.run_id)
    assert run.status == "cancelled"
    assert 0 < (run.probes["status"] == "ok").sum() < 60
    assert balance(paying) == 5 - run.total_cost
    paying.catalog.update_provider("local", max_parallel_requests=20)
    run = paying.resume(handle.run_id).result(60)
    assert set(run.probes["status"]) == {"ok"}
    assert balance(paying) == 5 - run.total_cost


KILLED = """
import os, sys
import llmkit

with llmkit.open(sys.argv[1]) as kit:
    answers = 0
    def count(event):
        global answers
        answers += event.kind == "answered"
        if answers == 10:
            os._exit(9)  # as if the machine had gone
    kit.run([f"q{n}" for n in range(40)], sys.argv[2], on_event=count).result(60)
"""


def test_what_a_killed_process_spent_is_taken_off_when_its_run_is_resumed(paying, sim, python):
    """It had no time to say so itself, but its answers are in the journal."""
    paying.catalog.set_balance("local", "5")
    gone = subprocess.run([*python, "-c", KILLED, str(paying.path), LOCAL], timeout=120, check=False)
    assert gone.returncode == 9
    assert balance(paying) == 5
    left = paying.last_run()
    assert left.status == "interrupted"
    run = paying.resume(left.id).result(60)
    assert set(run.probes["status"]) == {"ok"}
    billed = paying.snapshot().execute("SELECT sum(cost) FROM attempts").fetchone()[0]
    assert balance(paying) == 5 - billed
    assert billed >= run.total_cost > 0


def test_a_run_whose_journal_arrives_in_parts_is_taken_off_once(paying, sim, tmp_path):
    """A folder that is synchronized brings the run's answers before its end; the catalog is opened in between."""
    path = tmp_path / "theirs.duckdb"
    with llmkit.open(path) as theirs:
        add_local(theirs, sim)
        theirs.catalog.set_balance("local", "5")
    run = paying.run([f"q{n}" for n in range(20)], LOCAL).result(60)
    paying.close()
    [segment] = paying.path.with_name(f"{paying.path.name}.journal").glob(f"*{run.id}*.jsonl")
    seen, lines = [], segment.read_bytes().splitlines(keepends=True)
    for upto in (len(lines) * 3 // 4, len(lines) - 1, len(lines)):
        path.with_name(f"{path.name}.journal").joinpath(segment.name).write_bytes(b"".join(lines[:upto]))
        with llmkit.open(path, adopt=True) as theirs:
            seen.append((5 - balance(theirs), theirs.load(run.id).total_cost))
    assert [taken for taken, _ in seen] == [cost for _, cost in seen]
    assert 0 < seen[0][0] < seen[1][0] == seen[2][0] == run.total_cost


def _end_runs(path, worker, count, barrier) -> None:
    store = Store(path)
    for index in range(count):
        run_id = f"w{worker}-{index}"
        barrier.wait()
        spent = {"acme": Decimal("0.0000000001") * (worker + 1)}
        store.append([events.run_state(run_id=run_id, status="completed", spent=spent)]).result()
        store.sync()
    store.close()


def test_two_processes_that_end_runs_at_the_same_moment_leave_an_exact_balance(tmp_path):
    """Both amounts are taken off, ten times, to the tenth decimal; and again when the database is rebuilt."""
    path = tmp_path / "k.duckdb"
    store = Store(path)
    provider = llmkit.Provider(name="acme", display_name="Acme", wire="openai_chat", base_url="http://127.0.0.1:1/v1")
    with store.edit() as edit:
        edit.put_provider(provider, "add")
        edit.set_balance("acme", Decimal(1))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_end_runs, args=(path, worker, 10, barrier)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    expected = Decimal(1) - 10 * Decimal("0.0000000003")
    assert store.catalog().providers["acme"].balance == expected
    store.close()
    path.unlink()
    rebuilt = Store(path)
    assert rebuilt.catalog().providers["acme"].balance == expected
    rebuilt.close()


def _run_one(path, barrier) -> None:
    with llmkit.open(path) as kit:
        barrier.wait()
        kit.run([f"q{n}" for n in range(10)], LOCAL).result(60)


def test_two_notebooks_whose_runs_overlap_share_one_balance(paying):
    """Whole runs in two processes on one catalog: the balance is what was set less what all runs cost."""
    paying.catalog.set_balance("local", "5")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_run_one, args=(paying.path, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    runs = [paying.load(run_id) for run_id in paying.runs()["run_id"]]
    assert [run.status for run in runs] == ["completed", "completed"]
    assert balance(paying) == 5 - sum(run.total_cost for run in runs)


def test_syncing_logs_how_far_off_the_balance_was(paying):
    """The drift is the provider's figure less ours, and stays on record."""
    paying.catalog.set_balance("local", "5")
    run = paying.run("a", LOCAL).result(60)
    drift = paying.catalog.sync_balance("local", "4.5")
    assert drift == Decimal("4.5") - (5 - run.total_cost)
    assert balance(paying) == Decimal("4.5")
    row = (
        paying.snapshot()
        .execute("SELECT system_balance, entered_balance, delta FROM provider_balance_syncs")
        .fetchall()
    )
    assert row == [(5 - run.total_cost, Decimal("4.5"), drift)]


def test_a_run_that_will_probably_exceed_the_balance_is_started_with_a_warning(paying):
    """It names the amounts and the way out; with enough money there is no warning."""
    paying.catalog.set_balance("local", "0.0001")
    with pytest.warns(UserWarning, match=r"will probably cost \$0\.\d+ at local, whose balance is \$0\.0001.*cancel"):
        run = paying.run([f"q{n}" for n in range(5)], LOCAL).result(60)
    assert run.status == "completed"
    assert balance(paying) == Decimal("0.0001") - run.total_cost < 0, "overdrawn is overdrawn"
    paying.catalog.set_balance("local", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paying.run("a", LOCAL).result(60)


def test_rehearsals_never_touch_a_balance(kit):
    """Nor do they warn of one."""
    kit.catalog.set_balance("openai", "0.00000001")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kit.run(["a", "b"], "openai:gpt-6-luna").result(60)
    assert kit.catalog.provider("openai").balance == Decimal("0.00000001")
    assert kit.sql("SELECT * FROM provider_balance_deductions").empty

"""Clusters whose workers are all gone: a run waits for one, says so, and stops if none comes; nothing is lost."""

import re
import subprocess
import sys
import threading

import pytest
from cluster_client import PROVIDERS, ask, flagged, served
from distributed import Client
from waiting import until

import llmkit
from llmkit.cluster import link

LOCAL = "local:gpt-6-luna"
NOBODY = "no worker of the cluster answers"
OTHER_VERSION = """
from llmkit.cluster import part

async def exchange(*_):
    return b"in a format that this version does not know"

part.exchange = exchange
"""
WITHOUT = """
from llmkit.cluster import part

vars(part).pop({!r}, None)
"""


def started(program, *options):
    """A process of Dask's, which nobody starts again."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *options, "--no-dashboard"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Bare:
    """A scheduler and workers, each a process of its own without a nanny."""

    def __init__(self, folder):
        self.file, self.scheduler, self.workers = folder / "scheduler.json", None, []

    def revive(self, count=2):
        """Start what is not there."""
        if self.scheduler is None:
            self.file.unlink(missing_ok=True)
            where = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self.file)]
            self.scheduler = started("scheduler", *where)
        while len(self.workers) < count:
            self.add()

    def kill_workers(self):
        """SIGKILL all of them."""
        while self.workers:
            _killed(self.workers.pop())

    def kill(self):
        """SIGKILL everything."""
        self.kill_workers()
        _killed(self.scheduler)
        self.scheduler = None

    def add(self, *options):
        """Start a worker."""
        where = ["--scheduler-file", str(self.file), "--no-nanny", "--nthreads", "1"]
        self.workers.append(started("worker", *where, *options))


def _killed(process):
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A cluster that tests may ruin."""
    cluster = Bare(tmp_path_factory.mktemp("bare"))
    yield cluster
    cluster.revive(0)
    cluster.kill()


@pytest.fixture
def doomed(bare):
    """A client of it, with two workers."""
    bare.revive()
    with Client(scheduler_file=str(bare.file)) as client:
        client.wait_for_workers(2)
        yield client


class Reached:
    """For ``on_event``: does something when so many answers are there, and hears when the run waits for workers."""

    def __init__(self, answers, action):
        self.left, self.action, self.waiting = answers, action, threading.Event()

    def __call__(self, event):
        """Called by the run."""
        if event.kind == "answered":
            self.left -= 1
            if self.left == 0:
                self.action()
        elif event.kind == "waiting" and NOBODY in event.reason:
            self.waiting.set()


def assert_stopped(handle, sim):
    """The run was stopped with a sentence that says how to go on; what has no answer is no failure; nothing is lost."""
    with pytest.raises(llmkit.LlmkitError, match=rf"No worker .* kit\.resume\('{handle.run_id}', on=client\)") as stop:
        handle.result(timeout=100)
    assert str(stop.value) in handle.progress.notes
    run = handle.run
    assert run.status == "failed"
    assert len(run.probes) == 180
    assert set(run.probes["status"]) <= {"ok", "cancelled", "pending"}
    assert (run.attempts["error_code"] == "CANCELLED").sum() <= 24  # as many as may be asked at a time
    assert len(run.turns) + sum(flagged(run).values()) >= sim.count("billed")
    return run


def assert_completed(run, sim):
    """Every probe has its answers, and what was billed twice is flagged."""
    lost = flagged(run)
    assert run.status == "completed"
    assert run.probes["status"].eq("ok").all()
    assert all(times - 1 <= lost[place] for place, times in served(sim).items())


def test_a_run_whose_workers_are_gone_for_good_stops_and_is_resumed(kit, sim, bare, doomed, monkeypatch):
    """It says what it waits for, then what to do; requests wait together, not one after the other."""
    reached, shown = Reached(40, bare.kill_workers), []

    def look(event):
        if event.kind == "waiting" and NOBODY in event.reason:
            shown.append(handle.progress.waiting)

    handle = ask(kit, doomed, 60, on_event=reached, options={"worker_timeout": 3}, retry=llmkit.RetryPolicy())
    handle.listen(look)
    monkeypatch.setattr(link, "LOADING", 5)
    run = assert_stopped(handle, sim)
    assert shown
    assert all(set(waiting) == set(PROVIDERS) for waiting in shown)
    assert all(NOBODY in words for waiting in shown for words in waiting.values())
    assert not handle.progress.waiting
    assert handle.progress.resumable
    bare.revive(1)
    doomed.wait_for_workers(1)
    monkeypatch.undo()
    assert_completed(kit.resume(run.id, on=doomed).result(timeout=100), sim)


def test_a_worker_that_comes_in_time_goes_on_with_the_run(kit, sim, bare, doomed):
    """The run waits for it, and has all its answers."""
    reached = Reached(40, bare.kill_workers)
    handle = ask(kit, doomed, 60, on_event=reached, options={"worker_timeout": 3})
    assert reached.waiting.wait(60)
    bare.revive(1)
    assert_completed(handle.result(timeout=100), sim)
    assert not handle.progress.waiting


def test_a_run_whose_scheduler_is_gone_stops_and_is_resumed_elsewhere(kit, sim, bare, doomed, client, monkeypatch):
    """The whole cluster dies at once; another one takes over."""
    reached = Reached(40, bare.kill)
    handle = ask(kit, doomed, 60, on_event=reached, options={"worker_timeout": 3})
    monkeypatch.setattr(link, "LOADING", 5)
    assert reached.waiting.wait(60)
    run = assert_stopped(handle, sim)
    monkeypatch.undo()
    assert_completed(kit.resume(run.id, on=client).result(timeout=100), sim)


def test_a_run_whose_client_was_closed_goes_on(kit, sim, cluster):
    """Whoever leaves the client's block too early has the run nevertheless: it has a connection of its own."""
    with Client(cluster) as closed:
        slow = Reached(40, lambda: sim.set(latency=0.3))  # so that the run is not over before the client is closed
        handle = ask(kit, closed, 60, on_event=slow)
        assert sim.wait_until(lambda: sim.count("ok") >= 40, 60)
    assert not handle.done()
    run = handle.result(timeout=100)
    assert run.attempts["error_code"].isna().all()
    assert set(served(sim).values()) == {1}
    assert_completed(run, sim)


@pytest.mark.parametrize("other", [OTHER_VERSION, WITHOUT.format("exchange")], ids=["nonsense", "missing"])
def test_a_worker_that_answers_nonsense_is_given_up(kit, sim, bare, doomed, tmp_path, caplog, other):
    """As one with another version of llmkit may: the others do the work, and what it was given is flagged."""
    (tmp_path / "other.py").write_text(other)
    bare.add("--preload", str(tmp_path / "other.py"))
    doomed.wait_for_workers(3)
    sim.set(latency=1)  # so that the run is not over before this worker is asked
    try:
        run = ask(kit, doomed, 20).result(timeout=100)
    finally:
        _killed(bare.workers.pop())
    assert_completed(run, sim)
    assert sum(flagged(run).values()) <= 24
    assert [
        "needs the same version" in lost.reason for lost in caplog.records if lost.getMessage() == "worker lost"
    ] == [True]


def test_workers_with_another_version_of_llmkit_or_none_are_named(kit, bare, tmp_path):
    """Where all are such, more of them would be of no use."""
    (tmp_path / "other.py").write_text(WITHOUT.format("lacking"))
    bare.kill_workers()
    bare.revive(0)
    bare.add("--preload", str(tmp_path / "other.py"))
    with Client(scheduler_file=str(bare.file)) as client:
        client.wait_for_workers(1)
        with pytest.raises(llmkit.LlmkitError, match=r"Worker tcp://.* same version of llmkit .*'lacking'"):
            ask(kit, client, 1)
    bare.kill_workers()


@pytest.fixture
def alone(bare):
    """A client of a cluster with one worker, which has the key of a provider on this machine."""
    bare.kill_workers()
    bare.revive(1)
    with Client(scheduler_file=str(bare.file)) as client:
        client.wait_for_workers(1)
        yield client
    bare.kill_workers()


@pytest.fixture
def billed(kit, sim, monkeypatch):
    """A catalog that does not rehearse, with that provider, which takes one request at a time and keeps it."""
    monkeypatch.setenv("LOCAL_API_KEY", "any")
    sim.set(latency=3_600)
    how = {"max_parallel_requests": 1, "requests_per_minute": 100_000}
    with llmkit.open(kit.path.with_name("billed.duckdb")) as kit:
        kit.catalog.add_provider("local", base_url=sim.url_for("openai"), api_key_env="LOCAL_API_KEY", **how)
        kit.catalog.add_model(LOCAL, cost_input_per_million=1, cost_output_per_million=4)
        yield kit


def test_a_worker_without_a_key_is_named_while_the_run_waits_and_when_it_stops(
    billed, sim, bare, alone, monkeypatch, caplog
):
    """It is there, so that nobody would look for the reason: it came when the keys had been checked."""
    lacks = r"Worker tcp://127\.0\.0\.1:\d+ has no key of local: set LOCAL_API_KEY in the environment"
    told = []
    handle = billed.run("One?", LOCAL, on=alone, options={"worker_timeout": 3}, on_event=told.append)
    assert sim.wait_until(lambda: sim.count("in_flight") == 1, 60)
    monkeypatch.delenv("LOCAL_API_KEY")
    bare.add()
    assert until(lambda: "worker without a key" in caplog.text, 150)
    monkeypatch.setattr(link, "LOADING", 5)
    _killed(bare.workers.pop(0))
    with pytest.raises(llmkit.LlmkitError, match=rf"No worker .*{lacks}.* kit\.resume\('{handle.run_id}'"):
        handle.result(timeout=100)
    assert any(event.kind == "waiting" and re.match(lacks, event.reason) for event in told)


def test_what_waits_for_a_worker_when_its_run_is_cancelled_was_not_billed(billed, sim, bare, alone):
    """The request that was at the lost worker may have been; what would be made again is not on disk yet."""
    told = []
    handle = billed.run("One?", LOCAL, on=alone, retry=llmkit.RetryPolicy.fast(), on_event=told.append)
    assert sim.wait_until(lambda: sim.count("in_flight") == 1, 60)
    bare.kill_workers()
    assert until(lambda: "failed_attempt" in [event.kind for event in told], 150)
    told.clear()
    assert until(lambda: sum(NOBODY in (event.reason or "") for event in told) == 2, 150)  # told every second
    handle.cancel(grace=0)
    handle.wait()
    attempts = handle.run.attempts
    assert attempts["error_code"].tolist() == ["NETWORK_ERROR"]
    assert attempts["maybe_billed"].tolist() == [True]

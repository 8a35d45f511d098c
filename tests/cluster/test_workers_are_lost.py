"""Workers and clients are killed in the middle of runs: nothing is lost, asked twice unseen, or over a limit."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cluster_client import PROVIDERS, ask, flagged, served

import llmkit

CLIENT = Path(__file__).with_name("cluster_client.py")


class Killing:
    """Sends signals to processes when so many answers are there."""

    def __init__(self, *plan):
        self.plan, self.answers = list(plan), 0

    def __call__(self, event):
        """For ``on_event``."""
        self.answers += event.kind == "answered"
        while self.plan and self.answers >= self.plan[0][0]:
            _, number, pid = self.plan.pop(0)
            os.kill(pid, number)


def assert_all_accounted_for(run, sim, count):
    """Each probe has its answers; what the server has billed twice is flagged; it has seen the limits kept."""
    probes, lost = run.probes, flagged(run)
    assert run.status == "completed"
    assert len(probes) == count
    assert probes["status"].eq("ok").all()
    assert probes["turns"].eq(2).all()
    assert all(times - 1 <= lost[place] for place, times in served(sim).items())
    by_provider = sim.stats()["by_provider"]
    assert all(by_provider[name]["max_in_flight"] <= 8 and by_provider[name]["rejected"] == 0 for name in PROVIDERS)


def test_a_worker_is_killed_and_one_is_stopped(kit, client, sim, pids):
    """Every probe has its answer; what was billed twice is flagged; limits and budget hold by the server's count."""
    killing = Killing((60, signal.SIGKILL, pids[0]), (200, signal.SIGSTOP, pids[1]))
    try:
        handle = ask(kit, client, 100, budget=5, on_event=killing, options={"worker_timeout": 3})
        run = handle.result(timeout=120)
    finally:
        os.kill(pids[1], signal.SIGCONT)
    assert not killing.plan
    assert sum(flagged(run).values()) > 0
    assert_all_accounted_for(run, sim, 300)
    assert float(run.total_cost) + run.costs()["maybe_billed_cost"].sum() <= 5


def test_a_client_is_killed_and_its_workers_keep_the_answers(path, kit, client, sim):
    """Whoever resumes the run takes what arrived meanwhile: nothing is asked again."""
    address = client.scheduler_info()["address"]
    command = [sys.executable, str(CLIENT), address, str(path), sim.url, "40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        run_id = child.stdout.readline().strip()
        assert sim.wait_until(lambda: sim.count("ok") >= 60, timeout=60)
        child.kill()
    run = kit.resume(run_id, on=client, options={"worker_timeout": 6}).result(timeout=120)
    assert run.probes["status"].eq("ok").all()
    assert len(run.probes) == 120
    assert set(served(sim).values()) == {1}
    assert len(served(sim)) == 240


def test_a_run_that_could_not_save_answers_takes_them_from_the_workers_later(kit, client, sim):
    """As on a full disk: once there is room, what was paid for is not asked again."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handle = ask(kit, client, 40, options={"worker_timeout": 6})
    try:
        assert sim.wait_until(lambda: sim.count("ok") >= 60, timeout=60)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
        with pytest.raises(llmkit.LlmkitError, match="cannot be written"):
            handle.result(timeout=60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run = kit.resume(handle.run_id, on=client, options={"worker_timeout": 6}).result(timeout=120)
    assert run.probes["status"].eq("ok").all()
    assert not flagged(run)
    assert set(served(sim).values()) == {1}
    assert len(served(sim)) == 240


def test_a_client_that_was_suspended_takes_what_arrived_meanwhile(path, kit, client, sim):
    """Its workers count as lost when it wakes, but have kept what was paid for: nothing is asked again."""
    command = [sys.executable, str(CLIENT), client.scheduler.address, str(path), sim.url, "40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        run_id = child.stdout.readline().strip()
        assert sim.wait_until(lambda: sim.count("ok") >= 60, timeout=60)
        sim.set(latency=4)  # longer than a worker hears nothing before it takes its client for dead
        assert sim.wait_until(lambda: sim.count("in_flight") == 24, timeout=60)
        child.send_signal(signal.SIGSTOP)
        assert sim.wait_until(lambda: sim.count("in_flight") == 0, timeout=60)
        sim.set(latency=0)
        child.send_signal(signal.SIGCONT)
        assert child.wait(60) == 0
    assert kit.load(run_id).attempts["error_code"].isna().all()
    assert len(served(sim)) == 240
    assert set(served(sim).values()) == {1}


@pytest.mark.soak
@pytest.mark.timeout(2_000)
def test_twenty_workers_are_killed_in_twenty_thousand_probes(cluster, kit, client, sim):
    """One after the other, while each that is gone is replaced; the figures are printed."""
    kills, added, chosen, ready = [], set(), random.Random(5), threading.Semaphore(0)
    answers = iter(range(1, 10**6))

    def hear(event):
        if event.kind == "answered" and next(answers) % 1_800 == 0:
            ready.release()
        elif event.kind == "waiting" and "no worker" in event.reason and len(kills) not in added:
            added.add(len(kills))  # a nanny whose worker was killed as it started gives up
            cluster.scale(len(cluster.worker_spec) + 1)

    def kill():
        while len(kills) < 20 and ready.acquire(timeout=300):
            with contextlib.suppress(IndexError, ProcessLookupError):  # nobody is there just now: later
                kill_one(chosen.choice([worker.pid for worker in cluster.workers.values() if worker.pid]))

    def kill_one(pid):
        os.kill(pid, signal.SIGKILL)
        kills.append(pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    run = ask(kit, client, 6_667, budget=500, on_event=hear, options={"worker_timeout": 6}).result(timeout=1_800)
    killer.join(5)
    again = {place: times for place, times in served(sim).items() if times > 1}
    print({"kills": len(kills), "outages": len(added), "probes": len(run.probes)})
    print({"billed": sim.count("billed"), "billed twice": len(again)})
    print({"flagged": sum(flagged(run).values()), "cost": run.total_cost})
    assert len(kills) == 20
    assert_all_accounted_for(run, sim, 20_001)
    assert float(run.total_cost) + run.costs()["maybe_billed_cost"].sum() <= 500

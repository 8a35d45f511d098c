"""Workers that are told to leave in the middle of a run finish what they have sent: nothing is asked twice."""

import os
import signal
import subprocess
import sys

import pytest
from cluster_client import ask, flagged, served
from distributed import Client, LocalCluster
from waiting import until

import llmkit
from llmkit.cluster import link, part

LONGER = 6
"""Seconds for an answer: a nanny would kill its worker after four."""


def adapted(cluster, client):
    """To Dask, our workers are idle."""
    cluster.adapt(minimum=1, maximum=3, interval="100ms", wait_count=1)


def retired(cluster, client):
    """Two of three."""
    client.retire_workers(list(client.scheduler_info()["workers"])[:2])


def scaled(cluster, client):
    """As in a notebook."""
    cluster.scale(1)


@pytest.fixture
def three():
    """A cluster of three workers, each a process of its own, and its client."""
    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.wait_for_workers(3)
        yield cluster, client


def in_flight(kit, client, sim, **more):
    """A run with 24 requests in flight, whose answers take a while; later ones come at once."""
    handle = ask(kit, client, 20, **more)
    assert sim.wait_until(lambda: sim.count("ok") >= 12, 60)
    sim.set(latency=LONGER)
    assert sim.wait_until(lambda: sim.count("in_flight") == 24, 60)
    sim.set(latency=0)
    return handle


def assert_asked_once(run, sim):
    """By the server's count, and by the run's."""
    assert run.status == "completed"
    assert run.probes["status"].eq("ok").all()
    assert run.attempts["error_code"].isna().all()
    assert len(served(sim)) == 120
    assert set(served(sim).values()) == {1}


@pytest.mark.parametrize("leave", [retired, scaled, adapted])
def test_workers_that_are_told_to_leave_finish_what_is_in_flight(kit, sim, three, leave):
    """However they are told; the run goes on with the one that stays."""
    cluster, client = three
    handle = in_flight(kit, client, sim)
    leave(cluster, client)
    assert until(lambda: len(client.scheduler_info()["workers"]) == 1)
    assert_asked_once(handle.result(timeout=100), sim)


def test_a_cluster_that_is_closed_in_mid_run_finishes_what_is_in_flight(kit, sim, monkeypatch):
    """Also after its client: then the run has no worker left, and all that was paid for."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        handle = in_flight(kit, client, sim)
        monkeypatch.setattr(link, "LOADING", 1)
    with pytest.raises(llmkit.LlmkitError, match="No worker"):
        handle.result(timeout=100)
    assert not flagged(handle.run)
    assert len(handle.run.turns) == sim.count("billed")


def test_a_job_that_is_ended_finishes_what_is_in_flight(kit, sim, tmp_path):
    """SIGTERM, as SLURM sends it to the nannies, some time before SIGKILL."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        where = [cluster.scheduler_address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path)]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", *where]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
            client.wait_for_workers(2)
            handle = in_flight(kit, client, sim)
            job.send_signal(signal.SIGTERM)
            assert job.wait(60) == 0
        assert_asked_once(handle.result(timeout=100), sim)


def test_a_worker_that_hangs_is_killed_when_it_is_told_to_leave(kit, sim, three):
    """It would not finish anything; what it had in flight is flagged."""
    cluster, client = three
    handle = in_flight(kit, client, sim, options={"worker_timeout": 3})
    os.kill(cluster.workers[2].pid, signal.SIGSTOP)
    cluster.scale(2)
    assert until(lambda: 2 not in cluster.workers, 100)
    run = handle.result(timeout=100)
    assert run.status == "completed"
    assert sum(flagged(run).values()) > 0
    assert len(served(sim)) == 120


def test_workers_may_share_a_process(kit, sim):
    """With ``processes=False``; each has requests of its own."""
    how = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**how) as cluster, Client(cluster) as client:
        assert_asked_once(in_flight(kit, client, sim).result(timeout=100), sim)


def test_an_idle_worker_that_leaves_waits_until_its_client_knows():
    """What it would be handed just then counts as perhaps billed if it is gone."""
    how = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**how) as cluster, Client(cluster) as client:
        client.run(part.begin, "run", "token", 3_600.0, {})
        assert list(client.run(part.leave).values()) == [False]
        assert list(client.run(part.exchange, "run", "token", (), {}, 0.0).values()) == [None]
        client.run(part.end, "run", "token")
        assert list(client.run(part.leave).values()) == [True]

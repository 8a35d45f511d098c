"""A Dask cluster of two worker processes on this machine, and a simulator that counts what reaches it."""

import os

import pytest
from cluster_client import PROVIDERS, loosened
from distributed import Client, LocalCluster

import llmkit

LATENCY = (0.02, 0.1)


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process of its own; a killed one is started again."""
    how = {"threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(n_workers=2, **how) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    """A client when both workers are there."""
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture
def pids(client):
    """The workers' processes."""
    return sorted(client.run(os.getpid).values())


@pytest.fixture
def sim():
    """A simulator that takes a moment for each answer, and refuses what is above the limits."""
    with llmkit.simulator.serve(latency=LATENCY, max_concurrent=8, seed=5) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def eight_at_a_time(shipped_catalog, copy_catalog, tmp_path_factory):
    """A folder with a catalog in which each of three providers takes eight requests at a time."""
    folder = tmp_path_factory.mktemp("eight")
    copy_catalog(shipped_catalog, folder)
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        loosened(kit, PROVIDERS, 8)
    return folder


@pytest.fixture
def path(eight_at_a_time, copy_catalog, tmp_path):
    """A copy of it."""
    copy_catalog(eight_at_a_time, tmp_path)
    return tmp_path / "k.duckdb"


@pytest.fixture
def kit(path, sim):
    """That catalog, opened here."""
    with llmkit.open(path, simulate=True) as kit:
        kit.use_simulator(sim)
        yield kit

"""Real processes that run probes against a simulator in this one, and can be killed."""

import pytest
from children import PROVIDERS, Scripts, Zygote

import llmkit

LATENCY = (0.002, 0.03)


@pytest.fixture(scope="module")
def sim():
    """A simulator that takes a moment for each answer, so that kills hit requests on their way."""
    with llmkit.simulator.serve(latency=LATENCY, seed=7) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def zygote(tmp_path_factory, sim):
    """Where children come from."""
    zygote = Zygote(tmp_path_factory.mktemp("children"), sim)
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """What runs scripts as Pythons of their own."""
    scripts = Scripts(tmp_path_factory.mktemp("scripts"))
    yield scripts
    scripts.close()


@pytest.fixture(scope="session")
def loose_catalog(shipped_catalog, copy_catalog, tmp_path_factory):
    """A seeded catalog with loose limits, copied for each test."""
    folder = tmp_path_factory.mktemp("loose")
    copy_catalog(shipped_catalog, folder)
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        for name in PROVIDERS:
            kit.catalog.update_provider(name, max_parallel_requests=5, requests_per_minute=100_000)
    return folder


@pytest.fixture
def catalog(tmp_path, loose_catalog, copy_catalog, sim):
    """The path of a catalog of this test's own, and a simulator that has forgotten everything."""
    sim.set(faults={}, latency=LATENCY)
    sim.reset()
    copy_catalog(loose_catalog, tmp_path / "catalog")
    return tmp_path / "catalog" / "k.duckdb"


@pytest.fixture
def kit(catalog, sim):
    """That catalog, opened here."""
    with llmkit.open(catalog, simulate=True) as kit:
        kit.use_simulator(sim)
        yield kit

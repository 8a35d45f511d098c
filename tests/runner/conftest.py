"""A kit on a quick simulator, with limits that do not make tests wait."""

import shutil

import pytest

import llmkit

DEFAULTS = ("openai", "anthropic", "google", "xai", "deepseek", "mistral")


def loosen(kit, names=DEFAULTS, parallel=20, rpm=100_000):
    """Lift the limits, for tests that are about something else."""
    for name in names:
        kit.catalog.update_provider(name, max_parallel_requests=parallel, requests_per_minute=rpm)


@pytest.fixture
def sim():
    """A simulator that answers at once."""
    with llmkit.simulator.serve(latency=0) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def loose_catalog(tmp_path_factory):
    """A seeded catalog with loose limits, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("loose")
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        loosen(kit)
    return folder


@pytest.fixture
def kit(tmp_path, sim, loose_catalog):
    """A kit that asks that simulator."""
    shutil.copytree(loose_catalog, tmp_path / "catalog")
    with llmkit.open(tmp_path / "catalog" / "k.duckdb", simulate=True) as kit:
        kit.use_simulator(sim)
        yield kit

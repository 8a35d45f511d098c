"""A real IPython kernel, spoken to through its protocol as JupyterLab does, and a simulator in this process."""

import pytest
from kernel_client import Kernel

import llmkit

MODEL = "openai:gpt-6-luna"


@pytest.fixture(scope="module")
def sim():
    """A simulator that the kernel's kit asks."""
    with llmkit.simulator.serve(latency=(0.02, 0.2), seed=5) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def kernel():
    """One kernel for all tests of a module: starting it takes seconds."""
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture(scope="session")
def prepared(shipped_catalog, copy_catalog, tmp_path_factory):
    """A seeded catalog with loose limits, copied for each test."""
    folder = tmp_path_factory.mktemp("prepared")
    copy_catalog(shipped_catalog, folder)
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        kit.catalog.update_provider("openai", max_parallel_requests=5, requests_per_minute=100_000)
    return folder


@pytest.fixture
def catalog(tmp_path, prepared, copy_catalog, sim):
    """A catalog of this test's own."""
    sim.set(latency=(0.02, 0.2), faults={})
    sim.reset()
    copy_catalog(prepared, tmp_path / "catalog")
    return tmp_path / "catalog" / "k.duckdb"


@pytest.fixture
def cell(kernel, catalog, sim):
    """Run code in a kernel in which ``kit`` is open; returns what the cell's last line shows."""
    kernel.open_kit(catalog, sim)
    yield kernel.run
    kernel.run("kit.close()")

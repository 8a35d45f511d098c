"""What every test starts from: no real keys, a catalog of its own, no display."""

import os
import shutil
import tempfile

import pytest
from hypothesis import settings

import llmkit

KEY_VARIABLES = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "XAI_API_KEY",
    "DEEPSEEK_API_KEY",
    "MISTRAL_API_KEY",
    "OPENROUTER_API_KEY",
)

SLOW_FIRST = ("browser", "notebooks", "faults", "team", "money", "tasks", "cluster", "kernel", "analysis")
"""Folders whose files begin before all others, so that no worker is left with one of them at the end."""

settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("dev", deadline=None, max_examples=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config):
    """Before anything is imported, and for the kernels of notebooks, which no fixture reaches."""
    config.llmkit_home = tempfile.mkdtemp(prefix="llmkit-tests-")
    for name in KEY_VARIABLES:
        os.environ.pop(name, None)
    os.environ["LLMKIT_DB"] = os.path.join(config.llmkit_home, "notebooks.duckdb")
    os.environ["LLMKIT_CONFIG_DIR"] = os.path.join(config.llmkit_home, "config")


def pytest_unconfigure(config):
    """Leave nothing behind."""
    shutil.rmtree(config.llmkit_home, ignore_errors=True)


def pytest_xdist_auto_num_workers():
    """One more than there are processors: many tests wait for a process, a server or a pace."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    """What takes long comes first."""
    items.sort(
        key=lambda item: SLOW_FIRST.index(name) if (name := item.path.parent.name) in SLOW_FIRST else len(SLOW_FIRST)
    )


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch, tmp_path_factory):
    """A catalog and a configuration folder of this test alone, and no keys whatever the test before it set."""
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path_factory.mktemp("llmkit")
    monkeypatch.setenv("LLMKIT_DB", str(home / "catalog.duckdb"))
    monkeypatch.setenv("LLMKIT_CONFIG_DIR", str(home / "config"))
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.fixture
def sim():
    """A simulator that answers at once."""
    with llmkit.simulator.serve(latency=0) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def loose_catalog(tmp_path_factory):
    """A folder with a seeded catalog whose limits make nobody wait, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("loose")
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        for name in kit.catalog.defaults():
            kit.catalog.update_provider(name, max_parallel_requests=20, requests_per_minute=100_000)
    return folder


@pytest.fixture
def database(loose_catalog, tmp_path):
    """Where the test's own catalog lies."""
    shutil.copytree(loose_catalog, tmp_path / "catalog")
    return tmp_path / "catalog" / "k.duckdb"


@pytest.fixture
def kit(database, sim):
    """A kit that rehearses with that simulator."""
    with llmkit.open(database, simulate=True) as kit:
        kit.use_simulator(sim)
        yield kit

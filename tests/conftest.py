"""What every test starts from: no real keys, a catalog of its own, no display."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

import llmkit
from llmkit.store.lease import Lease

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

SLOW_FIRST = (
    *("browser", "notebooks", "faults", "team", "money", "tasks", "cluster", "kernel", "analysis"),
    *("runs", "widgets", "security", "kit"),
)
"""Folders whose files begin before all others, so that no worker is left with one of them at the end."""

settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("dev", deadline=None, max_examples=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config):
    """Before anything is imported, and for the kernels of notebooks, which no fixture reaches."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a job in the background, whose children ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.llmkit_home = tempfile.mkdtemp(prefix="llmkit-tests-")
    for name in KEY_VARIABLES:
        os.environ.pop(name, None)
    os.environ["LLMKIT_DB"] = os.path.join(config.llmkit_home, "notebooks.duckdb")
    os.environ["LLMKIT_CONFIG_DIR"] = os.path.join(config.llmkit_home, "config")


def pytest_unconfigure(config):
    """Leave nothing behind."""
    shutil.rmtree(config.llmkit_home, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
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
def python(tmp_path_factory):
    """The beginning of a command line that goes on with ``-c`` and a script, for which llmkit is imported already."""
    folder = Path(__file__).with_name("forked")
    socket = str(tmp_path_factory.mktemp("python") / "socket")
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(folder / "server.py"), socket], **how) as server:
        assert server.stdout.readline() == "ready\n"
        yield [sys.executable, "-I", "-S", str(folder / "launcher.py"), socket]
        server.stdin.close()
        server.wait(60)


@pytest.fixture(scope="session")
def copy_catalog():
    """Copies a folder of catalogs, which are then as llmkit left them: none is searched for changes by others."""

    def copy(source, place):
        shutil.copytree(source, place, dirs_exist_ok=True)
        for path in place.glob("*.duckdb"):
            lease = Lease(path)
            with lease.hold(exclusive=True):
                lease.leave()

    return copy


@pytest.fixture(scope="session")
def shipped_catalog(tmp_path_factory):
    """A folder with the catalog as it is shipped, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("shipped")
    llmkit.open(folder / "k.duckdb", simulate=True).close()
    return folder


@pytest.fixture(scope="session")
def loose_catalog(shipped_catalog, copy_catalog, tmp_path_factory):
    """The same with limits that make nobody wait."""
    folder = tmp_path_factory.mktemp("loose")
    copy_catalog(shipped_catalog, folder)
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        for name in kit.catalog.defaults():
            kit.catalog.update_provider(name, max_parallel_requests=20, requests_per_minute=100_000)
    return folder


@pytest.fixture
def database(loose_catalog, copy_catalog, tmp_path):
    """Where the test's own catalog lies."""
    copy_catalog(loose_catalog, tmp_path / "catalog")
    return tmp_path / "catalog" / "k.duckdb"


@pytest.fixture
def kit(database, sim):
    """A kit that rehearses with that simulator."""
    with llmkit.open(database, simulate=True) as kit:
        kit.use_simulator(sim)
        yield kit

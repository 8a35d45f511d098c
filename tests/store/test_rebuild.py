"""A long rebuild by another process: who reads is let in, and what decides on something waits for the whole."""

import subprocess
import sys
import warnings

import pytest
from test_packs import fill
from test_store import store  # noqa: F401

from llmkit.store import Store, queries

BUILDER = """
import sys, warnings
from pathlib import Path
from llmkit.store import Store, project, upkeep
project._MANY, upkeep.PART, upkeep.PATIENCE = 3_000, 0.0, -1.0
parts = 0

def tell(words, *_):
    global parts
    parts += 1
    if parts == 5:  # after as many parts it sleeps, as if it had been suspended between two of them
        print(words, flush=True)
        sys.stdin.readline()

warnings.simplefilter("always")
warnings.showwarning = tell
Store(Path(sys.argv[1])).close()
"""
RUNS = 40


@pytest.fixture
def whole(store):  # noqa: F811
    """A catalog with many runs, and the list of them."""
    store.close()
    fill(store.journal, RUNS)
    again = Store(store.path)
    runs = again.read(queries.runs)
    again.close()
    return store, runs


@pytest.fixture
def building(whole):
    """The same, of which another process has rebuilt a part, and that process."""
    whole[0].path.unlink()
    command = [sys.executable, "-c", BUILDER, whole[0].path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert "so far" in child.stdout.readline()
        yield *whole, child
        child.kill()


def opened(path):
    """The catalog, opened here, and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        store = Store(path)
        runs = store.look(queries.runs)
    return store, runs, [str(each.message) for each in said]


def test_readers_are_let_in_and_told(building):
    """They see the whole catalog and the runs so far, with a sentence that says how many may be missing, each time that
    a catalog is opened; a run that is there is read without one.
    """
    store, runs, _ = building  # noqa: F811
    for _ in range(2):
        here, so_far, said = opened(store.path)
        assert 0 < len(so_far) < len(runs) == RUNS
        assert len(said) == 1
        assert "incomplete" in said[0]
        assert here.catalog().providers.keys() == {"acme"}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert here.run(so_far["run_id"][0])["id"] == so_far["run_id"][0]
        here.close()


def put_setting(catalog):
    """An edit."""
    with catalog.edit() as edit:
        edit.put_setting("a", 1)


@pytest.mark.parametrize("decide", [
    put_setting,
    lambda catalog: catalog.claim_run("r99"),
    lambda catalog: catalog.settle(),
    lambda catalog: catalog.read(queries.runs),
    lambda catalog: catalog.run(f"r{RUNS - 1}"),
])  # fmt: skip
def test_what_decides_on_something_waits_for_the_whole(building, decide):
    """An edit, a run and a read that is no mere look, or that is about a run not there yet, find everything; to wait
    is to help, so that a process that is suspended in the middle of its rebuild holds nobody up.
    """
    store, runs, child = building  # noqa: F811
    here, _, _ = opened(store.path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decide(here)
        assert here.look(queries.runs).equals(runs)
    here.close()
    child.stdin.write("go on\n")
    child.stdin.close()
    assert child.wait(60) == 0
    assert opened(store.path)[1].equals(runs)


def test_a_rebuild_that_was_killed_goes_on_where_it_was(building):
    """Whoever opens the catalog next finds everything, and is told nothing."""
    store, runs, child = building  # noqa: F811
    child.kill()
    child.wait(60)
    _, after, said = opened(store.path)
    assert after.equals(runs)
    assert said == []

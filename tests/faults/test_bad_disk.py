"""A disk that fails in every way for the database, the journal or the gate's files: before a run, and in the middle."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from children import Scripts

import llmkit

MODEL = "openai:gpt-6-luna"
ERRORS = ("ENOSPC", "EDQUOT", "EIO", "ESTALE", "EROFS")
FILES = {"database": "k.duckdb", "journal": ".jsonl", "gate": ".gate/"}
WORK = """
import json, sys, warnings
import llmkit
path, url, bad, rule, when = sys.argv[1:]
warnings.simplefilter("ignore")
told, answered = {}, []

class Remote:
    url_for = staticmethod(lambda provider: f"{url}/{provider}")
    close = staticmethod(lambda: None)

def fail(): open(bad, "w").write(rule)

def listen(event):
    if event.kind == "answered":
        answered.append([event.probe_id, event.turn])
        if len(answered) == {"in the middle": 10, "at the end": 30}.get(when): fail()

kit = llmkit.open(path, simulate=True)
kit.use_simulator(Remote())
if when == "before": fail()
try:
    handle = kit.run([f"q {n}" for n in range(30)], "openai:gpt-6-luna", on_event=listen)
    told["run"] = handle.run_id
    told["result"] = handle.result(60).status
except llmkit.LlmkitError as error:
    told["error"] = f"{type(error).__name__}: {error}"
if "run" in told:
    told["status"] = handle.status
try:
    told["listed"] = kit.runs().set_index("run_id")["status"].to_dict()
except llmkit.LlmkitError as error:
    told["unlisted"] = str(error)
try:
    kit.catalog.set_setting("note", 1)
    told["edited"] = True
except llmkit.LlmkitError as error:
    told["edited"] = False
open(bad, "w").close()
try:
    kit.close()
except llmkit.LlmkitError as error:
    told["close"] = str(error)
print(json.dumps({**told, "answered": answered}))
"""


@pytest.fixture(scope="module")
def bad_disk(tmp_path_factory):
    """What runs scripts on the shim, built by the compiler of the system."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a disk is made bad by a shim, which needs Linux and a C compiler")
    shim = tmp_path_factory.mktemp("shim") / "bad_disk.so"
    source = Path(__file__).with_name("bad_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    scripts = Scripts(shim.parent, LD_PRELOAD=str(shim))
    yield scripts
    scripts.close()


def worked(bad_disk, *arguments, bad, script=WORK):
    """What a process tells of its work on a disk that this makes bad."""
    code, said, error = bad_disk.run(script, *arguments, BAD_DISK=str(bad))
    assert code == 0, error
    return json.loads(said.splitlines()[-1])


@pytest.mark.parametrize("when", ["before", "in the middle"])
@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("number", ERRORS)
def test_a_bad_disk_loses_nothing(bad_disk, sim, catalog, tmp_path, number, what, when):
    """The run completes or stops with an error of ours; what was acknowledged is saved; status, list and resume agree;
    an edit that raised is not saved, and one that did not is.
    """
    sim.set(latency=0.01)
    bad, rule = tmp_path / "bad", f"{getattr(errno, number)} {FILES[what]}"
    told = worked(bad_disk, catalog, sim.url, bad, rule, when, bad=bad)
    assert told.get("result") == "completed" or "error" in told
    assert told.get("result") == "completed" or what != "database"
    assert "unlisted" not in told
    with llmkit.open(catalog, simulate=True) as kit:
        kit.use_simulator(sim)
        listed = kit.runs().set_index("run_id")["status"].to_dict()
        assert ("note" in set(kit.catalog.settings()["key"])) == told["edited"]
        if "run" not in told:
            assert listed == {}
            return
        run = kit.load(told["run"])
        assert run.status == listed[run.id]
        assert told["status"] == listed[run.id] or (told["status"], listed[run.id]) == ("failed", "interrupted")
        assert told.get("listed", listed) == listed
        saved = set(map(tuple, run.turns[["probe_id", "turn"]].to_numpy()))
        assert {(probe, turn) for probe, turn in told["answered"]} <= saved
        assert set(kit.resume(run.id).result(60).probes["status"]) == {"ok"}


@pytest.mark.parametrize("what", ["the journal is not written", "the journal is not read", "the folder is not read"])
def test_an_end_is_completed_when_it_is_saved_and_only_then(bad_disk, sim, catalog, tmp_path, what):
    """With the last answer the disk fails: an end that is on the disk is one, whatever becomes of the database."""
    sim.set(latency=0.01)
    rule = f"{'' if 'written' in what else '-'}{errno.EIO} {'.journal' if 'folder' in what else '.jsonl'}"
    told = worked(bad_disk, catalog, sim.url, tmp_path / "bad", rule, "at the end", bad=tmp_path / "bad")
    with llmkit.open(catalog, simulate=True) as kit:
        kit.use_simulator(sim)
        assert len(told["answered"]) == len(kit.load(told["run"]).turns) == 30
        if "written" in what:
            assert (told["status"], kit.load(told["run"]).status) == ("failed", "interrupted")
            assert "JournalError" in told["error"]
        else:
            assert (told["status"], kit.load(told["run"]).status) == ("completed", "completed")
        assert set(kit.resume(told["run"]).result(60).probes["status"]) == {"ok"}


ALONE = """
import json, sys, warnings
import llmkit
warnings.simplefilter("ignore")
said = []
def tried(action, *arguments):
    try:
        return action(*arguments)
    except llmkit.LlmkitError as error:
        said.append(str(error))
if kit := tried(lambda: llmkit.open(sys.argv[1], simulate=True)):
    said.append(str(len(kit.runs())))
    tried(kit.catalog.set_setting, "note", 1)
    tried(kit.run, "q", "openai:gpt-6-luna")
    kit.close()
print(json.dumps(said))
"""


@pytest.mark.parametrize("number", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_disk_that_locks_no_files_is_refused_with_the_remedy(bad_disk, catalog, tmp_path, number):
    """Some network disks do not lock, and processes would overwrite each other's work: what is there can be read, and
    nothing is made, edited or run.
    """
    bad = tmp_path / "bad"
    bad.write_text(f"{getattr(errno, number)} flock")
    *new, listed, edit, run = [
        *worked(bad_disk, catalog.with_name("new.duckdb"), bad=bad, script=ALONE),
        *worked(bad_disk, catalog, bad=bad, script=ALONE),
    ]
    for refusal in (*new, edit, run):
        assert "cannot be locked" in refusal
        assert "Keep the catalog on a local disk" in refusal
    assert (len(new), listed) == (1, "0")
    with llmkit.open(catalog, simulate=True) as kit:
        assert len(kit.runs()) == 0
        assert "note" not in set(kit.catalog.settings()["key"])


@pytest.mark.parametrize("number", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_disk_that_ceases_to_lock_files_loses_nothing(bad_disk, sim, catalog, tmp_path, number):
    """A lock server that dies in the middle of a run: it ends with our error or completes, and resume asks the rest."""
    sim.set(latency=0.01)
    bad = tmp_path / "bad"
    rule = f"{getattr(errno, number)} flock"
    told = worked(bad_disk, catalog, sim.url, bad, rule, "in the middle", bad=bad)
    assert told.get("result") == "completed" or "error" in told
    with llmkit.open(catalog, simulate=True) as kit:
        kit.use_simulator(sim)
        run = kit.load(told["run"])
        saved = set(map(tuple, run.turns[["probe_id", "turn"]].to_numpy()))
        assert {(probe, turn) for probe, turn in told["answered"]} <= saved
        assert set(kit.resume(run.id).result(60).probes["status"]) == {"ok"}

"""A disk that fails in every way for the database, the journal or the gate's files: before a run, and in the middle."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
        if when == "in the middle" and len(answered) == 10: fail()

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
    """The shim, built by the compiler of the system."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a disk is made bad by a shim, which needs Linux and a C compiler")
    shim = tmp_path_factory.mktemp("shim") / "bad_disk.so"
    source = Path(__file__).with_name("bad_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return shim


@pytest.mark.parametrize("when", ["before", "in the middle"])
@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("number", ERRORS)
def test_a_bad_disk_loses_nothing(bad_disk, sim, catalog, tmp_path, number, what, when):
    """The run completes or stops with an error of ours; what was acknowledged is saved; status, list and resume agree;
    an edit that raised is not saved, and one that did not is.
    """
    sim.set(latency=0.01)
    bad, rule = tmp_path / "bad", f"{getattr(errno, number)} {FILES[what]}"
    done = subprocess.run(
        [sys.executable, "-c", WORK, catalog, sim.url, bad, rule, when],
        env={**os.environ, "LD_PRELOAD": str(bad_disk), "BAD_DISK": str(bad)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    print(told)
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

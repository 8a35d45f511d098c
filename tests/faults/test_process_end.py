"""Scripts that end without closing their kit, in every way that scripts end."""

import gc
import os
import subprocess
import sys
import threading

import pytest
from waiting import until

import llmkit

SCRIPT = """
import atexit
atexit.register(lambda: print(sim.count("ok")))  # comes last: after all that llmkit does at the end
import os, signal, llmkit
kit = llmkit.open({path!r}, simulate=True)
kit.catalog.update_provider("openai", requests_per_minute=100_000, max_parallel_requests=4)
sim = llmkit.simulator.serve(latency=0.05)
kit.use_simulator(sim)
handle = kit.run(["q"] * 60, models="openai:gpt-6-luna")
sim.wait_until(lambda: sim.count("ok") >= 3, timeout=60)
{end}
"""
ENDS = {
    "its last line": ("", 0, ""),
    "the end of the run": ("handle.result()", 0, ""),
    "panels that are open": ("panel, reader = handle.panel(), kit.reader(handle.run_id)", 0, ""),
    "an exception": ("raise RuntimeError('mine')", 1, "RuntimeError: mine"),
    "sys.exit": ("raise SystemExit(3)", 3, ""),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT)\nhandle.result()", -2, "KeyboardInterrupt"),
    "close": ("kit.close()", 0, ""),
    "a thread that waits": ("import threading\nthreading.Thread(target=handle.result, daemon=True).start()", 0, ""),
    "a kit that was dropped": ("import gc\ndel kit, handle\ngc.collect()", 0, ""),
    "several kits": ("kits = [llmkit.open({path!r}, simulate=True) for _ in range(3)]", 0, ""),
}

AGAIN = [way for way in ENDS for _ in range(99 if way == "Ctrl-C" else 12)]


@pytest.mark.parametrize("way", [*ENDS, *(pytest.param(way, marks=pytest.mark.soak) for way in AGAIN)])
def test_a_script_ends_well_without_closing_its_kit(catalog, way):
    """Its exit code and its last words are its own, all that was served is saved, and the rest can be resumed."""
    end, code, last_words = ENDS[way]
    path = str(catalog)
    script = SCRIPT.format(path=path, end=end.format(path=path))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == code
    assert ended.stderr.strip().rpartition("\n")[2] == last_words
    with llmkit.open(path, simulate=True) as kit:
        (run,) = kit.runs().to_dict("records")
        assert (run["ok"], run["unknown"]) == (int(ended.stdout), 0)
        assert run["status"] == ("completed" if run["ok"] == 60 else "cancelled")
        assert kit.resume(run["run_id"]).result(60).probes["status"].eq("ok").all()


STUCK = """
import sys, time, llmkit
from llmkit.kit import process_end
from llmkit.runs import background
kit = llmkit.open(sys.argv[1], simulate=True)
kit.run("q", models="openai:gpt-6-luna").result(60)
background.PATIENCE = process_end.GRACE = 0.2

async def holds_the_loop_up():
    time.sleep(3600)

background.start(holds_the_loop_up)
"""


def test_no_thread_keeps_a_script_from_ending(tmp_path):
    """Whatever holds the loop up, a disk or a listener: the end waits for it, and not for ever."""
    ended = subprocess.run([sys.executable, "-c", STUCK, tmp_path / "c.duckdb"], capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


FORK = """
import os, sys, threading, llmkit
kit = llmkit.open({path!r}, simulate=True)
kit.catalog.update_provider("openai", requests_per_minute=100_000)
handle = kit.run(["q"] * 20, models="openai:gpt-6-luna")
child = os.fork()
if child == 0:
    assert len(kit.runs()) == 1
    try:
        handle.result()
    except llmkit.LlmkitError as error:
        assert "wait for it there" in str(error)
    assert kit.run("in the child", models="openai:gpt-6-luna").result(60).status == "completed"
    kit.close()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child"
assert handle.result(60).status == "completed"
print(len(kit.runs()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_works_with_its_parents_kit(tmp_path):
    """It reads, runs and ends by itself, while a run of its parent goes on."""
    script = FORK.format(path=str(tmp_path / "c.duckdb"))
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "")


FORK_AT_WORK = """
import os, threading
from concurrent.futures import Future
from llmkit.runs import background
lock, locked, forking = threading.Lock(), Future(), threading.Event()

async def work():
    with lock:
        locked.set_result(True)
        forking.wait(30)
        sum(range(1_000_000))

background.start(work)
locked.result(30)
os.register_at_fork(before=forking.set)
child = os.fork()
if child == 0:
    os._exit(0 if lock.acquire(timeout=5) else 1)
assert os.waitpid(child, 0)[1] == 0, "the child"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_finds_no_lock_that_a_run_held():
    """A fork waits until the loop of the runs holds none, since nobody would free it in the child."""
    script = [sys.executable, "-W", "ignore", "-c", FORK_AT_WORK]  # Python 3.12 warns of any fork with threads
    ended = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="this system does not list open files")
def test_kits_that_are_opened_again_and_again_leave_nothing_behind(tmp_path):
    """Neither threads nor files, whether a kit was closed or only dropped."""

    def used(close):
        kit = llmkit.open(tmp_path / "c.duckdb", simulate=True)
        kit.run("q", models="openai:gpt-6-luna").result(60)
        if close:
            kit.close()
        del kit
        gc.collect()

    def left():
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    for close in (True, False):
        used(close)
        used(close)
        before = left()
        for _ in range(3):
            used(close)
        assert until(lambda before=before: left() <= before)  # what was dropped ends on threads of its own

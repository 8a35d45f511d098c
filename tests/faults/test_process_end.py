"""Scripts that end without closing their kit, in every way that scripts end."""

import subprocess
import sys

import pytest

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
sim.wait_until(lambda: sim.count("ok") >= 3)
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
    "several kits": ("kits = [llmkit.open({path!r}, simulate=True) for _ in range(3)]", 0, ""),
}


@pytest.mark.parametrize("way", ENDS)
def test_a_script_ends_well_without_closing_its_kit(tmp_path, way):
    """Its exit code and its last words are its own, all that was served is saved, and the rest can be resumed."""
    end, code, last_words = ENDS[way]
    path = str(tmp_path / "c.duckdb")
    script = SCRIPT.format(path=path, end=end.format(path=path))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == code
    assert ended.stderr.strip().rpartition("\n")[2] == last_words
    with llmkit.open(path, simulate=True) as kit:
        (run,) = kit.runs().to_dict("records")
        assert (run["ok"], run["unknown"]) == (int(ended.stdout), 0)
        assert run["status"] == ("completed" if run["ok"] == 60 else "cancelled")
        assert kit.resume(run["run_id"]).result(60).probes["status"].eq("ok").all()

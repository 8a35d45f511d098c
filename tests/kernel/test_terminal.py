"""A real IPython on a terminal, where no output can be updated and an interrupt ends the event loop."""

import signal
import subprocess
import sys

import pytest
from kernel_client import PROVIDERS, SETUP

MODEL = "openai:gpt-6-luna"
PROMPTS = 300
"""So many that the run is not over before it is interrupted."""
SHOWN = f"""
import threading
handle = kit.run(['Why?'], ['{MODEL}'])
handle
panel = kit.models_panel()
panel
kit.catalog.update_model('{MODEL}', display_name='Luna the second');
run = handle.result()
[thread.join() for thread in threading.enumerate() if thread.name == 'llmkit-panel'];
kit.reader(run)
"""
WAIT = f"""
handle = kit.run([f'question {{n}}' for n in range({PROMPTS})], ['{MODEL}'])
await handle
"""
AFTER = """
handle.wait(60)
print('ended as', handle.status)
"""


@pytest.fixture
def terminal(catalog, sim, tmp_path, monkeypatch):
    """IPython with an open kit; what is written to its standard input is run line by line."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    command = [sys.executable, "-u", "-m", "IPython", "--simple-prompt", "--no-banner", "--quick"]
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    urls = {name: sim.url_for(name) for name in PROVIDERS}
    lines = SETUP.format(urls=urls, path=str(catalog)).strip().replace("\nkit = ", "\n\nkit = ")
    with subprocess.Popen(command, **how) as process:
        process.stdin.write(f"{lines}\n")
        yield process
        process.kill()


def test_an_interrupt_ends_a_run_that_is_awaited(terminal, sim):
    """Ctrl-C stops the run, says how to go on, and leaves nothing waiting in the event loop."""
    terminal.stdin.write(WAIT)
    terminal.stdin.flush()
    assert sim.wait_until(lambda: sim.count("billed") >= 3, timeout=60)
    terminal.send_signal(signal.SIGINT)
    printed, _ = terminal.communicate(AFTER, timeout=120)
    assert "ended as cancelled" in printed
    assert "Stopped: answers to requests in flight are still saved." in printed


def test_a_panel_is_printed_once(terminal):
    """Neither the end of a run nor an edit prints a table into the prompt, and no words stand for what comes later."""
    printed, _ = terminal.communicate(SHOWN, timeout=120)
    assert printed.count("probes done") == 1
    assert printed.count("claude-haiku-5-5") == 1
    assert "Luna the second" not in printed
    assert "Answers of" not in printed
    assert "Answers\n" in printed

"""A run of thousands of probes while its panel is open: few updates, little work, a browser that never stalls."""

import json
import subprocess
import sys

import pytest
from lab_page import PATIENCE
from playwright.sync_api import expect

from llmkit.kit import open_kit

PROBES = 5_000
MOST_UPDATES = 10  # a second
MOST_EXTRA = 1.05  # of the kernel's processor time
LONGEST_TASK = 500  # ms

_SIMULATOR = """
import sys
from llmkit import simulator
print(simulator.serve(latency=0.02).url_for("bench"), flush=True)
sys.stdin.read()
"""

_RUN = """
import json, time
def run(watched):
    handle = kit.run([f"q{{n}}" for n in range({probes})], "bench:quick", max_tokens=20)
    updates = []
    if watched:
        panel = handle.panel()
        panel.summary.observe(lambda _: updates.append(time.monotonic()), "value")
        display(panel)
    begin, work = time.monotonic(), time.process_time()
    handle.wait()
    return {{"updates": len(updates), "seconds": time.monotonic() - begin, "cpu": time.process_time() - work}}
"""


@pytest.fixture
def bench(database):
    """A catalog with one model of a provider that answers from another process, without limits that matter."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SIMULATOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with open_kit(database) as kit:
        kit.catalog.add_provider(
            "bench", base_url=process.stdout.readline().strip(), max_parallel_requests=40, requests_per_minute=1_000_000
        )
        kit.catalog.add_model("bench:quick", cost_input_per_million=1, cost_output_per_million=1)
    yield database
    process.stdin.close()
    process.wait(60)


def measured(notebook, cell):
    """What a cell of these printed."""
    output = notebook.output(cell).get_by_text("cpu")
    expect(output).to_be_visible(timeout=180_000)
    return json.loads(output.inner_text())


@pytest.mark.soak
def test_an_open_panel_costs_a_busy_run_next_to_nothing(lab, bench):
    """5,000 probes with and without the panel, in turn: updates, processor time, and the browser's longest task."""
    rounds = ("False", "True") * 3
    notebook = lab.notebook(
        "speed",
        f"import llmkit\nkit = llmkit.open({str(bench)!r})",
        _RUN.format(probes=PROBES),
        "run(False); None",
        *(f"print(json.dumps(run({watched})))" for watched in rounds),
    )
    lab.page.evaluate(
        """window.longest = 0;
        new PerformanceObserver(list => {
            for (const entry of list.getEntries()) { window.longest = Math.max(window.longest, entry.duration); }
        }).observe({type: 'longtask'});"""
    )
    notebook.page.set_default_timeout(300_000)
    try:
        notebook.run()
    finally:
        notebook.page.set_default_timeout(PATIENCE)
    found = [measured(notebook, cell) for cell in range(3, 3 + len(rounds))]
    plain, watched = found[::2], found[1::2]
    longest = lab.page.evaluate("window.longest")
    cpu_plain, cpu_watched = (min(each["cpu"] for each in group) for group in (plain, watched))
    rate = max(each["updates"] / each["seconds"] for each in watched)
    print(
        f"\n{PROBES:,} probes: {cpu_plain:.2f} s of processor time without a panel, {cpu_watched:.2f} s with "
        f"({cpu_watched / cpu_plain - 1:+.1%}); {rate:.1f} updates a second; longest task {longest:.0f} ms"
    )
    print([round(each["cpu"], 2) for each in found])
    assert rate <= MOST_UPDATES
    assert cpu_watched <= cpu_plain * MOST_EXTRA
    assert longest <= LONGEST_TASK

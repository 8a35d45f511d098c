"""Stop and Restart in a real kernel while a cell awaits its run: the cell ends, nothing is lost, resume completes."""

import random
from collections import Counter

import pytest
from kernel_client import CellFailed

import llmkit

MODEL = "openai:gpt-6-luna"
PROMPTS = 300
"""So many that no run is over before Stop is pressed, however slow the machine is."""
START = f"""
handle = kit.run([f'question {{n}}' for n in range({PROMPTS})], {MODEL!r})
run = await handle
"""
WAIT = """
while kit.last_run().status == 'running':
    await asyncio.sleep(0.05)
kit.last_run().status
"""


def press_stop(kernel, sim, moment):
    """Start a run, press Stop after a number of answers; how the cell failed and the seconds that it took."""
    sim.reset()
    cell = kernel.start(START)
    assert sim.wait_until(lambda: sim.count("billed") >= moment, timeout=60)
    return kernel.stop(cell)


def check_nothing_lost(catalog, sim):
    """As many turns as the server billed, but for requests that are marked as perhaps billed."""
    with llmkit.open(catalog, simulate=True) as kit:
        run = kit.last_run()
        assert run.status == "cancelled"
        assert len(run.probes) == PROMPTS
        assert set(run.probes["status"]) <= {"ok", "cancelled"}
        assert len(run.turns) + int(run.attempts["maybe_billed"].sum()) == sim.count("billed")
        return len(run.turns)


def test_stop_ends_the_cell_and_keeps_every_answer(cell, kernel, catalog, sim):
    """Three times Stop at some moment of a run: KeyboardInterrupt, all that was answered is saved, the kernel works."""
    for moment in (1, 7, 23):
        name, _ = press_stop(kernel, sim, moment)
        assert name in ("KeyboardInterrupt", "CancelledError")
        assert cell("1 + 1") == 2
        assert cell(WAIT) == "cancelled"
        assert check_nothing_lost(catalog, sim) >= moment
    sim.set(latency=0)
    assert cell("run = await kit.resume(kit.last_run().id); run.status") == "completed"
    assert cell("list(run.probes['status'].unique())") == ["ok"]


@pytest.mark.soak
def test_stop_takes_less_than_half_a_second(cell, kernel, catalog, sim):
    """20 of 20 times the cell is over within 0.5 s, and nothing is lost; prints the figures."""
    chance, seconds = random.Random(11), []
    for _ in range(20):
        name, taken = press_stop(kernel, sim, chance.randrange(1, 40))
        assert name in ("KeyboardInterrupt", "CancelledError")
        seconds.append(taken)
        assert cell(WAIT) == "cancelled"
        check_nothing_lost(catalog, sim)
    print({"trials": len(seconds), "longest_s": round(max(seconds), 3), "mean_s": round(sum(seconds) / 20, 3)})
    assert max(seconds) < 0.5


def test_stop_while_nothing_happens(cell, kernel, sim):
    """Stop works too when every request hangs and the event loop is idle."""
    sim.set(latency=600)
    handle = kernel.start(START)
    assert sim.wait_until(lambda: sim.count("in_flight") == 5, timeout=60)
    name, _ = kernel.stop(handle)
    assert name in ("KeyboardInterrupt", "CancelledError")
    cell("handle.cancel(grace=0)")
    assert cell(WAIT) == "cancelled"


@pytest.mark.parametrize("wait", ["await handle", "handle.result()"])
def test_a_stopped_cell_says_what_to_do_next(cell, kernel, sim, wait):
    """The last line of the error names the calls for the rest and for what has come."""
    started = kernel.start(START.replace("await handle", wait))
    assert sim.wait_until(lambda: sim.count("billed") >= 1, timeout=60)
    kernel.interrupt()
    with pytest.raises(CellFailed) as failed:
        kernel.finish(started)
    run_id = cell("handle.run_id")
    assert f"kit.resume('{run_id}') asks the rest" in str(failed.value)
    assert f"kit.load('{run_id}')" in str(failed.value)


def test_stop_in_a_blocking_wait(cell, kernel, catalog, sim):
    """``.result()`` in a cell is stopped in the same way."""
    blocked = kernel.start(START.replace("await handle", "handle.result()"))
    assert sim.wait_until(lambda: sim.count("billed") >= 5, timeout=60)
    assert kernel.stop(blocked)[0] == "KeyboardInterrupt"
    assert cell(WAIT) == "cancelled"
    assert check_nothing_lost(catalog, sim) >= 5


def test_stop_is_heard_while_python_cleans_up(cell, kernel, sim):
    """What a signal raises within ``__del__`` is printed and forgotten: the run would go on, and be paid for."""
    sim.set(latency=600)
    cell("""
    import signal
    class CleanedUp:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)
    rubbish = [CleanedUp()]
    def on_display(message):
        rubbish.clear()
        return message
    get_ipython().display_pub.register_hook(on_display)
    """)
    with pytest.raises(CellFailed) as failed:
        kernel.finish(kernel.start(START.replace("await handle", "handle.result()")))
    assert failed.value.name == "KeyboardInterrupt"
    cell("handle.cancel(grace=0)")
    assert cell(WAIT) == "cancelled"


def test_two_runs_are_awaited_at_once(cell, sim):
    """Two runs in one cell, each with its own result."""
    sim.set(latency=0.01)
    code = f"""
    first, second = await asyncio.gather(kit.run(['a', 'b'], {MODEL!r}), kit.run(['c'], {MODEL!r}, samples=3))
    [first.status, second.status, len(first.probes), len(second.probes), first.id != second.id]
    """
    assert cell(code) == ["completed", "completed", 2, 3, True]


def test_an_error_reaches_the_cell(cell):
    """What cannot be run is said in the cell, before anything starts."""
    with pytest.raises(CellFailed, match="Did you mean") as failed:
        cell("await kit.run('hello', 'openai:gpt-6-lunar')")
    assert failed.value.name == "ModelNotFound"


def test_a_restarted_kernel_resumes_its_run(cell, kernel, catalog, sim):
    """The run of a kernel that was restarted is listed as interrupted, with its counts, and resume asks the rest."""
    kernel.start(START)
    assert sim.wait_until(lambda: sim.count("billed") >= 12, timeout=60)
    kernel.restart()
    kernel.open_kit(catalog, sim)
    row = cell("kit.runs()[['status', 'ok', 'pending', 'unknown', 'n_probes']].astype(object).iloc[0].to_list()")
    status, ok, pending, unknown, total = row
    assert status == "interrupted"
    assert ok + pending == total == PROMPTS
    assert ok + unknown >= 12
    sim.set(latency=0)
    assert cell("run = await kit.resume(kit.last_run().id); run.status") == "completed"
    statuses = Counter(cell("run.probes['status'].to_list()"))
    assert statuses == {"ok": PROMPTS}
    asked = {probe: len(seen) for probe, seen in sim.stats()["billed_by_probe"].items()}
    assert sum(asked.values()) <= PROMPTS + unknown

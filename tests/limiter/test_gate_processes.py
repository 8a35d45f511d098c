"""Several kernels on one catalog, as real processes with real locks."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import anyio
import portalocker
import pytest
from virtual_time import clock

from llmkit.limiter import SLOT
from llmkit.limiter.pace import RATE_LIMITED, Limits, PaceState, pause
from llmkit.limiter.pace_file import PROVIDER, PaceFile

CHILD = Path(__file__).with_name("gate_process.py")


@contextmanager
def kernel(directory, parallel, rpm, count, seconds):
    """A process that waits for a line before it asks."""
    arguments = [sys.executable, str(CHILD), str(directory), *map(str, (parallel, rpm, count, seconds))]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def go(*processes):
    """Let the processes ask, at about the same time."""
    for process in processes:
        assert json.loads(process.stdout.readline()) == "ready"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def test_kernels_share_slots_and_pace(tmp_path):
    """Three processes together never have more in flight than one may, nor start faster than one may."""
    parallel, rpm = 3, 1800
    with (
        kernel(tmp_path / "gate", parallel, rpm, 25, 0.1) as a,
        kernel(tmp_path / "gate", parallel, rpm, 25, 0.1) as b,
        kernel(tmp_path / "gate", parallel, rpm, 25, 0.1) as c,
    ):
        go(a, b, c)
        lines = [json.loads(line) for process in (a, b, c) for line in process.communicate()[0].splitlines()]
    starts = sorted(started for what, started, _ in lines if what == "began")
    flights = [(began, ended) for what, began, ended in lines if what == "ended"]
    assert len(starts) == len(flights) == 75
    for began, _ in flights:
        assert sum(other <= began < ended for other, ended in flights) <= parallel
    for first, begin in enumerate(starts):
        assert all(n <= parallel + (t - begin) * rpm / 60 + 0.01 for n, t in enumerate(starts[first:], start=1))


@pytest.mark.parametrize("own", [{}, {"p:m": Limits(2, 60_000)}], ids=["provider", "model"])
def test_a_killed_kernel_frees_its_slots(tmp_path, virtual, make_gate, own):
    """After kill -9 the slots of the dead process are free within a second, and no number of them is lost."""
    starts = []

    async def ask(gate):
        async with gate.admit("p", run_id="r", model="p:m") as admission:
            starts.append(clock())
            await anyio.sleep(3600)
            admission.settle(tokens=None, cost=None, ok=True)

    async def main():
        gate = make_gate()
        gate.queue("p").set_limits(Limits(2, 60_000), own)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask, gate)
            await anyio.sleep(60.0)
            assert gate.waiting()["p"].reason == SLOT
            assert starts == []
            process.kill()
            process.wait(60)
            killed_at = clock()
        assert all(started_at - killed_at < 1 for started_at in starts)

    with kernel(tmp_path / "gate", 2, 60_000, 2, 3600) as process:
        go(process)
        for _ in range(2):
            assert json.loads(process.stdout.readline())[0] == "began"
        virtual(main)
    assert len(starts) == 2


def test_a_pause_holds_for_the_other_kernels_and_so_does_the_trial(virtual, make_gate):
    """What one kernel is told by the provider stops the others too; after the pause they send one request in all."""

    async def main():
        here, there = make_gate(), make_gate()
        log = []

        async def ask(gate):
            async with gate.admit("p", run_id="r", model="p:m") as admission:
                log.append((gate, clock()))
                await anyio.sleep(3.0)
                admission.settle(tokens=None, cost=None, ok=True)

        for gate in (here, there):
            gate.queue("p").set_limits(Limits(4, 6000))
        began = clock()
        assert here.queue("p").pause(10.0)
        assert not there.queue("p").pause(10.0)
        async with anyio.create_task_group() as tasks:
            for gate in (here, there):
                for _ in range(4):
                    tasks.start_soon(ask, gate)
            await anyio.sleep(5.0)
            assert there.waiting()["p"].reason == RATE_LIMITED
            await anyio.sleep(7.0)
            assert len(log) == 1
        assert len(log) == 8
        assert log[0][1] - began == pytest.approx(10.0, abs=0.05)
        assert log[1][1] - began == pytest.approx(13.0, abs=0.3)

    virtual(main)


def ask_for_ever(gate, name, log, seconds=1.0):
    """A task that asks again and again, and logs when each request began and ended."""

    async def one():
        while True:
            async with gate.admit("p", run_id=name, model="p:m") as admission:
                log.append((clock(), 1, name))
                await anyio.sleep(seconds)
                log.append((clock(), -1, name))
                admission.settle(tokens=None, cost=None, ok=True)

    return one


def in_flight(log, name=""):
    """How many requests are under way."""
    return sum(change for _, change, who in log if who.startswith(name))


@pytest.mark.parametrize("own", [{}, {"p:m": Limits(4, 60_000)}], ids=["provider", "model"])
def test_slots_are_given_back_to_a_kernel_that_comes_later(virtual, make_gate, own):
    """One kernel uses all slots while it is alone, and half of them as soon as another one has work."""

    async def main():
        here, there, log = make_gate(), make_gate(), []
        for gate in (here, there):
            gate.queue("p").set_limits(Limits(8 if own else 4, 60_000), own)
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(ask_for_ever(here, "here", log))
            await anyio.sleep(3.5)
            assert in_flight(log) == in_flight(log, "here") == 4
            with anyio.CancelScope() as work:
                async with anyio.create_task_group() as theirs:
                    for _ in range(6):
                        theirs.start_soon(ask_for_ever(there, "there", log))
                    await anyio.sleep(1.0)
                    assert (in_flight(log, "here"), in_flight(log, "there")) == (2, 2)
                    await anyio.sleep(5.0)
                    assert (in_flight(log, "here"), in_flight(log, "there")) == (2, 2)
                    work.cancel()
            log.extend((clock(), -1, "there") for _ in range(2))  # cut, and so not logged
            await anyio.sleep(1.0)
            assert in_flight(log) == in_flight(log, "here") == 4
            tasks.cancel_scope.cancel()
        assert max(sum(change for _, change, _ in log[:n]) for n in range(len(log))) <= 4

    virtual(main)


def test_two_kernels_take_turns_at_a_single_slot(virtual, make_gate):
    """Where only one request may be in flight, each of two kernels gets its part."""

    async def main():
        here, there, log = make_gate(), make_gate(), []
        async with anyio.create_task_group() as tasks:
            for gate, name in ((here, "here"), (there, "there")):
                gate.queue("p").set_limits(Limits(1, 60_000))
                for _ in range(3):
                    tasks.start_soon(ask_for_ever(gate, name, log, 0.1))
            await anyio.sleep(20.0)
            tasks.cancel_scope.cancel()
        begun = [name for _, change, name in log if change > 0]
        assert len(begun) >= 180
        assert 0.4 <= begun.count("here") / len(begun) <= 0.6

    virtual(main)


def test_a_kernel_that_is_done_holds_nothing(virtual, make_gate):
    """When the work of one kernel is over, the other has all slots and all tokens that were not used."""

    async def main():
        here, there = make_gate(), make_gate()
        for gate in (here, there):
            gate.queue("p").set_limits(Limits(3, 60_000, 903))

        async def ask(gate, waited):
            async with gate.admit("p", run_id="r", model="p:m", tokens=300) as admission:
                waited.append(admission.waited_s)
                await anyio.sleep(1.0)
                admission.settle(tokens=1, cost=None, ok=True)

        for gate in (here, there):
            waited = []
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(ask, gate, waited)
            assert waited == [0.0] * 3

    virtual(main)


def test_a_frozen_kernel_does_not_stop_the_others(virtual, make_gate, tmp_path):
    """A process that was stopped while it held the pace file is passed by after a moment; the pause in it holds on."""

    async def main():
        gate = make_gate()
        gate.queue("p").set_limits(Limits(2, 600))
        gate.queue("p").pause(5.0)
        began = clock()
        with (tmp_path / "gate" / "p.pace").open("r+b") as frozen:
            portalocker.lock(frozen, portalocker.LockFlags.EXCLUSIVE)
            async with gate.admit("p", run_id="r", model="p:m") as admission:
                assert admission.started_at - began == pytest.approx(5.0, abs=0.05)
                admission.settle(tokens=None, cost=None, ok=True)

    virtual(main)


def test_what_could_not_be_written_is_written_later(tmp_path):
    """A change that comes while another process holds the file is not lost, and nobody waits for it."""
    path, now = tmp_path / "p.pace", 1_800_000_000.0
    pace = PaceFile(tmp_path, "p", lambda: now)
    pace.change(PROVIDER, lambda state: state)
    with path.open("r+b") as other:
        portalocker.lock(other, portalocker.LockFlags.EXCLUSIVE)
        pace.change(PROVIDER, lambda state: pause(state, now, 10.0))
        assert PaceState.from_bytes(path.read_bytes()) == PaceState()
    with pace as locked_at:
        assert locked_at == now
        assert pace.get(PROVIDER).pause_until == now + 10
    assert PaceState.from_bytes(path.read_bytes()).pause_until == now + 10
    pace.close()


def test_rubbish_in_the_file_does_not_stop_a_run(virtual, make_gate, tmp_path):
    """A torn pace file, or one that was deleted while in use, costs nothing but its memory."""

    async def main():
        gate, path = make_gate(), tmp_path / "gate" / "p.pace"
        path.write_bytes(b'{"credit": 1' * 500)
        for _ in range(2):
            async with gate.admit("p", run_id="r", model="p:m") as admission:
                admission.settle(tokens=None, cost=None, ok=True)
            assert PaceState.from_bytes(path.read_bytes()) != PaceState()
            path.unlink()

    virtual(main)


def test_a_clock_that_was_set_back_does_not_stop_a_run(virtual, make_gate, tmp_path):
    """A pause that was written in what is now the future is forgotten."""

    async def main():
        path = tmp_path / "gate" / "p.pace"
        gate = make_gate()
        path.write_bytes(pause(PaceState(), clock() + 86_400, 600.0).to_bytes())
        async with gate.admit("p", run_id="r", model="p:m") as admission:
            assert admission.waited_s == 0
            admission.settle(tokens=None, cost=None, ok=True)

    virtual(main)

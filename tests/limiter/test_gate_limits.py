"""What one process is let through, on virtual time."""

import stat
from decimal import Decimal
from itertools import pairwise

import anyio
import pytest
from virtual_time import clock

from llmkit.limiter import BUDGET, SLOT, Budget, Purse
from llmkit.limiter.pace import RATE_LIMITED, REQUESTS_LEFT, REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, TRIAL, Limits
from llmkit.records import RateInfo


async def ask(gate, seconds=0.2, *, log=None, ok=True, used=None, provider="p", run="run", model="p:m", **more):
    """One request that takes so many seconds; logs when it was let through, and returns its admission."""
    async with gate.admit(provider, run_id=run, model=model, **more) as admission:
        if log is not None:
            log.append((clock(), run, model))
        await anyio.sleep(seconds)
        admission.settle(tokens=used, cost=Decimal(0), ok=ok)
    return admission


async def settle_down():
    """Let every task get as far as it can without time passing."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


def test_all_limits_hold_together(virtual, make_gate):
    """At most max_parallel in flight, no more than a burst and the pace in any stretch, and the minute is used."""

    async def main():
        gate, log, flying, most = make_gate(), [], 0, 0
        gate.queue("p").set_limits(Limits(5, 600))

        async def one():
            nonlocal flying, most
            async with gate.admit("p", run_id="run", model="p:m") as admission:
                log.append(clock())
                flying += 1
                most = max(most, flying)
                await anyio.sleep(0.3)
                flying -= 1
                admission.settle(tokens=None, cost=None, ok=True)

        async with anyio.create_task_group() as tasks:
            for _ in range(640):
                tasks.start_soon(one)
        assert most == 5
        assert all(sum(t <= later < t + 60 for later in log) <= 600 for t in log)
        assert sum(t < log[0] + 60 for t in log) >= 582
        for first, begin in enumerate(log):
            assert all(n <= 5 + (t - begin) * 10 + 0.01 for n, t in enumerate(log[first : first + 60], start=1))

    virtual(main)


def test_a_retry_after_is_waited_for_to_within_50_ms(virtual, make_gate):
    """The request after a pause starts when the pause is over, and not 50 ms later."""

    async def main():
        for number, seconds in enumerate((0.25, 1.0, 7.3, 30.0, 61.7)):
            gate, provider = make_gate(), f"p{number}"
            asked = clock()
            assert gate.queue(provider).pause(seconds)
            admission = await ask(gate, provider=provider)
            assert -1e-6 < admission.started_at - asked - seconds < 0.05
            assert admission.wait_reason == RATE_LIMITED
            assert admission.waited_s == pytest.approx(seconds, abs=0.05)

    virtual(main)


def test_300_tasks_send_one_request_after_a_refusal(virtual, make_gate):
    """After one 429 nothing is sent in the pause; then one request goes, and the others when that was served."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(50, 6000))
        await ask(gate, 0.1, ok=False)
        assert gate.queue("p").pause(30.0)
        began = clock()
        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(lambda: ask(gate, 5.0, log=log))
            await anyio.sleep(29.9)
            assert log == []
            assert gate.queue("p").pause(30.0) is False
            await anyio.sleep(5.0)
            assert len(log) == 1
            assert gate.waiting()["p"].reason == TRIAL
            await anyio.sleep(5.0)
            assert len(log) >= 50
        assert len(log) == 300
        assert log[0][0] - began == pytest.approx(30.0, abs=0.05)

    virtual(main)


def test_a_refusal_holds_the_gate_until_the_pause_is_known(virtual, make_gate):
    """Between a 429 and the call that says how long to pause, the freed slot is not given to the next in line."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(1, 6000))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(gate, 0.1, ok=False, log=log))
            await settle_down()
            tasks.start_soon(lambda: ask(gate, 0.1, log=log))
            await anyio.sleep(0.2)
            assert len(log) == 1
            assert gate.queue("p").pause(20.0) is True
        assert log[1][0] - log[0][0] == pytest.approx(20.2, abs=0.05)

    virtual(main)


def test_a_raised_limit_is_in_force_at_once(virtual, make_gate):
    """An edit in the form lets a waiting request go that would have had to wait for long."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(1, 1))
        await ask(gate)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(gate, log=log))
            await anyio.sleep(5.1)
            assert log == []
            assert gate.waiting()["p"].reason == REQUESTS_PER_MINUTE
            edited = clock()
            gate.queue("p").set_limits(Limits(1, 600))
            await settle_down()
            assert [when for when, _, _ in log] == [edited]

    virtual(main)


def test_a_lowered_limit_lets_those_under_way_finish(virtual, make_gate):
    """After the edit no request starts until fewer are in flight than the new limit."""

    async def main():
        gate, flying, seen = make_gate(), set(), []
        gate.queue("p").set_limits(Limits(5, 60_000))

        async def one(number, seconds):
            async with gate.admit("p", run_id="run", model="p:m") as admission:
                flying.add(number)
                seen.append(len(flying))
                await anyio.sleep(seconds)
                flying.discard(number)
                admission.settle(tokens=None, cost=None, ok=True)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(one, number, 1.0 + number)
            await settle_down()
            gate.queue("p").set_limits(Limits(2, 60_000))
            for number in range(5, 12):
                tasks.start_soon(one, number, 1.0)
        assert seen[:5] == [1, 2, 3, 4, 5]
        assert max(seen[5:]) == 2
        assert len(seen) == 12

    virtual(main)


def test_runs_take_turns(virtual, make_gate):
    """A small run is not held up behind a large one that came first, and each run keeps its order."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(1, 60_000))
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(lambda number=number: ask(gate, run="large", model=f"p:{number % 3}", log=log))
            await anyio.sleep(1.0)
            already = len(log)
            for _ in range(10):
                tasks.start_soon(lambda: ask(gate, run="small", log=log))
        runs = [run for _, run, _ in log]
        assert runs[already : already + 20].count("small") >= 9
        assert [model for _, run, model in log if run == "large"] == [f"p:{n % 3}" for n in range(100)]

    virtual(main)


def test_a_model_with_its_own_limit_does_not_hold_up_the_others(virtual, make_gate):
    """A model's own limits hold beside the provider's, and other models pass it in the line."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(5, 6000), {"p:slow/1": Limits(1, 6)})
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(lambda: ask(gate, model="p:slow/1", log=log))
            for _ in range(40):
                tasks.start_soon(lambda: ask(gate, model="p:fast", log=log))
        slow = [t for t, _, model in log if model == "p:slow/1"]
        fast = [t for t, _, model in log if model == "p:fast"]
        assert all(later - t >= 10 - 1e-3 for t, later in pairwise(slow))
        assert max(fast) - log[0][0] < 3

    virtual(main)


def test_a_model_that_may_go_does_not_wait_for_the_next_look(virtual, make_gate):
    """While only another model is blocked, a newcomer is let through in the same moment."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(5, 6000), {"p:slow": Limits(1, 6)})
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(lambda: ask(gate, model="p:slow"))
            await anyio.sleep(0.6)
            asked = clock()
            tasks.start_soon(lambda: ask(gate, model="p:fast", log=log))
            await settle_down()
            assert [when for when, _, _ in log] == [asked]

    virtual(main)


def test_a_model_holds_no_slot_of_its_own_while_the_provider_has_none(virtual, make_gate):
    """A request that found its model free and the provider full leaves the model free."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(1, 60_000), {"p:own": Limits(1, 60_000)})
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: ask(gate, 5.0, model="p:other"))
                await settle_down()
                tasks.start_soon(lambda: ask(gate, model="p:own", log=log))
        assert len(log) == 1

    virtual(main)


def test_a_freed_slot_is_passed_on_at_once(virtual, make_gate):
    """The next in line starts in the moment in which the one before it ends."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(1, 60_000))
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(lambda: ask(gate, 0.33, log=log))
        assert all(later[0] - when[0] == pytest.approx(0.33, abs=0.001) for when, later in pairwise(log))

    virtual(main)


def test_tokens_are_reserved_and_reconciled(virtual, make_gate):
    """The estimate holds the next request back; what was not used lets it go as soon as that is known."""

    async def main():
        gate, log = make_gate(), []
        gate.queue("p").set_limits(Limits(5, 600, 1000))
        began = clock()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(lambda: ask(gate, 3.0, tokens=500, used=20, log=log))
            await anyio.sleep(2.0)
            assert len(log) == 2
            assert gate.waiting()["p"].reason == TOKENS_PER_MINUTE
        assert log[2][0] - began == pytest.approx(3.0, abs=0.05)

    virtual(main)


def test_the_headers_of_a_response_slow_the_next_requests_down(virtual, make_gate):
    """When a response says that nothing is left for 20 s, the next request waits for it, and its row says so."""

    async def main():
        gate = make_gate()
        gate.queue("p").set_limits(Limits(5, 600))
        async with gate.admit("p", run_id="run", model="p:m") as admission:
            info = RateInfo(requests_limit=100, requests_remaining=0, requests_reset=20.0)
            gate.queue("p").observe(info, model="p:m", sent_at=admission.started_at)
            admission.settle(tokens=None, cost=None, ok=True)
        other = await ask(gate, model="p:other")
        assert other.waited_s < 0.2
        after = await ask(gate)
        assert after.wait_reason == REQUESTS_LEFT
        assert 15 < after.waited_s <= 20.3

    virtual(main)


def test_waiting_says_what_for(virtual, make_gate):
    """Each provider with waiting requests says why, and until when."""

    async def main():
        gate = make_gate()
        gate.queue("p").set_limits(Limits(1, 600))
        gate.queue("q").set_limits(Limits(1, 600))
        assert gate.waiting() == {}
        gate.queue("q").pause(28.0)
        until = clock() + 28.0
        async with anyio.create_task_group() as tasks:
            for provider in "ppqq":
                tasks.start_soon(lambda provider=provider: ask(gate, 5.0, provider=provider))
            await anyio.sleep(1.0)
            waiting = gate.waiting()
            assert waiting["p"].reason == SLOT
            assert waiting["q"].reason == RATE_LIMITED
            assert waiting["q"].until == pytest.approx(until)
        assert gate.waiting() == {}

    virtual(main)


def test_a_cancelled_waiter_leaves_nothing_behind(virtual, make_gate):
    """Whoever gives up, at any moment, leaves no slot taken, no tokens and no money reserved."""

    async def main():
        for moment in (0.0, 0.05, 0.1, 0.15, 0.5, 0.9):
            gate, budget = make_gate(), Budget(Decimal(10))
            gate.queue("p").set_limits(Limits(2, 6000, 100_000))
            for _ in range(2):
                with anyio.move_on_after(moment):
                    async with anyio.create_task_group() as tasks:
                        for _ in range(20):
                            tasks.start_soon(
                                lambda gate=gate, budget=budget: ask(
                                    gate, 0.1, tokens=10, purse=Purse(budget, "p", 1), worst_case=Decimal("0.01")
                                )
                            )
            assert budget.own.reserved == 0
            assert gate.waiting() == {}
            await anyio.sleep(1.0)
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(lambda gate=gate: ask(gate, 1.0))
                await settle_down()
                assert gate.waiting() == {}

    virtual(main)


def test_cancelled_in_the_moment_of_admission(virtual, make_gate):
    """A waiter that is cancelled after it was let in, and before it knows, gives its slot back."""

    async def main():
        gate = make_gate()
        gate.queue("p").set_limits(Limits(1, 60_000))
        doomed = anyio.CancelScope()

        async def second():
            async with gate.admit("p", run_id="run", model="p:m"):
                assert gate.waiting() == {}
                doomed.cancel()
                await anyio.sleep(5.0)

        async def third():
            with doomed:
                await ask(gate, 100.0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(gate, 10.0))
            for task in (second, third):
                await settle_down()
                tasks.start_soon(task)
            await anyio.sleep(1.0)
            gate.queue("p").set_limits(Limits(3, 60_000))
            await anyio.sleep(1.0)
            assert doomed.cancelled_caught
            third_slot = await ask(gate)
            assert third_slot.waited_s == 0

    virtual(main)


def test_waiting_costs_next_to_nothing(virtual, make_gate):
    """300 requests that wait for a pause of a minute look at the shared files a few times a second, all together."""

    async def main():
        looks = 0

        def counting():
            nonlocal looks
            looks += 1
            return clock()

        gate = make_gate(clock=counting)
        gate.queue("p").set_limits(Limits(300, 60_000))
        gate.queue("p").pause(60.0)
        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(lambda: ask(gate, 61.0))
            await anyio.sleep(1.0)
            looks = 0
            await anyio.sleep(58.0)
            assert looks <= 58 * 5

    virtual(main)


def test_money_is_waited_for_and_said_so(virtual, make_gate):
    """A request that the budget covers only when another one turns out cheap waits for that, with the reason."""

    async def main():
        gate, budget = make_gate(), Budget(Decimal("1.00"))
        gate.queue("p").set_limits(Limits(5, 60_000))
        admissions = []

        async def one():
            admissions.append(await ask(gate, 2.0, purse=Purse(budget, "p", 1), worst_case=Decimal("0.70")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
        assert admissions[1].wait_reason == BUDGET
        assert admissions[1].waited_s == pytest.approx(2.0, abs=0.01)

    virtual(main)


def test_what_is_not_settled_stands_at_its_worst(virtual, make_gate):
    """A request whose end is not known counts as spent at the worst case and keeps its tokens."""

    async def main():
        gate, budget = make_gate(), Budget(Decimal("1.00"))
        gate.queue("p").set_limits(Limits(5, 600, 100))
        with pytest.raises(RuntimeError):
            money = {"purse": Purse(budget, "p", 1), "worst_case": Decimal("0.3")}
            async with gate.admit("p", run_id="r", model="p:m", tokens=90, **money):
                raise RuntimeError
        assert (budget.own.spent, budget.own.reserved) == (Decimal("0.3"), 0)
        later = await ask(gate, tokens=50)
        assert later.wait_reason == TOKENS_PER_MINUTE

    virtual(main)


def test_adaptive_finds_what_the_provider_can_take(virtual, make_gate):
    """With a provider that gets slower above 6 requests, an adaptive run settles near 6 and not at the limit of 40."""

    async def main():
        gate, flying, seen = make_gate(), 0, []
        gate.queue("p").set_limits(Limits(40, 600_000))

        async def one():
            nonlocal flying
            async with gate.admit("p", run_id="run", model="p:m", adaptive=True) as admission:
                flying += 1
                seen.append(flying)
                await anyio.sleep(max(1.0, flying / 6))
                flying -= 1
                admission.settle(tokens=None, cost=None, ok=True)

        async with anyio.create_task_group() as tasks:
            for _ in range(1500):
                tasks.start_soon(one)
        late = seen[500:]
        assert 5 <= sum(late) / len(late) <= 20
        assert max(seen) < 30

    virtual(main)


def test_the_files_are_for_this_user_only(virtual, make_gate, tmp_path):
    """The directory is 0700 and its files 0600, whatever the names are."""

    async def main():
        gate = make_gate()
        name = "../odd name: " + "x" * 300
        gate.queue(name).set_limits(Limits(2, 60), {"m": Limits(1, 1)})
        await ask(gate, provider=name, model="m")
        gate.close()

    virtual(main)
    directory = tmp_path / "gate"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = list(directory.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

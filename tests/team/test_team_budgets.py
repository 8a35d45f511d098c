"""Two machines at one budget: it is never passed, and hardly anything of it is left over."""

import contextlib
import subprocess
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_account import add_local
from waiting import until

from llmkit.limiter import BUDGET, Claim, Stake

BUYER = """
import sys
import llmkit

path, url, name, prompts = sys.argv[1:]
with llmkit.open(path, actor=name, team=url) as kit:
    print("open", flush=True)
    sys.stdin.readline()
    prompts = [f"{name} {number}" for number in range(int(prompts))]
    run = kit.run(prompts, "local:gpt-6-luna", project="study", max_tokens=300).result(150)
    print(run.status, run.total_cost, flush=True)
"""
AMOUNT = st.integers(0, 10_000).map(lambda cents: Decimal(cents) / 100)


@st.composite
def stakes(draw):
    """What another run may have told: never more spent than used, nor used than its ceiling."""
    spent, reserved, granted = draw(AMOUNT), draw(AMOUNT), draw(AMOUNT)
    return Stake(spent + reserved + granted, spent + reserved, spent, draw(AMOUNT), draw(st.booleans()))


@given(AMOUNT, st.lists(stakes(), max_size=4), AMOUNT, AMOUNT, AMOUNT, AMOUNT, st.integers(0, 10_000))
def test_ceilings_are_never_more_than_the_budget(total, others, counted, spent, reserved, unit, now):
    """Whatever others have, no more is granted than nobody has; without any left, nothing."""
    named = {f"other{number}": each for number, each in enumerate(others)}
    claim = Claim(total=total, counted={"before": counted, "me": Decimal(7)}, unit=unit + Decimal("0.01"))
    claim.spent, claim.reserved = spent, reserved
    mine, elsewhere = claim.divided("me", named, now, wants=True)
    granted = mine.ceiling - mine.used
    assert 0 <= granted <= max(Decimal(0), total - counted - mine.used - sum(each.ceiling for each in others))
    assert (mine.used, mine.spent) == (spent + reserved, spent)
    assert counted <= elsewhere <= counted + sum(each.ceiling for each in others)


@given(st.integers(1, 5), st.integers(0, 40))
def test_what_is_less_than_a_request_for_each_goes_round(count, requests):
    """Everybody gets one while there are enough, and has a turn while there are not; never all more than there is."""
    names, total = [f"run{number}" for number in range(count)], Decimal(requests)
    nothing = Stake(Decimal(0), Decimal(0), Decimal(0), wants=Decimal(1))

    def granted(name, now):
        others = {other: nothing for other in names if other != name}
        return Claim(total=total, unit=Decimal(1)).divided(name, others, now, wants=True)[0].ceiling

    turns = [[granted(name, now * 10.0) for name in names] for now in range(count)]
    assert all(min(count, total) <= sum(turn) <= total for turn in turns)
    assert not requests or all(any(turn[place] for turn in turns) for place in range(count))


def founded(member, sim, monkeypatch):
    """A team that may spend $0.20 on a study, by requests of up to $0.0013."""
    monkeypatch.setenv("LOCAL_API_KEY", "any")
    founder = member("founder", simulate=False)
    add_local(founder, sim, max_parallel_requests=20, requests_per_minute=100_000)
    founder.set_budget("study", "0.2")
    return founder


@contextlib.contextmanager
def buying(python, url, tmp_path, *names):
    """Processes with files of their own, which have begun to spend as fast as they can."""
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [*python, "-c", BUYER]
    buyers = [subprocess.Popen([*command, tmp_path / f"{name}.duckdb", url, name, "400"], **how) for name in names]
    try:
        assert [buyer.stdout.readline() for buyer in buyers] == ["open\n"] * len(names)
        for buyer in buyers:
            buyer.stdin.write("go\n")
            buyer.stdin.flush()
        yield buyers
    finally:
        for buyer in buyers:
            buyer.kill()
            buyer.communicate(timeout=60)


def test_two_machines_never_pass_a_budget_and_use_it(url, member, sim, python, tmp_path, monkeypatch):
    """Two processes with two files spend as fast as they can: at least 90% is used, and never more than all."""
    founder = founded(member, sim, monkeypatch)
    with buying(python, url, tmp_path, "anna", "ben") as buyers:
        ends = [buyer.communicate(timeout=200)[0].split() for buyer in buyers]
    spent = [Decimal(cost) for _, cost in ends]
    print({"spent": spent, "share": sum(spent) / Decimal("0.2")})
    assert [status for status, _ in ends] == ["budget"] * 2
    assert Decimal("0.18") <= sum(spent) <= Decimal("0.2")
    assert until(lambda: founder.budgets()["spent"][0] == pytest.approx(float(sum(spent))))


def test_what_a_killed_run_had_left_is_used_by_the_next(url, member, sim, python, tmp_path, monkeypatch):
    """Its journal says what it has spent; its requests on their way count at the most that they can cost."""
    founder = founded(member, sim, monkeypatch)
    sim.set(latency=0.3)
    with buying(python, url, tmp_path, "anna"):
        assert sim.wait_until(lambda: sim.count("ok") >= 20, 60)
    sim.set(latency=0.02)
    anna = member("anna", simulate=False)
    run = anna.run([f"again {number}" for number in range(400)], "local:gpt-6-luna", project="study", max_tokens=300)
    assert run.result(120).status == "budget"
    spent = Decimal(str(anna.budgets()["spent"][0]))
    assert Decimal("0.18") <= spent <= Decimal("0.2")
    assert until(lambda: founder.budgets()["spent"][0] == pytest.approx(float(spent)))


def test_out_of_reach_a_run_goes_no_further_than_was_agreed(server, member, sim, monkeypatch):
    """Others may be granted the rest: it waits and says for what, and goes on when the team's database is back."""
    founded(member, sim, monkeypatch).close()
    server.stop()
    try:
        with pytest.warns(UserWarning, match="those that share a budget wait"):
            alone = member("founder", simulate=False)
        prompts = [f"alone {number}" for number in range(900)]
        handle = alone.run(prompts, "local:gpt-6-luna", project="study", max_tokens=300)
        assert until(lambda: handle.progress.waiting == {"local": BUDGET})
        assert sim.count("requests") == 0
    finally:
        server.start()
    run = handle.result(120)
    assert run.status == "budget"
    assert Decimal("0.18") <= run.total_cost <= Decimal("0.2")

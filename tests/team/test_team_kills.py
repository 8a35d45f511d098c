"""Members of a team that are killed while they exchange: nobody loses what was acknowledged, and all have the same."""

import random
import subprocess
import sys
import time

import psycopg
import pytest
from same_tables import assert_same_tables
from waiting import until

from llmkit.team import roll

WORK = """
import sys, llmkit
path, url, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
with llmkit.open(path, simulate=True, team=url) as kit:
    kit.catalog.update_provider("openai", requests_per_minute=100_000)
    print("begin", flush=True)
    while True:
        kit.catalog.set_setting("number", number)
        print(number, flush=True)
        kit.run("q", "openai:gpt-6-luna").result(60)
        number += 1
"""


def killed(path, url, first, after):
    """The last edit that a member acknowledged before it was killed, so many seconds after it began."""
    command = [sys.executable, "-W", "ignore", "-c", WORK, path, url, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "begin\n"
        time.sleep(after)
        child.kill()
        said = child.stdout.read()
    return [int(line) for line in said[: said.rfind("\n") + 1].split()]


def number(kit):
    """The last edit that a database knows."""
    return kit.catalog.settings().set_index("key")["value"].get("number", -1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kills", [1, pytest.param(30, marks=pytest.mark.soak)])
def test_a_killed_member_leaves_a_team_that_agrees(url, member, tmp_path, monkeypatch, kills):
    """At whatever moment: the number is that of the last edit or the one on its way, here and there, and every run that
    was begun is in both databases once its own has been opened again. A member that cannot reach the others in time is
    opened with what it has, so that all are given a while to hear of each other.
    """
    chance, saved = random.Random(kills), -1
    for turn in range(kills):
        names = ("bob", "ann") if turn % 2 else ("ann", "bob")
        edits = killed(tmp_path / f"{names[1]}.duckdb", url, saved + 1, after=chance.uniform(0, 3))
        here, there = kits = [member(name) for name in names]
        last = max([saved, *edits])
        assert until(lambda here=here, there=there, last=last: number(here) == number(there) >= last)
        saved = number(here)
        assert saved <= last + 1
        assert len(there.runs()) >= len(edits) - 1
        for kit in kits:
            kit.close()
    monkeypatch.setattr(roll, "LAPSE", 3)  # seconds, after which a run that was killed is shown as interrupted
    here, there = kits = [member(name) for name in ("ann", "bob")]
    assert until(lambda: "running" not in set(here.runs()["status"]) and here.runs().equals(there.runs()))
    assert_same_tables(kits, ["catalog_events", "runs", "attempts"])
    print(f"{kills} kills over an exchange: 0 violations, {saved + 1} edits")


def test_whoever_comes_back_takes_away_what_killed_processes_left(url, member, monkeypatch):
    """All read it once a second; what is told of a run that is to be resumed stays, and so do colleagues."""
    monkeypatch.setattr(roll, "LAPSE", 0)  # the test's server has not run for longer
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("""
            INSERT INTO llmkit_members
            SELECT 'killed' || n, 'gate', CASE n WHEN 1 THEN 'bob' ELSE 'ann' END, 'host', now() - INTERVAL '1 d',
                CASE n WHEN 2 THEN ARRAY['run'] ELSE '{}' END, '{}' FROM generate_series(1, 9) n""")
        member("ann")
        left = session.execute("SELECT member FROM llmkit_members WHERE host = 'host' ORDER BY member").fetchall()
    assert left == [("killed1",), ("killed2",)]

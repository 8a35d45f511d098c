import io
import sys
import threading

import pytest
from runs import LUNA, rehearsing

from llmkit.kit import watching
from llmkit.money.amounts import dollars


class Terminal(io.StringIO):
    """What was written to somebody's screen."""

    def isatty(self):
        """Somebody looks at it."""
        return True


@pytest.fixture
def sim(kit):
    """What answers the kit."""
    with rehearsing(kit) as running:
        yield running


def test_on_a_terminal_one_line_shows_how_far_the_run_is(kit, sim, monkeypatch):
    """``.result()`` in a script that somebody watches: probes done, of how many, and the cost so far."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    run = kit.run(["a", "b", "c"], LUNA, max_tokens=50).result(30)
    last = screen.getvalue().strip().split("\r")[-1]
    assert "3/3" in last
    assert dollars(run.total_cost) in last
    assert screen.getvalue().count("\n") == 1


def test_where_nobody_looks_nothing_is_written(kit, sim, capfd):
    """A script whose output goes into a file stays silent."""
    kit.run("a", LUNA, max_tokens=50).result(30)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("closed", [None, io.StringIO()], ids=["none", "closed"])
def test_a_program_without_a_console_waits_as_well(kit, sim, monkeypatch, closed):
    """pythonw, a service or a daemon has no standard error, or a closed one."""
    if closed is not None:
        closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert kit.run("a", LUNA, max_tokens=50).result(30).status == "completed"


def test_a_thread_that_waits_writes_nothing(kit, sim, monkeypatch):
    """Several runs that are waited for in threads do not write over each other."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    handle = kit.run("a", LUNA, max_tokens=50)
    thread = threading.Thread(target=handle.result)
    thread.start()
    thread.join(30)
    assert screen.getvalue() == ""


def test_a_run_whose_panel_is_shown_gets_no_second_one(kit, sim, monkeypatch):
    """Who made the panel sees it already."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    handle = kit.run("a", LUNA, max_tokens=50)
    handle.panel()
    handle.result(30)
    assert screen.getvalue() == ""


def test_a_script_is_no_notebook():
    """Nothing is displayed by a program that merely has IPython installed."""
    assert watching.in_notebook() is False

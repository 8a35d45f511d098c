"""What a long run costs its process: the event loop stays free, tasks and memory stay few."""

import gc
import json
import sys

import pytest

MODELS = [
    "openai:gpt-6-luna",
    "anthropic:claude-haiku-5-5",
    "mistral:mistral-small-2603",
    "deepseek:deepseek-flash",
]


def watched(zygote, catalog, sim, **job):
    """Run in a child that watches its background loop; the figures."""
    child = zygote.start(catalog, watch=True, models=MODELS, followups=["and then?", "why?"], **job)
    child.wait(timeout=900)
    assert child.ended() == "end completed"
    assert sim.count("ok") == job["prompts"] * len(MODELS) * 3
    return next(json.loads(line.split(" ", 1)[1]) for line in child.lines() if line.startswith("watched "))


def test_a_run_needs_few_tasks_and_little_memory(zygote, sim, catalog):
    """However many probes there are, tasks follow the limits: 60 probes × 3 turns need no more than 2,000 do.

    What a request needed is gone when it is answered, and is not left to a garbage collection, which stops the loop.
    """
    sim.set(latency=0)
    figures = watched(zygote, catalog, sim, prompts=15)
    print(figures)
    assert figures["tasks"] <= 200
    assert figures["rss_mib"] < 400
    assert figures["garbage"] < 20 * 180


def test_runs_leave_the_process_as_it_was(kit, sim):
    """What is set aside from garbage collections, and the interval of switching threads, while runs go on."""
    before = sys.getswitchinterval()
    sim.set(latency=600)
    first, second = (kit.run("a question", MODELS[0]) for _ in range(2))
    assert sim.wait_until(lambda: sim.count("in_flight") == 2, timeout=60)
    assert gc.get_freeze_count() > 0
    assert sys.getswitchinterval() < before
    first.cancel(grace=0)
    first.result(60)
    assert gc.get_freeze_count() > 0
    second.cancel(grace=0)
    second.result(60)
    assert gc.get_freeze_count() == 0
    assert sys.getswitchinterval() == before


@pytest.mark.soak
def test_the_loop_is_never_blocked(zygote, sim, catalog):
    """2,000 probes of three turns: never more than 50 ms, at most 200 tasks, less than 400 MiB; prints the figures."""
    sim.set(latency=0)
    figures = watched(zygote, catalog, sim, prompts=500)
    print(figures)
    assert figures["longest_ms"] <= 50
    assert figures["tasks"] <= 200
    assert figures["rss_mib"] < 400

"""Time left, in a run over several providers of unlike pace."""

import random
import time

import pytest

import llmkit

PACES = {"openai": (5, 900), "anthropic": (3, 300), "mistral": (2, 120)}
SIX = {
    "openai": (5, 900, None),
    "anthropic": (4, 300, None),
    "google": (2, 120, None),
    "mistral": (4, 120, None),
    "xai": (4, 200, None),
    "deepseek": (8, 600, None),
}


def timed_run(kit, samples):
    """What the run said after each probe from a tenth on, as (moment, progress), when it began, and its handle."""
    for name, (parallel, per_minute) in PACES.items():
        kit.catalog.update_provider(name, max_parallel_requests=parallel, requests_per_minute=per_minute)
    models = [kit.catalog.defaults()[name] for name in PACES]
    handle, told = kit.run("Hello", models, samples=samples, max_tokens=30), []

    def look(event):
        if event.kind == "probe_done":
            told.append((time.monotonic(), handle.progress))

    begun = time.monotonic()
    handle.listen(look)
    handle.result(120)
    est = kit.estimate("Hello", models, samples=samples, max_tokens=30)
    assert max(est.hours, key=est.hours.get) == "mistral"
    assert set(est.df["hours"]) == set(est.hours.values())
    assert handle.progress.eta_s is None
    return [(at, now) for at, now in told if now.total > now.done >= 0.1 * now.total], begun, handle, est


def test_time_left_is_the_slowest_providers(kit):
    """From a tenth of the run on it is never less than the slowest one's pace allows, whatever the fast ones do."""
    told, _, _, est = timed_run(kit, 8)
    slowest = kit.catalog.defaults()["mistral"].reference
    parallel, per_minute = PACES["mistral"]
    assert len(told) > 10
    for _, now in told:
        assert now.slowest == "mistral"
        left = now.models[slowest].total - now.models[slowest].ok
        assert now.eta_s >= (left - 2 * parallel) * 60 / per_minute
    assert 3600 * est.hours["mistral"] >= (8 - parallel) * 60 / per_minute


@pytest.mark.soak
def test_time_left_is_near_the_truth(kit):
    """From a tenth of the run on it is within 30% of the truth, and so is the estimate before it."""
    kit.use_simulator(llmkit.simulator.serve())
    told, begun, _, est = timed_run(kit, 25)
    took = told[-1][0] - begun
    late = [(at, now) for at, now in told if begun + 0.1 * took <= at <= begun + 0.9 * took]
    assert late
    for at, now in late:
        assert now.eta_s == pytest.approx(begun + took - at, rel=0.3, abs=1.5)
    assert 3600 * est.hours["mistral"] == pytest.approx(took, rel=0.3)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("slowest", "limits", "latency", "rpm"),
    [
        ("mistral", {"mistral": (2, 40, None)}, {}, None),
        ("google", {"google": (1, 600, None)}, {"google": (1.2, 1.8)}, None),
        ("xai", {"xai": (4, 200, 1_000)}, {}, None),
        ("mistral", {}, {}, {"mistral": 45}),
    ],
    ids=["its requests a minute", "its answers", "its tokens a minute", "a limit that the catalog does not know"],
)
def test_time_left_over_six_providers(kit, slowest, limits, latency, rpm):
    """In a run of a minute or two, whatever holds the slowest provider back, what is said at each answer from a tenth
    of the time on is within 30% of the truth, give or take a single answer."""
    draw = random.Random(1)
    kit.use_simulator(
        llmkit.simulator.serve(rpm=rpm, latency=lambda asked: draw.uniform(*latency.get(asked.provider, (0.1, 0.5))))
    )
    for name, (parallel, per_minute, tokens) in (SIX | limits).items():
        own = {"max_parallel_requests": parallel, "requests_per_minute": per_minute, "tokens_per_minute": tokens}
        kit.catalog.update_provider(name, **own)
    told = []
    models = [kit.catalog.defaults()[name] for name in SIX]
    handle = kit.run("Hello there, who are you?", models, samples=60, max_tokens=30)
    handle.listen(
        lambda event: told.append((time.monotonic(), handle.progress)) if event.kind == "probe_done" else None
    )
    begun = time.monotonic()
    handle.result(240)
    end = told[-1][0]
    assert end - begun > 60
    late = [(end - at, now) for at, now in told if begun + 0.1 * (end - begun) <= at < end]
    missed = [(left, now.eta_s) for left, now in late if abs(now.eta_s - left) > 0.3 * left + 1.5]
    print(f"{len(late)} answers, worst {max(abs(now.eta_s / left - 1) for left, now in late if left > 5):.0%}")
    assert missed == []
    assert {now.slowest for left, now in late if left < 0.7 * (end - begun)} == {slowest}

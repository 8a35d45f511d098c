"""Time left, in a run over several providers of unlike pace."""

import time

import pytest

import llmkit

PACES = {"openai": (5, 900), "anthropic": (3, 300), "mistral": (2, 120)}
SAMPLES = 25


def test_time_left_is_the_slowest_providers(tmp_path):
    """From a tenth of the run on it is within 30 % of the truth, whatever the fast ones have done by then."""
    guesses = []
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        for name, (parallel, per_minute) in PACES.items():
            kit.catalog.update_provider(name, max_parallel_requests=parallel, requests_per_minute=per_minute)
        models = [kit.catalog.defaults()[name] for name in PACES]
        est = kit.estimate("Hello", models, samples=SAMPLES, max_tokens=30)
        handle = kit.run("Hello", models, samples=SAMPLES, max_tokens=30)

        def look(event):
            if event.kind == "probe_done":
                now = handle.progress
                guesses.append((time.monotonic(), now.eta_s, now.slowest, now.done / now.total))

        begun = time.monotonic()
        handle.listen(look)
        handle.result(120)
        took = time.monotonic() - begun
        est = kit.estimate("Hello", models, samples=SAMPLES, max_tokens=30)
    late = [entry for entry in guesses if entry[3] >= 0.1 and begun + 0.1 * took <= entry[0] <= begun + 0.9 * took]
    assert late
    for at, eta, slowest, _ in late:
        true = begun + took - at
        assert eta == pytest.approx(true, rel=0.3, abs=1.5)
        assert slowest == "mistral"
    assert max(est.hours, key=est.hours.get) == "mistral"
    assert 3600 * est.hours["mistral"] == pytest.approx(took, rel=0.3)
    assert set(est.df["hours"]) == set(est.hours.values())
    assert handle.progress.eta_s is None

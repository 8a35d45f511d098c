"""A run that reuses answers and is killed: what it had reused stays reused."""

from waiting import until

import llmkit

MODELS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5", "google:gemini-2.5-flash", "mistral:mistral-small-2603"]
PROMPTS = 40
OLD, NEW = 3 * PROMPTS * 2, PROMPTS * (3 * 1 + 1 * 3)


def test_a_killed_run_asks_nothing_that_it_had_reused(zygote, sim, catalog):
    """A fourth model and a third sample: the estimate is exact, and killed and resumed the server has seen each new
    question, and no old one.
    """
    first = zygote.start(catalog, prompts=PROMPTS, models=MODELS[:3], samples=2)
    first.wait()
    assert sim.stats()["billed"] == OLD
    job = {"prompts": PROMPTS, "models": MODELS, "samples": 3, "reuse": True}
    with llmkit.open(catalog, simulate=True) as kit:
        prompts = [f"question {n}" for n in range(PROMPTS)]
        estimate = kit.estimate(prompts, MODELS, samples=3, max_tokens=60, reuse=True)
        assert (estimate.reused, estimate.df["requests"].tolist()) == (OLD, [PROMPTS] * 3 + [3 * PROMPTS])
    child = zygote.start(catalog, **job)
    assert until(lambda: sim.stats()["billed"] >= OLD + NEW / 4)
    child.kill()
    last = zygote.start(catalog, resume=child.run_id())
    last.wait()
    with llmkit.open(catalog, simulate=True) as kit:
        run, before = kit.load(child.run_id()), kit.load(first.run_id())
        lost = int(run.attempts["maybe_billed"].sum())
        reused = run.probes["reused_from"].notna()
        assert (run.probes["status"] == "ok").all()
        assert (len(run.probes), reused.sum()) == (OLD + NEW, OLD)
        assert (run.probes["sample"][reused] <= 2).all()
        assert run.attempts["probe_id"].isin(run.probes["probe_id"][reused]).sum() == 0
        costs = before.probes.set_index("probe_id")["estimated_cost"]
        assert (run.probes["original_cost"][reused] == run.probes["reused_from"][reused].map(costs)).all()
    assert OLD + NEW <= sim.stats()["billed"] <= OLD + NEW + lost

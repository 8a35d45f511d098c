"""A run that reuses answers and is killed: what it had reused stays reused."""

from children import until

import llmkit

MODELS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"]
PROMPTS = 12


def test_a_killed_run_asks_nothing_that_it_had_reused(zygote, sim, catalog):
    """Killed after some new answers: resumed, the server has seen each new question, and no old one."""
    first = zygote.start(catalog, prompts=PROMPTS, models=MODELS)
    first.wait()
    bought = sim.stats()["billed"]
    job = {"prompts": PROMPTS, "models": MODELS, "samples": 2, "reuse": True}
    child = zygote.start(catalog, **job)
    assert until(lambda: sim.stats()["billed"] >= bought + 5)
    child.kill()
    last = zygote.start(catalog, resume=child.run_id())
    last.wait()
    with llmkit.open(catalog, simulate=True) as kit:
        run = kit.load(child.run_id())
        lost = int(run.attempts["maybe_billed"].sum())
        reused = run.probes["reused_from"].notna()
        assert (run.probes["status"] == "ok").all()
        assert (run.probes["sample"][reused] == 1).all()
        assert reused.sum() == PROMPTS * len(MODELS)
        assert run.attempts["probe_id"].isin(run.probes["probe_id"][reused]).sum() == 0
    assert bought + PROMPTS * len(MODELS) <= sim.stats()["billed"] <= bought + PROMPTS * len(MODELS) + lost

"""A run in batches that is killed while it waits: nothing is handed in twice, and nothing that was answered is lost."""

import pytest
from children import until

import llmkit

MODELS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5", "google:gemini-3.8-flash", "mistral:mistral-small-2603",
          "xai:grok-4.3"]  # fmt: skip
PROMPTS = 10
JOB = {
    "prompts": PROMPTS,
    "models": MODELS,
    "followups": ["Why?"],
    "mode": "batch",
    "budget": 1,
    "options": {"poll_s": 5},
    "retry": {"scale": 0.001, "max_attempts": 8},
}


def _killed(zygote, sim, catalog, when):
    """The id of a run that was killed when so many batches were at the providers."""
    child = zygote.start(catalog, **JOB)
    assert until(lambda: len(sim.batches()) >= when and child.run_id())
    child.kill()
    return child.run_id()


def _resumed(sim, catalog, run_id):
    """The run once it was taken up again, with the custom ids that were handed in."""
    sim.set(batch_delay=0)
    with llmkit.open(catalog, simulate=True) as kit:
        kit.use_simulator(sim)
        run = kit.resume(run_id).result(120)
        assert (run.status, len(run.probes)) == ("completed", PROMPTS * len(MODELS))
        assert set(run.probes["status"]) == {"ok"}
        assert set(run.probes["service_tier"]) == {"batch"}
        assert not run.attempts["maybe_billed"].any()
        assert 0 < run.total_cost < 1
        answers = kit.sql("SELECT sum(input_tokens + output_tokens)::BIGINT AS n FROM turns WHERE run_id = ?", [run_id])
        stats = sim.stats()
        assert answers["n"].tolist() == [stats["input_tokens"] + stats["output_tokens"]]
        assert stats["billed"] == 2 * len(run.probes)
    return [custom_id for batch in sim.batches() for custom_id in batch["custom_ids"]]


@pytest.mark.parametrize("when", [1, 3, 5])
def test_a_killed_run_hands_nothing_in_twice(zygote, sim, catalog, when):
    """Killed before, between and after its first batches were taken, with errors and requests that expire to come."""
    sim.set(batch_delay=3600, faults={"server_error": 0.05, "expired": 0.05})
    run_id = _killed(zygote, sim, catalog, when)
    custom_ids = _resumed(sim, catalog, run_id)
    assert len(custom_ids) == len(set(custom_ids))


def test_a_batch_that_nobody_heard_of_is_found_in_the_list(zygote, sim, catalog):
    """Killed between the provider's taking a batch and the line about it: it is looked for before it is repeated."""
    sim.set(batch_delay=3600)
    run_id, removed = _killed(zygote, sim, catalog, 5), 0
    for segment in catalog.with_name(catalog.name + ".journal").rglob("*"):
        lines = segment.read_bytes().splitlines(keepends=True) if segment.is_file() else []
        kept = [line for line in lines if b'"type":"batch"' not in line.replace(b": ", b":")]
        removed += len(lines) - len(kept)
        if len(kept) < len(lines):
            segment.write_bytes(b"".join(kept))
    before = len(sim.batches())
    custom_ids = _resumed(sim, catalog, run_id)
    assert (before, removed > 0) == (5, True)
    assert len(custom_ids) == len(set(custom_ids))

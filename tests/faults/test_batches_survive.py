"""A run in batches that is killed while it waits: nothing is handed in twice, and nothing that was answered is lost."""

import pytest
from waiting import until

import llmkit
from llmkit.records import Usage

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


def _killed(zygote, sim, catalog, when, prompts=PROMPTS, until_written=False):
    """The id of a run that was killed when so many batches were at the providers, or the lines about them on the disk:
    the former can be long before the latter where there is much to do.
    """
    child = zygote.start(catalog, **JOB | {"prompts": prompts})
    assert until(lambda: len(sim.batches()) >= when and child.run_id())
    assert not until_written or until(lambda: len(_lines_about_batches(catalog)) == when)
    child.kill()
    return child.run_id()


def _lines_about_batches(catalog):
    """The lines of the journal that say what a provider calls a batch, each with its segment."""
    segments = [path for path in catalog.with_name(catalog.name + ".journal").rglob("*") if path.is_file()]
    lines = [(segment, line) for segment in segments for line in segment.read_bytes().splitlines(keepends=True)]
    return [(segment, line) for segment, line in lines if b'"type":"batch"' in line.replace(b": ", b":")]


def _resumed(sim, catalog, run_id, prompts=PROMPTS):
    """The run once it was taken up again, with the custom ids that were handed in."""
    sim.set(batch_delay=0)
    with llmkit.open(catalog, simulate=True) as kit:
        kit.use_simulator(sim)
        run = kit.resume(run_id).result(120)
        assert (run.status, len(run.probes)) == ("completed", prompts * len(MODELS))
        assert set(run.probes["status"]) == {"ok"}
        assert set(run.probes["service_tier"]) == {"batch"}
        assert not run.attempts["maybe_billed"].any()
        assert 0 < run.total_cost < 1
        assert run.total_cost == sum(_batch_price(kit, row) for row in _billed(kit, run_id))
        answers = kit.sql("SELECT sum(input_tokens + output_tokens)::BIGINT AS n FROM turns WHERE run_id = ?", [run_id])
        stats = sim.stats()
        assert answers["n"].tolist() == [stats["input_tokens"] + stats["output_tokens"]]
        assert stats["billed"] == 2 * len(run.probes)
    return [custom_id for batch in sim.batches() for custom_id in batch["custom_ids"]]


def _billed(kit, run_id):
    """What the attempts of a run used."""
    return kit.sql("SELECT model, usage FROM attempts WHERE run_id = ? AND usage IS NOT NULL", [run_id]).to_dict(
        "records"
    )


def _batch_price(kit, row):
    """What an attempt costs at half of the model's rates, or as its provider reports it, by hand."""
    price, usage = kit.catalog.model(row["model"]).price, Usage.from_row(row["usage"])
    if usage.reported_cost is not None:
        return usage.reported_cost
    assert usage.cached_input_tokens == usage.cache_write_tokens == 0
    spent = usage.input_tokens * price.cost_input_per_million + usage.output_tokens * price.cost_output_per_million
    return round(spent / 2_000_000, 10)


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
    run_id = _killed(zygote, sim, catalog, 5, until_written=True)
    for segment, line in _lines_about_batches(catalog):
        segment.write_bytes(segment.read_bytes().replace(line, b""))
    assert not _lines_about_batches(catalog)
    assert len(sim.batches()) == 5
    custom_ids = _resumed(sim, catalog, run_id)
    assert len(custom_ids) == len(set(custom_ids))


@pytest.mark.parametrize("prompts", [40, pytest.param(500, marks=pytest.mark.soak)])
def test_a_study_survives_errors_an_expired_batch_and_a_kill(zygote, sim, catalog, prompts):
    """Five providers, two turns: all rows are answered, at the batch price to the last digit; nothing goes twice."""
    sim.set(batch_delay=3600, faults={"server_error": 0.05, "expired": 0.05})
    sim.script("anthropic", ["expired"] * prompts)  # all of its first batch
    run_id = _killed(zygote, sim, catalog, 5, prompts)
    custom_ids = _resumed(sim, catalog, run_id, prompts)
    assert len(custom_ids) == len(set(custom_ids))
    assert next(batch["status"] for batch in sim.batches() if batch["provider"] == "anthropic") == "expired"

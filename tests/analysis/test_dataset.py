"""Archived runs: the same sums to the last digit, wherever the files are, and nothing else within reach."""

from decimal import Decimal

import pandas as pd
import pytest

import llmkit

MODELS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"]
DIMENSIONS = {"word": ["it's", 'say "no"'], "size": [1, 2]}
SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}


@pytest.fixture
def runs(kit):
    """A run of conversations with dimensions, and one of structured answers without any."""
    scenarios = llmkit.scenarios_from_template("[word] [size]", DIMENSIONS)
    first = kit.run(scenarios, models=MODELS, samples=2, followups=["Why?"]).result()
    return first, kit.run("How many?", models=MODELS[:1], schema=SCHEMA).result()


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_costs_of_archived_runs_are_those_of_the_catalog(kit, runs, tmp_path, place):
    """Grouped by whatever a catalog groups by, in a folder and behind a URL; archiving twice counts once."""
    url = tmp_path / "archive" if place == "folder" else f"memory://{tmp_path.name}"
    for run in [*runs, runs[0]]:
        run.archive(url)
    archived = llmkit.dataset(url)
    for by in ("model", ["word", "size"], "run_name", "answer.score"):
        expected = kit.costs(by=by)
        priced = [name for name in expected if name.startswith("share_")]  # needs the rates of every token
        pd.testing.assert_frame_equal(archived.costs(by), expected.drop(columns=priced), check_dtype=False)
    assert list(archived.runs["run_id"]) == [run.id for run in runs]
    assert f"2 runs, {len(runs[0].probes) + 1} probes" in repr(archived)


def test_archived_tables_hold_every_row_and_every_text(runs, tmp_path):
    """Answers, requests and replies as the run itself shows them, and money exact."""
    run = runs[0]
    run.archive(str(tmp_path))
    archived = llmkit.dataset(str(tmp_path))
    columns = ["probe_id", "response", "word", "size", "status"]
    probes = archived.probes(columns).read_pandas().sort_values("probe_id", ignore_index=True)
    pd.testing.assert_frame_equal(probes, run.probes[columns], check_dtype=False)
    cost = archived.probes(["estimated_cost"]).read_all()["estimated_cost"].to_pylist()
    assert sum(cost, Decimal(0)) == run.total_cost
    texts = ["probe_id", "turn", "attempt", "request", "reply"]
    attempts = archived.sql(f"SELECT {', '.join(texts)} FROM attempts").sort_values(texts[:3], ignore_index=True)
    pd.testing.assert_frame_equal(
        attempts, run.attempts[texts].sort_values(texts[:3], ignore_index=True), check_dtype=False
    )
    assert attempts["request"].str.contains("Why?").sum() == len(run.probes)


def test_probes_come_as_batches_that_a_condition_chooses(runs, tmp_path):
    """A column that only one run has is NULL in the others, and numbers stay numbers."""
    for run in runs:
        run.archive(tmp_path)
    archived = llmkit.dataset(tmp_path)
    reader = archived.probes(columns=["size", "answer.score"], where="size = 2 OR size IS NULL")
    table = pd.concat([batch.to_pandas() for batch in reader])
    assert len(table) == len(runs[0].probes) / 2 + 1
    assert table["size"].dropna().tolist() == [2] * (len(table) - 1)
    assert table["answer.score"].notna().sum() == 1


def test_archives_reach_nothing_else_and_say_what_is_wrong(kit, runs, tmp_path):
    """Other files, unknown columns, bad conditions, empty folders, places that cannot be written."""
    runs[1].archive(tmp_path / "a")
    (tmp_path / "secret.txt").write_text("secret")
    archived = llmkit.dataset(tmp_path / "a")
    refused = {
        "cannot be answered": [
            lambda: archived.sql(f"FROM read_text('{tmp_path}/secret.txt')"),
            lambda: archived.sql(f"COPY probes TO '{tmp_path}/out.csv'"),
            lambda: archived.probes(where="no_such = 1"),
            lambda: archived.probes(where=f"1 = (SELECT 1 FROM read_text('{tmp_path}/secret.txt'))"),
        ],
        "There is no column": [lambda: archived.probes(columns=["nonsense"]), lambda: archived.probes("nonsense")],
        "grouped by": [lambda: archived.costs("nonsense")],
        "no archived runs": [lambda: llmkit.dataset(tmp_path / "empty")],
        "cannot be": [lambda: llmkit.dataset("nonsense://x"), lambda: runs[1].archive(tmp_path / "secret.txt")],
        "path": [lambda: llmkit.dataset(None), lambda: runs[1].archive(7)],
    }
    for words, calls in refused.items():
        for call in calls:
            with pytest.raises(llmkit.ValidationError, match=words):
                call()
    assert not (tmp_path / "out.csv").exists()


def test_a_run_that_goes_on_is_not_archived(kit, tmp_path):
    """Half a run would look like a whole one."""
    with llmkit.simulator.serve(latency=30) as slow:
        kit.use_simulator(slow)
        handle = kit.run(["a"], models=MODELS[:1])
        with pytest.raises(llmkit.ValidationError, match="goes on"):
            kit.load(handle.run_id).archive(tmp_path)
        handle.cancel()
        kit.load(handle.result().id).archive(tmp_path)

"""Archived runs: the same sums to the last digit, wherever the files are, and nothing else within reach."""

import shutil
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest
from IPython.core.formatters import DisplayFormatter

import llmkit
from llmkit.store import parquet, run_rows

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


def test_whole_numbers_that_no_column_of_numbers_holds_are_kept_as_text(kit, tmp_path):
    """Such as ids of 64 bits without a sign, or of more: no digit is lost."""
    large = {"fits": [2**63 - 1, 0], "unsigned": [2**64 - 1, 0], "longer": [2**70, -1]}
    run = kit.run(pd.DataFrame({"prompt": ["a", "b"], **large}), models=MODELS[:1]).result()
    run.archive(tmp_path)
    probes = llmkit.dataset(tmp_path).probes(["prompt", *large]).read_all().sort_by("prompt").to_pydict()
    assert probes["fits"] == large["fits"]
    assert probes["unsigned"] == [str(each) for each in large["unsigned"]]
    assert probes["longer"] == [str(each) for each in large["longer"]]


def test_answers_to_questions_are_read_as_the_run_shows_them(kit, runs, tmp_path):
    """Beside structured answers, from a run and from archives alike: the choice itself, its score and its position."""
    questions = [llmkit.question.likert("It is fair."), llmkit.question.yes_no("Is it?", dimensions={"answer_1": "x"})]
    run = kit.run(questions, models=MODELS[:1], samples=2).result()
    for each in (run, runs[1]):
        each.archive(tmp_path)
    names = ["probe_id", "answer", "answer.score", "answer.position", "answer_1"]
    for reader in (run.batches(columns=names), llmkit.dataset(tmp_path).probes(names, where="answer IS NOT NULL")):
        table = reader.read_pandas().sort_values("probe_id", ignore_index=True)
        assert table.astype(object).equals(run.probes[names].astype(object))
    assert run.batches().read_all().column_names.count("answer") == 1
    assert llmkit.dataset(tmp_path).costs("answer")["probes"].sum() == len(run.probes) + 1


def test_carried_columns_are_archived_whatever_their_name(kit, tmp_path):
    """Also under a name of a column that the archive needs itself, beside runs that have no such column."""
    carried = {name: ["left", "right"] for name in parquet.HIDDEN}
    run = kit.run(pd.DataFrame({"prompt": ["a", "b"], **carried}), models=MODELS[:1]).result()
    for each in (run, kit.run("c", models=MODELS[:1]).result()):
        each.archive(tmp_path)
    archived = llmkit.dataset(tmp_path)
    for reader in (run.batches(columns=list(carried)), archived.probes(list(carried), where="position = 'left'")):
        assert reader.read_all().to_pylist()[0] == dict.fromkeys(carried, "left")
    assert archived.costs("notes")["probes"].tolist() == [1, 1, 1]
    assert not {f"{name}." for name in carried} & {*run.batches().read_all().column_names}


def test_archives_reach_nothing_else_and_say_what_is_wrong(kit, runs, tmp_path):
    """Other files, unknown columns, bad conditions, empty folders, places that cannot be written."""
    runs[1].archive(tmp_path / "a")
    (tmp_path / "secret.txt").write_text("secret")
    shutil.rmtree(shutil.copytree(tmp_path / "a", tmp_path / "half") / "turns")
    archived = llmkit.dataset(tmp_path / "a")
    refused = {
        "query failed": [
            lambda: archived.sql(f"FROM read_text('{tmp_path}/secret.txt')"),
            lambda: archived.sql(f"COPY probes TO '{tmp_path}/out.csv'"),
            lambda: archived.sql("SELECT 'infinity'::DATE"),
        ],
        "params is a list": [lambda: archived.sql("SELECT ?", 5)],
        "archived runs failed": [
            lambda: archived.probes(where="no_such = 1"),
            lambda: archived.probes(where=f"1 = (SELECT 1 FROM read_text('{tmp_path}/secret.txt'))"),
        ],
        "Parser Error: syntax error": [lambda: archived.sql("SELEC 1")],
        "There is no column": [lambda: archived.probes(columns=["nonsense"]), lambda: archived.probes("nonsense")],
        "grouped by": [lambda: archived.costs("nonsense")],
        "half is incomplete": [lambda: llmkit.dataset(tmp_path / "half")],
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
        with pytest.raises(llmkit.ValidationError, match="still running"):
            kit.load(handle.run_id).archive(tmp_path)
        handle.cancel(grace=0)
        kit.load(handle.result().id).archive(tmp_path)


def test_a_table_comes_as_batches_that_are_those_of_the_archive(runs, tmp_path, monkeypatch):
    """Page after page in the order of the run, with the columns of the archive; money stays exact."""
    run = runs[0]
    monkeypatch.setattr(parquet, "PAGE", 3)
    run.archive(tmp_path)
    archived = llmkit.dataset(tmp_path)
    for table, keys in (("probes", ["position"]), ("turns", ["position", "turn"]), ("attempts", ["position", "turn"])):
        reader = run.batches(table)
        batches = list(reader)
        assert len(batches) > 2
        frame = pa.Table.from_batches(batches, reader.schema).to_pandas()
        stored = archived.sql(f"SELECT {', '.join(keys)} FROM {table} ORDER BY ALL")
        assert frame[keys].to_numpy().tolist() == stored.to_numpy().tolist()
        assert set(reader.schema.names) == set(archived.sql(f"FROM {table} LIMIT 0").columns)
    reader = run.batches(columns=["response", "estimated_cost"])
    costs = [cost for batch in reader for cost in batch["estimated_cost"].to_pylist()]
    assert sum(costs, Decimal(0)) == run.total_cost
    assert reader.schema.names == ["response", "estimated_cost"]
    with pytest.raises(llmkit.ValidationError, match="There is no column"):
        run.batches(columns="respons")
    with pytest.raises(llmkit.ValidationError, match="table is one of"):
        run.batches("requests")


def test_a_run_that_would_not_fit_says_what_to_do_instead(runs, monkeypatch):
    """Before it fills the memory: part by part, in SQL, or from an archive."""
    monkeypatch.setattr(run_rows, "_ROW", 10**12)
    for table in ("probes", "turns", "attempts"):
        with pytest.raises(llmkit.ValidationError, match=rf"{table} would not fit .*kit\.sql.*\.batches.*dataset"):
            getattr(runs[0], table)
    assert runs[0].batches().read_all().num_rows == 16


def test_a_dropped_run_leaves_its_costs_and_comes_back_neither_twice_nor_whole(kit, runs, tmp_path):
    """What was counted stays, to the last digit; texts are in the archive alone, also after a rebuild."""
    run, before = runs[0], (kit.costs(by=["model", "word"]), kit.runs().drop(columns="archive"))
    spent = run.total_cost
    run.archive(tmp_path / "a", drop=True)

    def check(kit):
        pd.testing.assert_frame_equal(kit.costs(by=["model", "word"]), before[0])
        listed = kit.runs()
        pd.testing.assert_frame_equal(listed.drop(columns="archive"), before[1])
        assert listed.set_index("run_id")["archive"].dropna().to_dict() == {run.id: str(tmp_path / "a")}
        here = kit.load(run.id)
        assert here.total_cost == spent
        assert here.status == "completed"
        assert str(tmp_path / "a") in DisplayFormatter().format(here)[0]["text/plain"]
        assert kit.sql("SELECT count(response) + count(prompt) AS n FROM turns WHERE run_id = ?", [run.id])["n"][0] == 0
        assert kit.sql("SELECT count(reply) AS n FROM attempts WHERE run_id = ?", [run.id])["n"][0] == 0
        gone = [lambda: here.probes, lambda: here.turns, lambda: here.attempts, here.batches, here.report, here.view,
                lambda: here.archive(tmp_path / "b"), lambda: here.archive(tmp_path / "b", drop=True),
                lambda: kit.resume(run.id)]  # fmt: skip
        for call in gone:
            with pytest.raises(llmkit.ValidationError, match=r"only in its archive.* llmkit\.dataset"):
                call()

    check(kit)
    kit.close()
    kit.path.unlink()
    with llmkit.open(kit.path, simulate=True) as again:
        check(again)
        assert len(again.load(runs[1].id).probes) == 1
    probes = llmkit.dataset(tmp_path / "a").probes(["response", "estimated_cost"]).read_all()
    assert probes["response"].null_count == 0
    assert sum(probes["estimated_cost"].to_pylist(), Decimal(0)) == spent


def test_answers_that_were_dropped_are_not_reused(kit, tmp_path):
    """They would be empty: the question is asked again, and estimates do not learn from prompts of no length."""
    first = kit.run("How many?", models=MODELS[:1]).result()
    assert kit.run("How many?", models=MODELS[:1], reuse=True).result().probes["cost_source"][0] == "reused"
    for run_id in kit.runs()["run_id"]:
        kit.load(run_id).archive(tmp_path, drop=True)
    assert kit.estimate("How many?", models=MODELS[:1], reuse=True).total is not None
    again = kit.run("How many?", models=MODELS[:1], reuse=True).result()
    assert again.probes["cost_source"][0] == "computed"
    assert again.probes["response"][0]
    assert first.total_cost > 0

"""Catalogs of the version before open, read, resume and rebuild; ``previous/write.py`` wrote them with its code."""

import json
import shutil
import tarfile
import warnings
from pathlib import Path

import duckdb
import pytest
from previous.write import MODELS, SCHEMA, tables
from test_plain_sql import SHORT

import llmkit
from llmkit.catalog.seeding import FINGERPRINT

PREVIOUS = Path(__file__).parent / "previous"
EXPECTED = json.loads((PREVIOUS / "previous.json").read_text())
RUNS = {name: run_id for run_id, name, *_ in EXPECTED["runs"]}


@pytest.fixture(scope="module", params=["database and journal", "journal alone", "database alone"])
def up_to_date(request, tmp_path_factory):
    """The folder of that catalog, with its database brought up to date or rebuilt."""
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(PREVIOUS / "previous.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    if request.param == "journal alone":
        (folder / "previous.duckdb").unlink()
    if request.param == "database alone":
        shutil.rmtree(folder / "previous.duckdb.journal")
    with warnings.catch_warnings(record=True) as caught:
        llmkit.open(folder / "previous.duckdb", simulate=True).close()
    told = [str(each.message) for each in caught if "previous.duckdb" in str(each.message)]
    assert len(told) == (request.param == "database alone") == ("is incomplete" in str(told))
    return folder


@pytest.fixture
def previous(up_to_date, copy_catalog, tmp_path):
    """A copy of it, opened with a simulator."""
    copy_catalog(up_to_date, tmp_path / "copy")
    with llmkit.open(tmp_path / "copy" / "previous.duckdb", simulate=True) as kit:
        yield kit


def known(found):
    """The tables without what a newer catalog adds when it is opened, such as the tokens of probes in progress."""
    kept = {name: rows for name, rows in found.items() if name not in ("models", "catalog_events")}
    kept["probes"] = [[*row[:9], None, None, *row[11:]] if row[1] == "pending" else row for row in kept["probes"]]
    return kept | {"system_settings": [row for row in kept["system_settings"] if row[0] != FINGERPRINT]}


def test_every_number_is_as_it_was(previous):
    """Runs, probes, turns, attempts, texts, balances and settings are what the code that wrote them read."""
    found = tables(previous)
    for name, rows in known(EXPECTED).items():
        assert known(found)[name] == rows, name
    events = dict(found["catalog_events"])
    assert all(events[action] >= n for action, n in EXPECTED["catalog_events"])  # a newer catalog adds its own


def test_every_frame_is_complete(previous):
    """Each run gives its grid, its attempts with request and reply, and its costs."""
    for name, run_id in RUNS.items():
        run = previous.load(run_id)
        assert run.status == {"cancelled": "cancelled", "killed": "interrupted"}.get(name, "completed")
        assert len(run.probes) == next(n for found, *_, n in EXPECTED["runs"] if found == run_id)
        assert run.costs()["probes"].sum() == len(run.probes)
        requests = run.attempts["request"].map(json.loads)
        assert all(run.probes["prompt"][0].split()[0] in str(request) for request in requests[:1])
        assert requests.map(lambda request: "model" in request).all()
    assert previous.load(RUNS["schema"]).probes["answer.mood"].isin(["good", "bad"]).all()
    assert previous.load(RUNS["follow-ups"]).probes["tone"].value_counts().tolist() == [16, 16]


def test_providers_speak_as_their_names_said(previous):
    """An entry that was written before it named a dialect gets the one that its name or its address stands for."""
    dialects = previous.catalog.providers().set_index("name")["dialect"].dropna()
    assert dialects.to_dict() == {name: name for name in ("openai", "xai", "deepseek", "mistral")}
    assert previous.catalog.provider("acme").dialect is None


@pytest.mark.parametrize("name", ["cancelled", "killed"])
def test_runs_are_resumed(previous, name):
    """What had an answer keeps it; the rest is asked, and what was on its way when the process died is said."""
    run_id = RUNS[name]
    before = previous.load(run_id).turns.set_index(["probe_id", "turn"])["response"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = previous.resume(run_id).result(60)
    assert any("may have been billed" in str(entry.message) for entry in caught) == (name == "killed")
    assert set(run.probes["status"]) == {"ok"}
    after = run.turns.set_index(["probe_id", "turn"])["response"]
    assert len(after) == 40
    assert after.loc[before.index].equals(before)


def test_answers_of_the_version_before_are_reused(previous):
    """Its requests are recognised, whether they come from its database or from its journal."""
    run = previous.run(["How was it?", "And you?"], MODELS, schema=SCHEMA, reuse="only").result()
    assert run.probes["reused_from"].tolist() == previous.load(RUNS["schema"]).probes["probe_id"].tolist()
    assert run.probes["answer.mood"].isin(["good", "bad"]).all()


def test_rows_inserted_with_plain_sql_need_no_times_here_either(previous):
    """The tables of an earlier version get the defaults of new ones."""
    with duckdb.connect(previous.path) as connection:
        for statement in SHORT:
            connection.execute(statement)
    assert previous.catalog.model("lab:mine").created_at is not None

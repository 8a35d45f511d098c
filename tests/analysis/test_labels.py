"""Names, tags, notes and the archive of runs: kept in the journal with who and when, shown wherever runs are listed."""

import pandas as pd
import pytest

import llmkit
from llmkit.store import archive

MODEL = "openai:gpt-6-luna"
HOSTILE = "<b>x</b> '; DROP TABLE runs; -- «ß»"


@pytest.fixture
def path(database):
    """Where the catalog lies."""
    return database


@pytest.fixture
def kit(path):
    """The kit of somebody with a name."""
    with llmkit.open(path, simulate=True, actor="anna") as kit:
        yield kit


@pytest.fixture
def run(kit):
    """A run that has ended, beside another."""
    kit.run("Who?", MODEL, name="other").result()
    return kit.run("Why?", MODEL, name="study").result()


def test_a_run_is_renamed_wherever_its_name_stands(kit, run):
    """In the list, the costs, the reader, the report and the view; and it can do without a name."""
    run.rename(f" {HOSTILE} ")
    assert run.name == kit.load(run.id).name == HOSTILE
    assert kit.runs()["name"].tolist() == [HOSTILE, "other"]
    assert set(kit.costs(by="run_name")["run_name"]) == {HOSTILE, "other"}
    assert HOSTILE in repr(run)
    page = run.view()._repr_mimebundle_()["text/html"]
    assert "&lt;b&gt;x" in page
    assert "<b>x</b>" not in page
    assert kit.reader(run)._read()["probes"][0]["runName"] == f"{HOSTILE} ({run.id})"
    run.rename(None)
    assert run.name is None
    assert kit.runs()["name"].isna().tolist() == [True, False]


def test_tags_and_notes_stand_in_the_list(kit, run):
    """Each can be taken back; a tag finds its runs."""
    assert kit.runs()["tags"].tolist() == [[], []]
    run.tag("pilot", "à la carte")
    run.tag("pilot")
    run.note("Asked again in May.\nSee p. 3.")
    listed = kit.runs(tag="pilot")
    assert listed[["run_id", "tags", "note", "archived"]].values.tolist() == [
        [run.id, ["pilot", "à la carte"], "Asked again in May.\nSee p. 3.", False]
    ]
    assert "[pilot] [à la carte]" in run.view()._repr_mimebundle_()["text/html"]
    run.untag("pilot", "never given")
    run.note(" ")
    assert run.tags == ["à la carte"]
    assert kit.runs(tag="pilot").empty
    assert kit.runs()["note"].isna().all()


def test_an_archived_run_is_out_of_the_list_only(kit, run, tmp_path):
    """It is loaded, counted and exported as before, and comes back."""
    run.hide()
    assert kit.runs()["name"].tolist() == ["other"]
    assert kit.runs(archived=True)["run_id"].tolist() == [run.id]
    assert len(kit.runs(archived=None)) == 2
    assert kit.last_run().id == run.id
    assert (kit.export(tmp_path / "all") / f"probes-{run.id}.parquet").exists()
    run.hide(False)
    assert len(kit.runs()) == 2
    assert kit.runs(archived=True).empty


def test_who_and_when_are_kept_over_people_rebuilds_and_backups(kit, run, path, tmp_path):
    """The latest word holds, whoever's it is; a database that is lost, a backup and a capsule have it too."""
    run.rename("first")
    run.tag("pilot", "old")
    with llmkit.open(path, simulate=True, actor="ben") as other:
        theirs = other.load(run.id)
        theirs.rename("second")
        theirs.untag("old")
        theirs.hide()
    assert run.name == "second"
    assert run.labels[["name", "value", "actor"]].values.tolist() == [
        ["archived", True, "ben"], ["name", "second", "ben"], ["tag.pilot", True, "anna"],
    ]  # fmt: skip
    assert (run.labels["at"] > kit.runs(archived=True)["started_at"][0]).all()
    before = kit.runs(archived=None)
    assert run.annotations.empty
    path.unlink()
    pd.testing.assert_frame_equal(kit.runs(archived=None), before)
    assert llmkit.open_capsule(kit.export_capsule(run, tmp_path / "capsule")).tags == ["pilot"]
    kit.backup(tmp_path / "backup.tar.gz")
    archive.restore(tmp_path / "backup.tar.gz", tmp_path / "restored.duckdb")
    with llmkit.open(tmp_path / "restored.duckdb", adopt=True) as restored:
        pd.testing.assert_frame_equal(restored.runs(archived=None), before)


def test_what_is_no_label_is_refused(kit, run):
    """Nothing of it is kept."""
    for wrong in (lambda: run.rename(""), lambda: run.rename(3), lambda: run.tag("ok", "two\nlines"),
                  lambda: run.note(None), lambda: run.hide("yes"), lambda: kit.runs(archived="no")):  # fmt: skip
        with pytest.raises(llmkit.ValidationError):
            wrong()
    assert run.labels.empty

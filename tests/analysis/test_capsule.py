"""Capsules: a study in one file gives the same numbers anywhere, and no byte of it changes unnoticed."""

import gc
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmkit

MODELS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"]


@pytest.fixture
def run(kit):
    """A run of conversations with dimensions, beside another one that is nobody's business."""
    kit.run("a secret of another study", MODELS[0]).result()
    scenarios = llmkit.scenarios_from_template("[word] «ß»", {"word": ["it's", "<b>"]})
    return kit.run(scenarios, MODELS, samples=2, followups=["Why?"], name="study").result()


@pytest.fixture
def capsule(kit, run, tmp_path):
    """Its capsule, moved to another folder after the catalog has changed."""
    kit.catalog.set_balance("openai", "12.34567")
    file = kit.export_capsule(run, tmp_path / "study.capsule")
    kit.catalog.update_model(MODELS[0], cost_input_per_million="99")
    (tmp_path / "elsewhere").mkdir()
    return file.rename(tmp_path / "elsewhere" / "renamed.zip")


def test_a_capsule_gives_the_same_frames_and_costs(run, capsule, monkeypatch):
    """Probes, turns, attempts with requests and replies, costs and repriced costs; without keys or catalog."""
    monkeypatch.setenv("LLMKIT_DB", "/nonexistent/catalog.duckdb")
    opened = llmkit.open_capsule(capsule)
    assert (opened.id, opened.name, opened.status) == (run.id, run.name, "completed")
    for name in ("probes", "turns", "attempts"):
        pd.testing.assert_frame_equal(getattr(opened, name), getattr(run, name))
    for by in ("model", ["word", "model"]):
        pd.testing.assert_frame_equal(opened.costs(by), run.costs(by))
    assert opened.total_cost == run.total_cost
    assert (opened.reprice()["difference"] == 0).all()
    assert opened.settings == run.settings
    assert "study" in opened.view()._repr_mimebundle_()["text/html"]


def test_a_capsule_is_read_only(run, capsule):
    """What would go with its temporary folder is refused: marks, codes, names and tags."""
    opened = llmkit.open_capsule(capsule)
    probe_id = opened.probes["probe_id"].iloc[0]
    for change in (
        lambda: opened.annotate(probe_id, mark=True), lambda: opened.rename("mine"), lambda: opened.tag("pilot"),
        lambda: opened.note("read"), opened.hide,
    ):  # fmt: skip
        with pytest.raises(llmkit.ValidationError, match="read-only"):
            change()
    pd.testing.assert_frame_equal(opened.probes, run.probes)


def test_a_capsule_holds_nothing_of_other_studies_and_no_balance(capsule):
    """Whatever stands beside the run in the catalog stays there."""
    with zipfile.ZipFile(capsule) as archive:
        texts = b"".join(archive.read(name) for name in archive.namelist())
        names = {Path(name).parts[0] for name in archive.namelist()}
    assert b"secret of another study" not in texts
    assert b"12.34567" not in texts
    assert names == {"capsule.json", "catalog.json", "journal", "parquet"}


def test_what_a_capsule_was_unpacked_into_goes_with_its_run(capsule):
    """Nothing is left behind in the temporary folder."""
    opened = llmkit.open_capsule(capsule)
    folder = opened._store.path.parent
    assert folder.exists()
    del opened
    gc.collect()
    assert not folder.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_a_changed_byte_is_noticed(capsule, data):
    """Any bit of any byte, or a part that is missing."""
    whole = capsule.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        changed = whole[:place]
    else:
        changed = whole[:place] + bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[place + 1 :]
    file = capsule.with_name("changed")
    file.write_bytes(changed)
    with pytest.raises(llmkit.ValidationError, match="not a capsule, or was changed"):
        llmkit.open_capsule(file)


def test_a_notebook_travels_along_and_what_cannot_be_is_refused(kit, run, capsule, tmp_path):
    """A file that is there, a notebook that is not, a run that goes on, no file at all."""
    (tmp_path / "paper.ipynb").write_text("{}")
    file = kit.export_capsule(run.id, tmp_path / "b.zip", notebook=tmp_path / "paper.ipynb")
    assert "notebook/paper.ipynb" in zipfile.ZipFile(file).namelist()
    for refused in (
        lambda: kit.export_capsule(run, file),
        lambda: kit.export_capsule(run, tmp_path / "c.zip", notebook=tmp_path / "none.ipynb"),
        lambda: kit.export_capsule(run, tmp_path / "no folder" / "c.zip"),
        lambda: llmkit.open_capsule(tmp_path / "none"),
        lambda: llmkit.open_capsule(tmp_path),
        lambda: llmkit.open_capsule(None),
    ):
        with pytest.raises(llmkit.ValidationError):
            refused()
    with llmkit.simulator.serve(latency=30) as slow:
        kit.use_simulator(slow)
        handle = kit.run("a", MODELS[:1])
        with pytest.raises(llmkit.ValidationError, match="still running: wait"):
            kit.export_capsule(handle.run_id, tmp_path / "d.zip")
        handle.cancel(grace=0)
        handle.result()
    assert not list(tmp_path.glob("c.zip*"))
    assert not list(tmp_path.glob("d.zip*"))

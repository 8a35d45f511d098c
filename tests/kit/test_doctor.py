import os
import shutil
import tarfile
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import llmkit
from llmkit.cli import main
from llmkit.store import events

LUNA = "openai:gpt-6-luna"


@pytest.fixture
def path(tmp_path):
    """Where the catalog lies, for this user only."""
    return tmp_path / "c.duckdb"


def findings(kit, **options):
    """What the doctor says, by what it is about."""
    return {row["about"]: row for row in kit.doctor(**options).to_dict("records")}


def test_a_healthy_catalog_has_nothing_bad(path):
    """Just made, with its keys missing: worth a look, and nothing is bad."""
    with llmkit.open(path) as kit:
        frame = kit.doctor()
    assert list(frame.columns) == ["about", "health", "finding", "remedy"]
    assert not frame["health"].eq("bad").any()
    assert frame.set_index("about").loc["database", "finding"].startswith("up to date with 1 segment of")


def test_a_key_is_told_missing_or_set_and_never_shown(path, monkeypatch):
    """The variable is named with what to type; of a key that is set, nothing is shown."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    with llmkit.open(path) as kit:
        frame = kit.doctor()
    told = frame.set_index("about")
    assert told.loc["key of openai", "finding"] == "OPENAI_API_KEY is set."
    assert told.loc["key of mistral", "remedy"] == "export MISTRAL_API_KEY=..."
    assert "very-secret" not in frame.to_string()


def test_a_key_under_another_name_is_pointed_at(path, monkeypatch):
    """A variable of nearly the right name is named, and not its value; that of another provider is none."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("XAI_API_KEY", "sk-x")
    with llmkit.open(path) as kit:
        assert findings(kit)["key of openai"]["finding"] == "OPENAI_API_KEY is not set."
        monkeypatch.setenv("OPENAI_KEY", "sk-very-secret")
        told = findings(kit)["key of openai"]
    assert told["finding"] == "OPENAI_API_KEY is not set, but OPENAI_KEY is: is that the one?"
    assert "secret" not in str(told)


def test_a_key_that_cannot_be_one_is_bad(path, monkeypatch):
    """A line break in a key is named as the cause."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a\nb")
    with llmkit.open(path) as kit:
        assert findings(kit)["key of openai"]["health"] == "bad"


def test_an_address_that_nobody_approved_is_bad(path, monkeypatch):
    """A provider that was moved by plain SQL says that its address has to be approved."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    with llmkit.open(path) as kit:
        kit.catalog.add_provider("lab", base_url="https://llm.example.org/v1", api_key_env="OPENAI_API_KEY",
                                 approve_origin=True)  # fmt: skip
    monkeypatch.setenv("LLMKIT_CONFIG_DIR", str(path.parent / "another user"))
    with llmkit.open(path) as kit:
        told = findings(kit)["key of lab"]
    assert told["health"] == "bad"
    assert "approve_origin" in told["finding"]


def test_a_database_that_another_program_holds_is_named_with_its_process(path):
    """The finding says who holds it."""
    with llmkit.open(path) as kit:
        kit.doctor()
        with duckdb.connect(path):
            told = findings(kit)["database"]
    assert told["health"] == "bad"
    assert "held open by" in told["finding"]


def test_an_interrupted_run_can_be_resumed_by_what_is_said(path):
    """A run whose process died is found, with the call that asks the rest."""
    with llmkit.open(path, simulate=True) as kit:
        run = kit.run("q", LUNA).result()
        kit._store.append([events.run_state(run_id=run.id, number=2, status="running")]).result()
        assert findings(kit)["runs"]["remedy"] == f"kit.resume({run.id!r})"


def test_old_prices_and_a_readable_file_are_worth_a_look(path):
    """Prices that were read long ago, and a database that others may read."""
    with llmkit.open(path) as kit:
        path.chmod(0o644)
        told = findings(kit)
        assert told["folder"]["remedy"] == f"chmod 600 {path}"
        newest = max(e.read_on for entries in kit._store.catalog().prices.values() for e in entries if e.read_on)
        expected = "ok" if (date.today() - newest).days <= 30 else "look"
        assert told["prices"]["health"] == expected


def test_a_journal_that_lost_a_segment_is_bad(path):
    """The database still has what was in it; the finding names the segment and what to do."""
    with llmkit.open(path):
        pass  # a segment of its own
    with llmkit.open(path, simulate=True) as kit:
        kit.run("q", LUNA).result()
        assert findings(kit)["journal"]["health"] == "ok"
        lost = max(kit._store.journal.directory.glob("*.jsonl"))
        lost.unlink()
        told = findings(kit)["journal"]
    assert told["health"] == "bad"
    assert lost.name in told["finding"]
    assert "copy" in told["remedy"]


def test_findings_are_shown_whole_and_as_text_only(path, monkeypatch):
    """Long sentences are not cut, what to do stands below, and nothing of a catalog becomes markup."""
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    with llmkit.open(path) as kit:
        frame = kit.doctor()
    assert "look  key of mistral: MISTRAL_API_KEY is not set.\n      -> export MISTRAL_API_KEY=..." in repr(frame)
    assert str(path) in repr(frame)
    frame.loc[0, "finding"] = "<img src=x>"
    assert "<img" not in frame._repr_html_()


def test_a_provider_that_answers_is_told_only_when_asked(path):
    """Nothing is sent unless ``online`` is set; then a server that is not there is bad."""
    with llmkit.open(path) as kit:
        kit.catalog.add_provider("local", base_url="http://127.0.0.1:9/v1")
        assert "address of local" not in findings(kit)
        assert findings(kit, online=True)["address of local"]["health"] == "bad"


def test_a_newer_or_foreign_file_is_told_on_the_command_line(path, capsys):
    """``llmkit doctor`` says what is wrong with a file that cannot be opened, without a traceback."""
    path.write_text("this is no database")
    assert main(["doctor", "--db", str(path)]) == 1
    told = capsys.readouterr()
    assert "is not an llmkit database" in told.err
    assert f"ok    folder: {path}" in told.out or "can be read by other users" in told.out


def frames(kit):
    """All that a user reads of the runs."""
    runs = kit.runs()
    return [runs, *(getattr(kit.load(i), table) for i in runs["run_id"] for table in ("probes", "turns", "attempts"))]


def test_what_is_backed_up_deleted_and_restored_is_the_same(path, tmp_path, capsys):
    """Every DataFrame is identical, the catalog's edits too, and no key is in the archive."""
    with llmkit.open(path, simulate=True) as kit:
        kit.run(["a", "b"], [LUNA, "xai:grok-4.5"], followups=["and?"]).result()
        kit.catalog.update_model(LUNA, display_name="Mine")
        before, history = frames(kit), kit.catalog.history()
    file = tmp_path / "study.tar.gz"
    assert main(["backup", str(file), "--db", str(path)]) == 0
    path.unlink()
    shutil.rmtree(f"{path}.journal")
    assert main(["restore", str(file), "--db", str(path)]) == 0
    assert f"Restored 1 run to {path}\n" in capsys.readouterr().out
    with llmkit.open(path, simulate=True) as kit:
        for old, new in zip(before, frames(kit), strict=True):
            pd.testing.assert_frame_equal(old, new)
        pd.testing.assert_frame_equal(history, kit.catalog.history())
        assert kit.catalog.model(LUNA).display_name == "Mine"
    assert os.stat(path).st_mode & 0o077 == 0


def test_nothing_is_restored_over_a_catalog_or_from_a_foreign_archive(path, tmp_path, capsys):
    """An existing catalog stays, and an archive that would write elsewhere writes nothing."""
    with llmkit.open(path):
        pass
    hostile = tmp_path / "hostile.tar.gz"
    with tarfile.open(hostile, "w:gz") as archive:
        archive.add(path, "../../evil.jsonl")
        archive.add(path, "journal/../../evil.jsonl")
    assert main(["restore", str(hostile), "--db", str(path)]) == 1
    assert "already" in capsys.readouterr().err
    assert main(["restore", str(hostile), "--db", str(tmp_path / "new.duckdb")]) == 1
    assert "not an llmkit archive" in capsys.readouterr().err
    assert not list(tmp_path.parent.rglob("evil.jsonl"))


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9, 1])
def test_a_damaged_archive_is_not_restored_in_part(path, tmp_path, capsys, place):
    """One changed byte, wherever it is, or a missing end: refused, rather than a catalog with fewer runs."""
    file, new = tmp_path / "study.tar.gz", tmp_path / "new.duckdb"
    with llmkit.open(path, simulate=True) as kit:
        kit.run(["a", "b"], LUNA).result()
        kit.backup(file)
    data = bytearray(file.read_bytes())
    data[int(len(data) * place) - 1] ^= 0x55
    file.write_bytes(data)
    assert main(["restore", str(file), "--db", str(new)]) == 1
    assert "damaged" in capsys.readouterr().err
    file.write_bytes(data[:-9])
    assert main(["restore", str(file), "--db", str(new)]) == 1
    assert not new.exists()


@pytest.mark.filterwarnings("ignore:The journal")
def test_a_journal_that_lost_a_run_is_not_backed_up(path, tmp_path):
    """The database still has the run, but the archive would not: it is refused, and nothing is written."""
    with llmkit.open(path, simulate=True) as kit:
        kit.run("a", LUNA).result()
    for segment in sorted(Path(f"{path}.journal").iterdir(), reverse=True):
        segment.unlink()
        with llmkit.open(path) as kit, pytest.raises(llmkit.ValidationError, match=r"lacks \d segment"):
            kit.backup(tmp_path / "study.tar.gz")
    assert not (tmp_path / "study.tar.gz").exists()


def test_all_runs_are_exported_as_parquet(path, tmp_path, capsys):
    """One file of runs, and three a run; DuckDB reads them."""
    with llmkit.open(path, simulate=True) as kit:
        run = kit.run(["a", "b"], LUNA).result()
    assert main(["export", str(tmp_path / "out"), "--db", str(path)]) == 0
    read = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/out/probes-{run.id}.parquet'").fetchall()
    assert read == [(2,)]
    assert (tmp_path / "out" / "runs.parquet").exists()


def test_a_run_that_only_its_archive_has_does_not_keep_the_others_from_export(path, tmp_path):
    """It is in the list of runs, and a warning says where the rest is."""
    with llmkit.open(path, simulate=True) as kit:
        gone, kept = (kit.run(prompt, LUNA).result() for prompt in ("a", "b"))
        gone.archive(tmp_path / "archive", drop=True)
        with pytest.warns(UserWarning, match=f"{gone.id} are only in its archive"):
            kit.export(tmp_path / "out")
    assert sorted(pd.read_parquet(tmp_path / "out" / "runs.parquet")["run_id"]) == sorted([gone.id, kept.id])
    assert [file.name for file in (tmp_path / "out").glob("probes-*")] == [f"probes-{kept.id}.parquet"]

"""What goes wrong on people's machines, planted one by one: ``llmkit doctor`` names the cause and what to do."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import llmkit
from llmkit.cli import main

LUNA = "openai:gpt-6-luna"
HOLDER = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def journal(path):
    """The folder of the catalog's journal."""
    return Path(f"{path}.journal")


def newest(path):
    """The last segment of the journal: a run's."""
    return max(journal(path).glob("*.jsonl"))


def no_key(path, patch):
    """The variable is not set."""
    patch.delenv("MISTRAL_API_KEY", raising=False)


def malformed_key(path, patch):
    """A line break came along when the key was copied."""
    patch.setenv("OPENAI_API_KEY", "sk-very\nsecret")


def key_not_approved(path, patch):
    """The catalog came from a colleague, who had approved an address that nobody approved here."""
    with llmkit.open(path) as kit:
        kit.catalog.add_provider("lab", base_url="https://llm.example.org/v1", api_key_env="LAB_KEY",
                                 approve_origin=True)  # fmt: skip
    patch.setenv("LAB_KEY", "sk-very-secret")
    patch.setenv("LLMKIT_CONFIG_DIR", str(path.parent / "another user"))


@contextlib.contextmanager
def held_by_another_process(path, patch):
    """Somebody looks at the database with a program of theirs."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        yield
        other.communicate(timeout=30)


def database_missing(path, patch):
    """Only the journal was copied to this machine."""
    for file in path.parent.glob("c.duckdb*"):
        if file.is_file():
            file.unlink()


def segment_lost(path, patch):
    """A file of the journal was deleted."""
    newest(path).unlink()


def segment_doubled(path, patch):
    """A program that synchronizes folders kept two versions of a file."""
    shutil.copy(newest(path), newest(path).with_stem(f"{newest(path).stem} (conflicted copy)"))


def line_damaged(path, patch):
    """A file of the journal was edited by hand."""
    with newest(path).open("a") as file:
        file.write("no JSON\n")


@contextlib.contextmanager
def read_only(path, patch):
    """The folder lies on a disk that was mounted to be read."""
    for options in (("-o", "bind", path.parent), ("-o", "remount,bind,ro")):
        if subprocess.run(["mount", *options, path.parent], capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path.parent], check=True)


def little_space(path, patch):
    """The disk is nearly full: this one has less space than is little here."""
    patch.setattr("llmkit.kit.doctor.LITTLE_SPACE", 1 << 80)


def no_folder(path, patch):
    """The folder's name was mistyped, and a file is where it would be made."""
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.write_text("a file")


def nobody_answers(path, patch):
    """The local server is not running."""
    with llmkit.open(path) as kit:
        kit.catalog.add_provider("local", base_url="http://127.0.0.1:9/v1")


def default_retired(path, patch):
    """The provider has retired the model that new runs ask."""
    with llmkit.open(path) as kit:
        kit.catalog.update_model(LUNA, retires_on="2026-01-01")


def newer_version(path, patch):
    """A colleague's newer llmkit wrote the file."""
    with duckdb.connect(path) as connection:
        connection.execute("INSERT INTO migrations VALUES (999, 'of the future', now())")


def interrupted_run(path, patch):
    """The computer went off while a run was under way."""
    segment = newest(path)
    lines = segment.read_text().splitlines(keepends=True)
    segment.write_text("".join(line for line in lines if '"completed"' not in line))
    path.unlink()  # and comes from the journal


PLANTED = {
    no_key: ["MISTRAL_API_KEY is not set", "export MISTRAL_API_KEY=..."],
    malformed_key: ["OPENAI_API_KEY", "line break"],
    key_not_approved: ["https://llm.example.org", "approve_origin=True"],
    held_by_another_process: ["held open by process", "Close that connection"],
    database_missing: ["There is no database at", "llmkit.open(path, adopt=True)"],
    segment_lost: ["missing or truncated", "Restore the folder from a copy"],
    segment_doubled: ["twice, which does no harm", "-> Delete them."],
    line_damaged: ["1 line of the journal of c.duckdb cannot be used", "journal_quarantine"],
    read_only: ["cannot be written", "Change its permissions, or name another file"],
    little_space: ["GiB free", "Free some space."],
    no_folder: ["There is no catalog at", "name another with --db"],
    nobody_answers: ["address of local", "NETWORK_ERROR"],
    default_retired: [f"{LUNA} was retired on 2026-01-01", "kit.catalog.set_default_model"],
    newer_version: ["format 999", "Upgrade llmkit"],
    interrupted_run: ["1 of 1 was interrupted", "kit.resume('"],
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_the_doctor_names_the_cause_and_what_to_do(tmp_path, plant, monkeypatch, capsys):
    """In words, without a traceback and without a key; whatever else is to be said is said too."""
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    path = tmp_path / "study" / "c.duckdb"
    with llmkit.open(path, simulate=True) as kit:
        kit.run("q", LUNA).result(60)
    with plant(path, monkeypatch) or contextlib.nullcontext():
        code = main(["doctor", "--db", str(path), *(["--online"] * (plant is nobody_answers))])
    told = "".join(capsys.readouterr())
    print(told)
    assert [words for words in PLANTED[plant] if words not in told] == []
    assert "Python " in told
    assert "secret" not in told
    assert "Warning" not in told
    assert code in (0, 1)

"""A column of ``run.probes`` is one row of the declaration, and its value: databases of before get it when opened."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import duckdb
import pytest

import llmkit
from llmkit.errors import CatalogTooNew
from llmkit.records.columns import PROBES

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys, warnings, llmkit
warnings.simplefilter("ignore")
with llmkit.open(sys.argv[1], simulate=True) as kit:
    old = kit.load(kit.sql("SELECT id FROM runs WHERE name = 'follow-ups'")["id"][0])
    print(old.probes["longest_s"].isna().all(), len(old.probes), len(kit.costs(by="longest_s")) > 0)
    resumed = kit.resume(kit.sql("SELECT id FROM runs WHERE name = 'cancelled'")["id"][0]).result(60)
    print(set(resumed.probes["status"]), resumed.probes["longest_s"].notna().any())
    new = kit.run("Hello").result(60)
    print((new.probes["longest_s"] == new.probes["latency_s"]).all())
"""


@pytest.fixture
def newer(tmp_path):
    """The package as it would be with one column more."""
    for name in ("llmkit", "data"):
        shutil.copytree(ROOT / name, tmp_path / "newer" / name, ignore=shutil.ignore_patterns("__pycache__"))
    package = tmp_path / "newer" / "llmkit"
    for name, before, after in (
        ("records/columns.py", '"simulated": None,', '"simulated": None, "longest_s": "DOUBLE",'),
        ("runs/conversation.py", '"queued_s": self', '"longest_s": self.latency_s, "queued_s": self'),
    ):
        text = (package / name).read_text(encoding="utf-8")
        assert text.count(before) == 1
        (package / name).write_text(text.replace(before, after), encoding="utf-8")
    return tmp_path / "newer"


@pytest.mark.parametrize("kind", ["database and journal", "journal alone"])
def test_a_column_is_declared_in_one_row(tmp_path, newer, kind):
    """Two edits in two files: an older database reads, resumes and fills it, and this version refuses that file."""
    with tarfile.open(Path(__file__).parent / "previous" / "previous.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    path = tmp_path / "previous.duckdb"
    if kind == "journal alone":
        path.unlink()
    with llmkit.open(path, simulate=True) as kit:  # this version comes between
        assert list(kit.load(kit.runs()["run_id"][0]).probes)[: len(PROBES)] == list(PROBES)
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, path], cwd=newer, capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines() == ["True 32 True", "{'ok'} True", "True"], result.stderr
    with pytest.raises(CatalogTooNew, match="Upgrade llmkit"):
        llmkit.open(path)


def test_a_column_is_added_with_its_record(tmp_path):
    """What a database lacks comes back, the views with it, and the record says when."""
    path = tmp_path / "k.duckdb"
    with llmkit.open(path, simulate=True) as kit:
        before = kit.run("Hello").result(60)
        usage = kit.sql("SELECT usage FROM turns")["usage"][0]
    with duckdb.connect(path) as connection:
        connection.execute("ALTER TABLE results DROP COLUMN queued_s")
        connection.execute("ALTER TABLE outcomes DROP COLUMN cache_write_1h_tokens")
        connection.execute("ALTER TABLE llm_model_prices DROP COLUMN cost_cache_write_1h_per_million")
    with llmkit.open(path, simulate=True) as kit:
        after = kit.load(before.id)
        assert after.probes["queued_s"].isna().all()
        assert kit.sql("SELECT usage FROM turns")["usage"][0] == {**usage, "cache_write_1h_tokens": None}
        assert after.costs()["input_tokens"].sum() > 0
        names = set(kit.sql("SELECT name FROM migrations")["name"])
        assert {"results.queued_s", "outcomes.cache_write_1h_tokens"} < names
        assert kit.run("Once more").result(60).probes["queued_s"].notna().all()

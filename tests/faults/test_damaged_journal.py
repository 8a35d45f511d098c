"""A journal with a wrong byte, and segments that are missing, cut or doubled: nothing changes silently."""

import os
import random
import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest
from test_disk import tables

import llmkit
from llmkit.cli import main
from llmkit.store import compaction
from llmkit.store.lines import verified
from llmkit.store.packs import SUFFIX

MODELS = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, loose_catalog, sim):
    """A catalog with a run and an edit after it, and its tables as they stood."""
    folder = tmp_path_factory.mktemp("finished") / "catalog"
    shutil.copytree(loose_catalog, folder)
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        kit.use_simulator(sim)
        sim.set(latency=0)
        run = kit.run(["a", "b"], MODELS, followups=["why?"]).result(60)
        kit.catalog.set_balance("openai", 12)
        return folder, tables(kit, [run])


def rebuilt(folder):
    """The tables of a rebuilt database, how many lines were set aside, and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
            runs = [kit.load(run_id) for run_id in kit.runs()["run_id"]]
            aside = int(kit.sql("SELECT count(*) AS n FROM journal_quarantine")["n"][0])
            return tables(kit, runs), aside, " ".join(str(entry.message) for entry in said)


def same(before, after):
    """Whether all tables are alike."""
    try:
        for old, new in zip(before, after, strict=True):
            pd.testing.assert_frame_equal(old, new)
    except (AssertionError, ValueError):
        return False
    return True


def flipped(finished, folder, seed):
    """Change one byte of a copy, and rebuild."""
    source, before = finished
    shutil.copytree(source, folder)
    (folder / "k.duckdb").unlink()
    chance = random.Random(seed)
    segment = chance.choice(sorted(file for file in folder.glob("*.journal/*") if file.suffix in (".jsonl", SUFFIX)))
    data = bytearray(segment.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    segment.write_bytes(data)
    after, aside, said = rebuilt(folder)
    assert same(before, after) or (aside and "set aside" in said)


def test_no_bit_of_a_line_changes_unseen(finished):
    """Whichever bit it is, the line is not taken for another one."""
    lines = [line for file in finished[0].glob("*.journal/*.jsonl") for line in file.read_bytes().splitlines()]
    assert all(map(verified, lines))
    for line in lines:
        for place in range(0, len(line), 3):
            wrong = bytearray(line)
            wrong[place] ^= 1 << place % 8
            assert verified(bytes(wrong)) is None, (line, place)


def test_no_byte_changes_silently(finished, tmp_path):
    """A wrong byte costs its line at most, is said, and never keeps a catalog from opening."""
    for seed in range(25):
        flipped(finished, tmp_path / str(seed), seed)


@pytest.mark.soak
def test_no_byte_of_five_hundred_changes_silently(finished, merged, tmp_path):
    """The same 500 times, and 100 times of a merged journal."""
    for seed in range(1_000, 1_600):
        flipped(finished if seed < 1_500 else merged, tmp_path / "copy", seed)
        shutil.rmtree(tmp_path / "copy")


def cut(segment, chance, stranger):
    """Shorten a segment."""
    segment.write_bytes(segment.read_bytes()[: chance.randrange(segment.stat().st_size)])


def reorder(segment, chance, stranger):
    """Exchange two lines of a segment."""
    lines = segment.read_bytes().splitlines(keepends=True)
    one, other = (chance.randrange(len(lines)) for _ in range(2))
    lines[one], lines[other] = lines[other], lines[one]
    segment.write_bytes(b"".join(lines))


HARMS = {
    "missing": lambda segment, *_: segment.unlink(),
    "cut": cut,
    "doubled": lambda segment, *_: shutil.copy(segment, segment.with_stem(f"{segment.stem} (conflict)")),
    "reordered": reorder,
    "foreign": lambda segment, _, stranger: shutil.copy(stranger, segment.parent),
}
WORDS = {"missing": "incomplete", "cut": "incomplete", "doubled": "twice", "foreign": "different journal"}


@pytest.mark.parametrize("how", HARMS)
@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_no_segment_is_harmed_silently(finished, tmp_path, how, times):
    """Whichever segment it is, all tables stay as they were or lines are set aside, and a sentence says so."""
    llmkit.open(tmp_path / "other" / "k.duckdb", simulate=True).close()
    (stranger,) = tmp_path.glob("other/*.journal/*.jsonl")
    different = 0
    for seed in range(times):
        chance, folder = random.Random(seed), shutil.copytree(finished[0], tmp_path / "copy")
        if how not in ("missing", "cut"):  # what was in those only the database still has
            (folder / "k.duckdb").unlink()
        segments = sorted(folder.glob("*.journal/*.jsonl"))
        segment = segments[seed % len(segments)]
        before = sorted((file.name, file.read_bytes()) for file in segment.parent.glob("*.jsonl"))
        HARMS[how](segment, chance, stranger)
        is_harmed = before != sorted((file.name, file.read_bytes()) for file in segment.parent.glob("*.jsonl"))
        after, aside, said = rebuilt(folder)
        different += not same(finished[1], after)
        assert same(finished[1], after) or how == "reordered"
        assert not is_harmed or (WORDS[how] in said if how in WORDS else aside and "set aside" in said)
        shutil.rmtree(folder)
    print(f"{times} segments {how}: none silently, {different} with other tables")


@pytest.fixture(scope="module")
def merged(finished, tmp_path_factory):
    """The same with its journal in two files."""
    folder = shutil.copytree(finished[0], tmp_path_factory.mktemp("merged") / "catalog")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "MANY", 1)
        llmkit.open(folder / "k.duckdb", simulate=True).close()
    assert sorted(file.suffix for file in folder.glob("*.journal/*")) == [".jsonl", SUFFIX]
    return folder, finished[1]


def test_a_merged_journal_gives_the_same_tables(merged, tmp_path):
    """To the last byte: when its database is made again, and when it is copied to another place by a backup."""
    folder = shutil.copytree(merged[0], tmp_path / "copy")
    assert rebuilt(folder)[1:] == (0, "")
    (folder / "k.duckdb").unlink()
    after, aside, _ = rebuilt(folder)
    assert same(merged[1], after)
    assert aside == 0
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        kit.backup(tmp_path / "backup.tar.gz")
        kit.export_capsule(run := kit.last_run(), tmp_path / "run.zip")
        probes = run.probes
    assert main(["restore", str(tmp_path / "backup.tar.gz"), "--db", str(tmp_path / "other" / "k.duckdb")]) == 0
    assert same(merged[1], rebuilt(tmp_path / "other")[0])
    pd.testing.assert_frame_equal(llmkit.open_capsule(tmp_path / "run.zip").probes, probes)


def test_no_byte_of_a_merged_journal_changes_silently(merged, tmp_path):
    """A wrong byte costs its line at most, and none where it is in the pack's own lines."""
    for seed in range(10):
        flipped(merged, tmp_path / str(seed), seed)


def test_a_run_whose_prompts_are_lost_is_shown_and_not_resumed(finished, tmp_path):
    """The line of its scenarios is damaged: answers are there, requests cannot be made anew, resume says why not."""
    shutil.copytree(finished[0], tmp_path / "copy")
    path = tmp_path / "copy" / "k.duckdb"
    path.unlink()
    for segment in path.parent.glob("*.journal/*.jsonl"):
        segment.write_bytes(segment.read_bytes().replace(b'"type":"scenarios"', b'"type":"scenariot"'))
    with pytest.warns(UserWarning, match="1 line of the journal"), llmkit.open(path, simulate=True) as kit:
        run = kit.load(kit.runs()["run_id"][0])
        assert run.attempts["request"].isna().all()
        assert run.attempts["reply"].notna().all()
        with pytest.raises(llmkit.ValidationError, match="cannot be resumed"):
            kit.resume(run.id)


def test_a_run_whose_provider_is_lost_is_shown_and_not_resumed(finished, tmp_path):
    """The line of a provider is damaged: all of its run can be read and handed on, requests cannot be made anew."""
    shutil.copytree(finished[0], tmp_path / "copy")
    path = tmp_path / "copy" / "k.duckdb"
    path.unlink()
    for segment in path.parent.glob("*.journal/*-catalog-*.jsonl"):
        lost = b'"reference":"openai"'
        segment.write_bytes(segment.read_bytes().replace(lost, lost.replace(b"openai", b"openaj")))
    with pytest.warns(UserWarning, match="set aside"), llmkit.open(path, simulate=True) as kit:
        assert "openai" not in set(kit.catalog.providers()["name"])
        run = kit.load(kit.runs()["run_id"][0])
        theirs = run.attempts["provider"] == "openai"
        assert run.attempts["request"].isna().tolist() == theirs.tolist()
        assert run.attempts["reply"].notna().all()
        assert set(run.reprice(as_of="2026-11-29")["source"]) == {"computed"}
        shown = llmkit.open_capsule(kit.export_capsule(run, tmp_path / "capsule.zip"))
        pd.testing.assert_frame_equal(shown.probes, run.probes)
        with pytest.raises(llmkit.UnsupportedProvider, match="no provider 'openai'"):
            kit.resume(run.id)


def test_a_name_that_is_no_text_is_no_segment(finished, tmp_path):
    """As an archive from another system may leave it: whatever is in such a file, the catalog opens."""
    shutil.copytree(finished[0], tmp_path / "copy")
    folder = tmp_path / "copy" / "k.duckdb.journal"
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.jsonl")).write_bytes(b"{}\n")
    assert same(finished[1], rebuilt(tmp_path / "copy")[0])


def test_a_copy_of_a_segment_changes_nothing(finished, tmp_path):
    """What a program that synchronizes folders leaves behind is read, and is nothing new."""
    source, before = finished
    shutil.copytree(source, tmp_path / "copy")
    for segment in (tmp_path / "copy").glob("*.journal/*.jsonl"):
        shutil.copy(segment, segment.with_name(f"{segment.stem} (conflict).jsonl"))
    assert same(before, rebuilt(tmp_path / "copy")[0])
    (tmp_path / "copy" / "k.duckdb").unlink()
    assert same(before, rebuilt(tmp_path / "copy")[0])


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_lost_segment_is_said(finished, tmp_path, how):
    """The database still has what was in it; a sentence says that it could not be rebuilt."""
    source, before = finished
    shutil.copytree(source, tmp_path / "copy")
    segment = max((tmp_path / "copy").glob("*.journal/*.jsonl"))
    if how == "cut":
        segment.write_bytes(segment.read_bytes()[:-100])
    else:
        segment.unlink()
    after, _, said = rebuilt(tmp_path / "copy")
    assert same(before, after)
    assert segment.name in said
    assert "incomplete" in said

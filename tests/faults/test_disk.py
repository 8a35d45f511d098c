"""A disk that is full, and a database that is damaged or gone: nothing that was acknowledged is lost."""

import os
import random
import shutil
import subprocess

import pandas as pd
import pytest

import llmkit

MODELS = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with a catalog on it; grows with ``mount -o remount``."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def resize(folder, size):
    """Give the file system another size in bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def fill(small_disk, catalog, room):
    """Put the catalog on a disk with so many bytes left; returns its path there."""
    shutil.copytree(catalog.parent, small_disk / "catalog")
    used = os.statvfs(small_disk)
    resize(small_disk, (used.f_blocks - used.f_bfree) * used.f_frsize + room)
    return small_disk / "catalog" / catalog.name


def test_a_process_that_may_open_few_files_asks_for_more(zygote, sim, catalog):
    """Each request on its way needs a connection, more together than such a process may have at first."""
    with llmkit.open(catalog, simulate=True) as kit:
        kit.catalog.update_provider("openai", max_parallel_requests=200)
    child = zygote.start(catalog, prompts=300, models=MODELS[:1], files=160)
    child.wait()
    assert child.ended() == "end completed"
    assert sim.count("ok") == 300


@pytest.mark.parametrize("room", [250_000, 1_200_000], ids=["for the journal", "for the database"])
def test_a_run_on_a_full_disk_stops_and_loses_nothing(zygote, sim, catalog, small_disk, room):
    """It says what is wrong and stops asking; every answer that was acknowledged is there, and resume asks the rest."""
    path = fill(small_disk, catalog, room)
    child = zygote.start(path, prompts=400, models=MODELS[:1], followups=["and why?"])
    child.wait()
    print(child.ended())
    assert child.ended().startswith("error ")
    assert "No space left" in child.ended()
    assert "status failed" in child.lines()
    assert sim.count("requests") < 800
    resize(small_disk, 100_000_000)
    with llmkit.open(path, simulate=True) as kit:
        kit.use_simulator(sim)
        run = kit.load(child.run_id())
        saved = {(row.probe_id, str(row.turn)) for row in run.turns.itertuples()}
        assert set(child.answered()) <= saved
        assert run.status in ("failed", "interrupted")
        assert sim.count("billed") <= len(saved) + int(run.attempts["maybe_billed"].sum())
        resumed = kit.resume(run.id).result(120)
        assert set(resumed.probes["status"]) == {"ok"}
        assert resumed.status == "completed"


def test_a_run_that_cannot_be_written_down_is_not_started(zygote, sim, catalog, small_disk):
    """Without room for the run itself nothing is asked, and the sentence says why."""
    child = zygote.start(fill(small_disk, catalog, 8_192), prompts=400, models=MODELS[:1])
    child.wait()
    assert child.ended().startswith("error JournalError")
    assert "No space left" in child.ended()
    assert sim.count("requests") == 0


def cut(path):
    """Half of the file is gone."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """A hundred bits are wrong."""
    data, chance = bytearray(path.read_bytes()), random.Random(3)
    for _ in range(100):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def garbage(path):
    """It is no database at all."""
    path.write_bytes(os.urandom(50_000))


def empty(path):
    """There is a file and nothing in it."""
    path.write_bytes(b"")


def remove(path):
    """There is no file."""
    path.unlink()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, loose_catalog, sim):
    """A catalog with runs of all kinds: with answers, failures and retries, cancelled, and its tables as they stood."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(loose_catalog, folder / "catalog")
    with llmkit.open(folder / "catalog" / "k.duckdb", simulate=True) as kit:
        kit.use_simulator(sim)
        sim.set(latency=0, faults={"rate_limit": 0.02, "disconnect": 0.05, "refusal": 0.05})
        policy = llmkit.RetryPolicy.fast()
        runs = [kit.run([f"q {n}" for n in range(30)], MODELS, followups=["why?"], retry=policy).result(120)]
        sim.set(latency=0.5)
        handle = kit.run([f"q {n}" for n in range(30)], MODELS, retry=policy)
        sim.wait_until(lambda: sim.count("in_flight") > 0)
        handle.cancel(grace=0)
        runs.append(handle.result(60))
        kit.catalog.update_model(MODELS[0], cost_input_per_million="0.123")
        kit.catalog.set_balance("openai", 12)
        sim.set(latency=0, faults={})
        return folder / "catalog", [run.id for run in runs], tables(kit, runs)


def tables(kit, runs):
    """All that a user can look at, as it is."""
    frames = [frame for run in runs for frame in (run.probes, run.turns, run.attempts, run.costs())]
    return [*frames, kit.runs(), kit.catalog.models(), kit.catalog.providers(), kit.catalog.history()]


@pytest.mark.parametrize("damage", [cut, flip, garbage, empty, remove])
def test_a_damaged_database_comes_back_with_every_row(finished, tmp_path, damage):
    """Whatever happens to the file, every table is as it was: probes, turns, attempts, costs, catalog and history."""
    source, run_ids, before = finished
    shutil.copytree(source, tmp_path / "copy")
    path = tmp_path / "copy" / "k.duckdb"
    damage(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.showwarning", lambda *args, **kwargs: None)
        with llmkit.open(path, simulate=True) as kit:
            after = tables(kit, [kit.load(run_id) for run_id in run_ids])
    for old, new in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(old, new)
    assert len(before[0]) == 60

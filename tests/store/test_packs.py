"""Packs: many closed segments become a few files, of which every byte is read as before, whatever happens meanwhile."""

import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_store import store  # noqa: F401 - a fixture

from llmkit.store import Store, compaction, events, packs, project, queries, upkeep
from llmkit.store.compaction import compact
from llmkit.store.journal import Journal
from llmkit.store.lease import Lease
from llmkit.store.lines import line, loads, verified
from llmkit.store.packs import SUFFIX, Pack


def begin(folder, number, text="", journal="0" * 16, lines=2):
    """Write a closed segment of a run into a journal; returns its file."""
    at = f"{0x18EBF00000000000 + number:016x}"
    header = {"id": f"{at}-{number:08x}", "type": "segment", "about": f"r{number}", "journal": journal,
              "machine": compaction.machine()}  # fmt: skip
    folder.mkdir(exist_ok=True)
    file = folder / f"{at}-r{number}-{number:08x}.jsonl"
    rest = [{"id": f"{at}-{index:08x}", "type": "t", "text": text, "n": index} for index in range(1, lines)]
    file.write_bytes(b"".join(line(event, seq) for seq, event in enumerate([header, *rest])))
    return file


def opened(folder, journal="0" * 16):
    """The journal in a folder, as one whose database was read, and the lease of that database."""
    found = Journal(folder)
    found.follow(journal, "", "")
    return found, Lease(folder.with_suffix(".duckdb"))


def contents(folder):
    """All segments with their bytes."""
    journal = Journal(folder)
    found = {name: journal.read(name, 0, size) for name, size in journal.sizes().items()}
    assert {name: len(data) for name, data in found.items()} == journal.sizes()
    return found


def never(_):
    """Nobody runs anything."""
    return False


def damage(file, how, chance):
    """Do something to a segment after which it has to stay as it is."""
    data = bytearray(file.read_bytes())
    if how == "flipped":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del data[chance.randrange(1, len(data) - 1) :]
        data = data.removesuffix(b"\n")
    file.write_bytes(data)
    if how == "doubled":
        shutil.copy(file, file.with_stem(f"{file.stem} (conflict)"))


def filled(folder):
    """Enough segments to be merged, and what is in them."""
    for number in range(compaction.MANY + 2):
        begin(folder, number, "a text")
    return contents(folder)


def packed(folder):
    """The pack that they are merged into."""
    compact(*opened(folder), never)
    (file,) = folder.glob("*.pack")
    return file


@given(
    seed=st.integers(0, 1 << 30),
    wrong=st.lists(st.sampled_from(["flipped", "cut", "doubled", "foreign"]), max_size=6),
    text=st.text(st.characters(), max_size=20),
    rounds=st.integers(1, 3),
)
def test_merging_changes_no_byte_and_nothing_that_is_damaged(seed, wrong, text, rounds):
    """Whatever the segments hold: each reads as before, and what is damaged, doubled or foreign is still that file."""
    with tempfile.TemporaryDirectory() as place:
        folder, chance, kept, count = Path(place, "j"), random.Random(seed), {}, 0
        journal, lease = opened(folder)
        for _ in range(rounds):
            for _ in range(compaction.MANY + chance.randrange(2, 9)):
                begin(folder, count := count + 1, text, lines=chance.randrange(1, 5))
            for how in wrong:
                file = begin(folder, count := count + 1, text, journal="f" * 16 if how == "foreign" else "0" * 16)
                damage(file, how, chance)
                file = file.with_stem(f"{file.stem} (conflict)") if how == "doubled" else file
                kept[file] = file.read_bytes()
            before = contents(folder)
            compact(journal, lease, never)
            assert contents(folder) == before
            assert {name: journal.read(name, 0, size) for name, size in journal.sizes().items()} == before
        assert all(file.read_bytes() == data for file, data in kept.items())
        assert len(journal.files()) <= 2 + len(kept)


@given(seed=st.integers(0, 1 << 30))
def test_a_wrong_byte_of_a_pack_costs_its_line_at_most(seed):
    """Wherever it is: no segment is missing or longer, and what is different does not pass for what was written."""
    with tempfile.TemporaryDirectory() as place:
        folder, chance = Path(place, "j"), random.Random(seed)
        before = filled(folder)
        file = packed(folder)
        data = bytearray(file.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        after = contents(folder)
        assert after.keys() == before.keys()
        old, new = ({each for text in found.values() for each in text.splitlines()} for found in (before, after))
        assert len(old - new) <= 2  # two where a line end is damaged
        assert not any(verified(each) for each in new - old)
        compact(*opened(folder), never)
        assert contents(folder) == after


@given(seed=st.integers(0, 1 << 30))
def test_a_crash_while_merging_leaves_some_twice_which_changes_nothing(seed):
    """A half-written pack is nothing; with a whole one it is the same how many of its segments are there too."""
    with tempfile.TemporaryDirectory() as place:
        folder, chance = Path(place, "j"), random.Random(seed)
        before, copies = filled(folder), shutil.copytree(folder, Path(place, "copies"))
        file = packed(folder)
        for copy in copies.iterdir():
            if chance.random() < 0.5:
                shutil.copy(copy, folder)
        half = folder / f"{0:016x}-{0:08x}{packs.SUFFIX}{packs.UNFINISHED}"
        half.write_bytes(file.read_bytes()[: chance.randrange(file.stat().st_size)])
        assert contents(folder) == before
        for number in range(100, 102 + compaction.MANY):
            begin(folder, number)
        before = contents(folder)
        compact(*opened(folder), never)
        assert contents(folder) == before
        assert len(list(folder.iterdir())) == 2


def test_a_cut_pack_is_read_as_far_as_it_goes(tmp_path):
    """What is left of it is there; what is not is a segment that is shorter than the database knows."""
    for number in range(compaction.MANY + 2):
        begin(tmp_path / "j", number)
    before = contents(tmp_path / "j")
    compact(*opened(tmp_path / "j"), never)
    (file,) = (tmp_path / "j").glob("*.pack")
    whole = file.read_bytes()
    for length in range(0, len(whole), 97):
        file.write_bytes(whole[:length])
        after = contents(tmp_path / "j")
        assert all(before[name].startswith(data) for name, data in after.items())
        assert len(after) == len(before) or length <= whole.index(b"\n")


def test_a_segment_that_is_written_is_left_to_its_writer(tmp_path):
    """By this process, another one, a run that is live, or another machine that wrote today."""
    writers = [opened(tmp_path / "j", "0" * 16)[0] for _ in range(2)]
    for number in range(compaction.MANY + 1):
        begin(tmp_path / "j", number)
    for number, writer in enumerate(writers):
        writer.commit([{"type": "t", "n": number}])
    far = begin(tmp_path / "j", 99)
    far.write_bytes(far.read_bytes().replace(compaction.machine().encode(), b"elsewher"))
    live = begin(tmp_path / "j", 100)
    before = contents(tmp_path / "j")
    compact(*opened(tmp_path / "j"), lambda about: about == "r100")
    assert contents(tmp_path / "j") == before
    assert len(list((tmp_path / "j").glob(f"*{SUFFIX}"))) == 1
    assert far.exists()
    assert live.exists()
    for number, writer in enumerate(writers):
        writer.commit([{"type": "t", "n": 10 + number}])
        writer.close()
    assert sum(data.count(b'"n":1') for name, data in contents(tmp_path / "j").items() if "catalog" in name) == 3


def test_all_processes_of_a_machine_know_that_it_is_one(python):
    """Where no program lists its network cards, too: Python then makes up an address for each process."""
    script = """if True:
        import uuid
        from llmkit.store.segments import machine
        uuid._node, uuid._GETTERS = None, []
        print(machine())"""
    said = {subprocess.check_output([*python, "-c", script], text=True, timeout=60) for _ in range(2)}
    assert len(said) == 1


def test_what_another_machine_goes_on_writing_is_received_into_a_pack_too(tmp_path):
    """The segment gets a file of its own again, with all that was in the pack before."""
    begin(tmp_path / "j", 99)
    for number in range(compaction.MANY + 1):
        file = begin(tmp_path / "j", number, lines=9)
    whole = file.read_bytes()
    file.write_bytes(whole[: (start := whole.index(b"\n", 300) + 1)])
    journal, lease = opened(tmp_path / "j")
    compact(journal, lease, never)
    assert not file.exists()
    assert journal.sizes()[file.name] == start
    assert journal.receive(file.name, start, whole[start:])
    assert file.read_bytes() == contents(tmp_path / "j")[file.name] == whole
    assert not journal.receive(file.name, len(whole) + 1, b"later")


def test_who_reads_meanwhile_finds_what_has_become_part_of_a_pack(tmp_path):
    """A reader that had listed the segments before, and one that had read packs that are merged with others."""
    reader = Journal(tmp_path / "j")
    for first in (0, 100, 200):
        for number in range(first, first + compaction.MANY + 2):
            begin(tmp_path / "j", number)
        names = reader.sizes()
        before = contents(tmp_path / "j")
        compact(*opened(tmp_path / "j"), never)
        assert {name: reader.read(name, 0, size) for name, size in names.items()} == before


def fill(journal, count):
    """Give a catalog runs, each with a closed segment of its own."""
    (own,) = {journal.header(name).journal for name in journal.sizes()}
    for number in range(count):
        run = events.run(
            run_id=f"r{number}", name=None, kind="probe", simulated=False, settings={}, scenarios=[], models=[],
            samples=1, estimate=None,
        )  # fmt: skip
        file = begin(journal.directory, number, journal=own, lines=1)
        ids = (f"{file.name[:16]}-{seq:08x}" for seq in range(1, 99))
        with open(file, "ab") as segment:
            segment.write(b"".join(line({**event, "id": next(ids)}, seq) for seq, event in enumerate(run, 1)))


opens: list[str] | None = None


def _count(event, arguments):
    if opens is not None and event == "open" and isinstance(arguments[0], str | Path):
        opens.append(str(arguments[0]))


sys.addaudithook(_count)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_many_segments_become_few(store, count):  # noqa: F811
    """They are merged when the catalog is closed; opening it and making it again opens a few files, and finds all."""
    global opens
    store.close()
    fill(store.journal, count)
    first = Store(store.path)
    runs, known = first.read(queries.runs), first.journal.sizes()
    first.close()
    assert len(known) == count + 1
    assert len(first.journal.files()) == 2
    for is_rebuilt in (False, True):
        if is_rebuilt:
            store.path.unlink()
        opens = []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = Store(store.path)
            assert again.journal.sizes() == known
            assert again.read(queries.runs).equals(runs)
            again.close()
        seen, opens = [name for name in opens if f"{store.path.name}.journal" in name], None
        print(f"{count} segments, {'rebuilt' if is_rebuilt else 'opened'}: {len(seen)} files opened")
        assert len(seen) <= 50


def test_how_far_a_long_rebuild_is_gets_said(store, monkeypatch):  # noqa: F811
    """A share for each while that it takes; nothing while it is short."""
    store.close()
    fill(store.journal, 30)
    monkeypatch.setattr(project, "_MANY", 3_000)
    monkeypatch.setattr(upkeep, "PART", 0.0)
    for patience, sentences in ((-1.0, 4), (3_600.0, 0)):
        monkeypatch.setattr(upkeep, "PATIENCE", patience)
        store.path.unlink()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            Store(store.path).close()
        shares = [int(re.search(r"(\d+)% so far", str(each.message))[1]) for each in said]
        assert (len(shares) >= sentences) if sentences else not shares
        assert shares == sorted(shares)
        assert all(0 <= share <= 100 for share in shares)


CHILD = """
import sys
from pathlib import Path
from llmkit.store import compaction
from llmkit.store.journal import Journal
from llmkit.store.lease import Lease
compaction.MANY = 2
folder, number = Path(sys.argv[1]), int(sys.argv[2])
while True:
    journal = Journal(folder)
    journal.commit([{"type": "t", "run_id": f"r{number}", "n": number, "text": "x" * 200_000}])
    journal.close()
    print(number, flush=True)
    number += 1
    journal.follow(journal.header(max(journal.sizes())).journal, "", "")
    compaction.compact(journal, Lease(folder.with_suffix(".duckdb")), lambda run_id: False)
"""


AT_THE_END = """
import atexit, sys, weakref
from pathlib import Path
from llmkit.store.packs import Pack

atexit.register(lambda: print(len(Pack(Path(sys.argv[1])).places)))
weakref.finalize(set(), int)  # from now on, those of weakref run first
"""


def test_a_pack_that_is_read_at_the_end_of_a_process_is_closed(tmp_path):
    """Kits that nobody closed merge their journal then; Python's development mode has nothing to report."""
    folder = tmp_path / "j"
    places = {file.name: packs.Place(file, 0, file.stat().st_size) for file in (begin(folder, 1), begin(folder, 2))}
    script = [sys.executable, "-X", "dev", "-c", AT_THE_END, packs.write(folder, places)]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True)
    assert (ended.stdout, ended.stderr) == ("2\n", "")


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_a_process_that_is_killed_while_it_merges_loses_nothing(tmp_path, kills):
    """At whatever moment: each line that it acknowledged is there once, and at most one more."""
    chance, folder, acknowledged, cut_short = random.Random(kills), tmp_path / "j", 0, 0
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, folder, str(acknowledged)], stdout=subprocess.PIPE, text=True
        )
        lines = [child.stdout.readline() for _ in range(chance.randrange(2, 8))]
        threading.Event().wait(chance.uniform(0, 0.02))
        child.kill()
        lines += child.stdout.read().splitlines()
        child.wait(60)
        child.stdout.close()
        journal, texts = Journal(folder), contents(folder).values()
        whole = [each for text in texts for each in text.splitlines(keepends=True) if each.endswith(b"\n")]  # not torn
        found = sorted(loads(each)["n"] for each in whole if b'"type":"t"' in each)
        assert found == list(range(len(found)))
        assert int(lines[-1]) + 1 <= len(found) <= int(lines[-1]) + 2
        acknowledged = len(found)
        packed = [name for name in journal.files() if name.endswith(SUFFIX)]
        names = [*(name for each in packed for name in Pack(folder / each).places), *journal.files()]
        cut_short += any(folder.glob(f"*{packs.UNFINISHED}")) or len(set(names)) < len(names)
    print(f"{kills} kills, {acknowledged} lines, {cut_short} packs half made: 0 lost")

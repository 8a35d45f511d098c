"""What keeps the database from being used: damage, the system, or somebody else; and what is done about each."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path

import pytest
from portalocker import LockFlags
from test_store import _flip, _garbage, run_a_little, store  # noqa: F401 - a fixture

import llmkit
from llmkit.errors import CatalogBusy
from llmkit.store import Store, events, locks, queries, user_sql


@pytest.fixture
def small_files():
    """Lets no file of this process grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def big_run(number: int) -> list[dict]:
    """A run whose scenarios take more room than the database has left."""
    scenarios = [
        {"scenario_id": f"s{n}", "prompt": f"{number} {n} " * 300, "system": None, "followups": [], "dimensions": {}}
        for n in range(2_000)
    ]
    return [*events.run(
        run_id=f"big{number}", name=None, kind="probe", simulated=True, settings={}, scenarios=scenarios, models=[],
        samples=1, estimate=None,
    )]  # fmt: skip


def test_words_of_a_path_decide_nothing(tmp_path, small_files):
    """A full disk in a folder whose name speaks of damage damages nothing, and damage in one named after a full disk
    is mended.
    """
    folder = tmp_path / "walter's WAL: checksum of a corrupt database file (No space left on device)"
    store = Store(folder / "k.duckdb")  # noqa: F811
    store.append(big_run(1)).result()
    small_files(store.path.stat().st_size + 4_096)
    with pytest.warns(UserWarning, match="cannot be opened or written: .*File too large") as said:
        assert len(store.read(queries.runs)) == 1  # by the journal
    assert len(said) == 1
    assert not list(folder.glob("*.corrupt-*"))
    small_files(resource.RLIM_INFINITY)
    assert len(store.read(queries.runs)) == 1
    _garbage(store.path)
    with pytest.warns(UserWarning, match="rebuilt from its journal"):
        assert len(store.read(queries.runs)) == 1
    store.close()


def test_an_edit_is_saved_or_raises(store, small_files):  # noqa: F811
    """When the journal has it, it does not raise, though the database cannot take it; it is read back all the same."""
    store.append(big_run(1)).result()
    small_files(store.path.stat().st_size + 4_096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with store.edit() as edit:
            edit.put_setting("note", "x" * 2_000)
        for number in range(20):
            with store.edit() as edit:
                edit.put_setting(f"n{number}", "x" * 10_000)
        assert len(store.catalog().settings) == 21
    small_files(resource.RLIM_INFINITY)
    store.sync()
    assert len(store.query("SELECT * FROM system_settings")) == 21


def test_a_file_set_aside_is_never_overwritten(store):  # noqa: F811
    """A database that is damaged twice within a second leaves two files."""
    run_a_little(store)
    for _ in range(3):
        _garbage(store.path)
        with pytest.warns(UserWarning, match="rebuilt from its journal"):
            store.sync()
    assert len(list(store.path.parent.glob("*.corrupt-*"))) == 3


def test_damage_that_only_a_users_sql_meets_is_mended(store):  # noqa: F811
    """A part of the file that no question had read before is broken: the database is rebuilt, and the SQL answered."""
    run_a_little(store)
    store.sync()
    _flip(store.path)
    with pytest.warns(UserWarning, match="rebuilt from its journal"):
        assert store.query("SELECT count(prompt) AS n FROM probes")["n"][0] == 6


HOLDER = (
    "import sys; from pathlib import Path; from llmkit.store.lease import Lease\n"
    "with Lease(Path(sys.argv[1])).hold(exclusive=sys.argv[2] == 'write'): print('held', flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("how", ["write", "read"])
def test_a_process_that_holds_the_catalog_for_long_is_named(store, monkeypatch, how):  # noqa: F811
    """Whoever waits for one that is stopped is told its process id, and does not wait forever; reading goes on."""
    monkeypatch.setattr(locks, "TELL", 0.1)
    monkeypatch.setattr(locks, "GIVE_UP", 0.3)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        with pytest.warns(UserWarning, match=f"pid {holder.pid} has held the catalog"):
            with pytest.raises(CatalogBusy, match=f"pid {holder.pid} has held") as caught, store.edit():
                pass
        assert caught.value.pid == holder.pid
        monkeypatch.setattr(locks, "GIVE_UP", 3600)  # nobody waits for it again
        with pytest.warns(UserWarning, match="for 0 s"), pytest.raises(CatalogBusy), store.edit():
            pass
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert len(store.catalog().models) == 2
    finally:
        holder.send_signal(signal.SIGCONT)
        holder.communicate("")
    with store.edit() as edit:
        edit.put_setting("free", True)
    assert store.catalog().settings == {"free": True}


def test_whoever_waits_for_many_that_take_turns_waits_on(store, monkeypatch):  # noqa: F811
    """Only one holder that stays is given up; while others get the catalog, its turn comes too."""
    monkeypatch.setattr(locks, "TELL", 0.001)
    monkeypatch.setattr(locks, "GIVE_UP", 0.002)
    sidecar = store.path.with_name(store.path.name + ".lock")
    turns = []

    class Wait(Future):
        """A wait during which the catalog changes hands, up to the tenth, when nobody else wants it."""

        def result(self, timeout=None):
            turns.append(timeout)
            os.utime(sidecar, ns=(len(turns), len(turns)))
            if len(turns) == 10:
                other.close()
            return super().result(timeout)

    monkeypatch.setattr(locks, "Future", Wait)
    with open(sidecar, "rb+") as other, warnings.catch_warnings():
        warnings.simplefilter("error")  # it is not told of one holder either
        assert locks.try_lock(other, LockFlags.EXCLUSIVE)
        with store.edit() as edit:
            edit.put_setting("turn", "mine")
    assert len(turns) >= 10
    assert store.catalog().settings == {"turn": "mine"}


def test_a_database_renamed_before_its_readers_turn_is_rebuilt(store):  # noqa: F811
    """Whoever waits to read while somebody sets the file aside reads it from the journal, and is told of no trouble."""
    with open(store.path.with_name(store.path.name + ".lock"), "rb+") as other:
        assert locks.try_lock(other, LockFlags.EXCLUSIVE)
        read = []
        reader = threading.Thread(target=lambda: read.append(store.read(queries.catalog_state)))
        with warnings.catch_warnings(record=True) as told:
            reader.start()
            while all(thread.name != "llmkit-waits" for thread in threading.enumerate()):
                pass
            store.path.rename(store.path.with_name("aside"))
            locks.portalocker.unlock(other)
            reader.join()
    assert len(read[0].models) == 2
    assert told == []


def test_a_users_sql_holds_nobody_up(store, monkeypatch):  # noqa: F811
    """What takes long goes on in a copy, where it still reaches no other file, and edits are made meanwhile."""
    monkeypatch.setattr(user_sql, "PATIENCE", 0.05)
    answers = []
    slow = "SELECT count(*) AS n, (SELECT count(*) FROM llm_models) AS m FROM range(4000) a, range(4000) b"
    asking = threading.Thread(target=lambda: answers.append(store.query(f"{slow} WHERE (a.range ^ b.range) % 7 = 3")))
    asking.start()
    edits = 0
    while asking.is_alive():
        with store.edit() as edit:
            edit.put_setting("edits", edits := edits + 1)
    asking.join()
    assert answers[0]["m"].tolist() == [2]
    assert edits > 1


def test_one_file_has_one_claim(store):  # noqa: F811
    """However many processes or threads want a run while it is given back again and again, one has it at a time."""
    holders, most, over = [], [], threading.Event()

    def want():
        other = Store(store.path)
        while not over.is_set():
            if other.claim_run("r"):
                holders.append(1)
                most.append(len(holders))
                holders.pop()
                other.release_run("r")
        other.close()

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(most) < 300:
        pass
    over.set()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert not store.is_live("r")


def test_a_link_and_its_file_are_one_catalog(tmp_path):
    """By whatever name a file is opened, it has one journal, one lock and one gate."""
    (tmp_path / "study").mkdir()
    (tmp_path / "link.duckdb").symlink_to(tmp_path / "study" / "k.duckdb")
    with llmkit.open(tmp_path / "link.duckdb") as kit:
        kit.catalog.set_setting("colour", "red")
    with llmkit.open(tmp_path / "study" / "k.duckdb") as kit:
        assert kit.catalog.get_setting("colour") == "red"
    assert [file.name for file in tmp_path.glob("link*")] == ["link.duckdb"]


@pytest.fixture
def foreign():
    """A folder that everybody may look into, and a call that makes this process anybody."""
    user, folder = os.getuid(), Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder, lambda: os.setresuid(65_534, 65_534, user) if user == 0 else None
    os.setresuid(user, user, user)
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.filterwarnings("ignore:.* cannot be opened. Permission denied")
def test_what_others_may_only_read_is_refused_in_a_sentence_or_read(store, foreign):  # noqa: F811
    """A study whose lock is its owner's alone is read from its journal; there is no new file in such a folder."""
    store.close()
    folder, become_anybody = foreign
    study = Path(shutil.copytree(store.path.parent, folder / "study"))
    (study / f"{store.path.name}.lock").touch()
    for place in (study, *study.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o000 if place.suffix == ".lock" else 0o444)
    become_anybody()
    opened = Store(study / store.path.name)
    assert opened.catalog().models.keys() == {"acme:a", "acme:b"}
    with pytest.raises(llmkit.LlmkitError, match="Permission denied"), opened.edit():
        pass
    opened.close()
    with pytest.raises(llmkit.ValidationError, match=f"{study} cannot be written: name a file in another folder"):
        Store(study / "new.duckdb")


@pytest.mark.filterwarnings("ignore:.* cannot be opened. Permission denied")
@pytest.mark.parametrize("denied", [".lock", ".journal", ".jsonl"])
def test_another_user_of_a_shared_folder_is_told_what_to_do(store, foreign, denied):  # noqa: F811
    """Whatever else the group may open, a file that is its owner's alone is named, and so are the ways to share."""
    run_a_little(store, spent=Decimal(1))
    store.close()
    folder, become_anybody = foreign
    study = Path(shutil.copytree(store.path.parent, folder / "study"))
    for place in (study, *study.rglob("*")):
        place.chmod(0o777 if place.is_dir() else 0o666)
    for place in study.rglob(f"*{denied}"):
        place.chmod(0o000)
    become_anybody()
    refused = rf"{denied} cannot be .*Permission denied.*another user's.*llmkit\.open.*team="
    with pytest.raises(llmkit.LlmkitError, match=refused), Store(study / store.path.name).edit():
        pass


def test_a_link_to_itself_is_refused(tmp_path):
    """As any file that cannot be opened."""
    (tmp_path / "loop.duckdb").symlink_to(tmp_path / "loop.duckdb")
    with pytest.raises(llmkit.ValidationError, match="cannot be opened"):
        llmkit.open(tmp_path / "loop.duckdb")


def test_a_study_that_is_read_only_is_read_as_it_is(store, tmp_path):  # noqa: F811
    """On a disk that cannot be written everything can be looked at, and an edit says why it cannot be made."""
    run_a_little(store, spent=Decimal(1))
    store.sync()
    store.close()
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        shutil.copytree(store.path.parent, place / "study", ignore=shutil.ignore_patterns("disk", "*.lock"))
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            study = Store(place / "study" / store.path.name)
            assert study.catalog().models.keys() == {"acme:a", "acme:b"}
            assert study.read(queries.runs)["status"].tolist() == ["cancelled"]
        with pytest.raises(Exception, match="Read-only file system"), study.edit():
            pass
        study.close()
    finally:
        subprocess.run(["umount", "-l", place], check=True)

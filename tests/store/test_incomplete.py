"""A journal that lost segments, or holds those of others: it is said, and nothing is mixed up or made of half of it."""

import shutil
import warnings
from decimal import Decimal

import duckdb
import pytest
from test_store import run_a_little, store  # noqa: F401 - a fixture

from llmkit.errors import ValidationError
from llmkit.store import Store, apply_runs, events, queries, salvage

HEADERS, BLOCK = 3 * 4_096, 64 * 4_096
"""Bytes, of DuckDB's files."""


@pytest.fixture
def study(store):  # noqa: F811
    """A closed catalog of three segments, one of its edits, one of its run, and one of a later edit; its path."""
    run_a_little(store)
    store.close()
    with Store(store.path).edit() as edit:
        edit.put_setting("colour", "red")
    shown(store.path)
    return store.path


@pytest.fixture
def other(tmp_path):
    """Another closed catalog, with a run of its own."""
    with_run = Store(tmp_path / "other" / "k.duckdb")
    with with_run.edit() as edit:
        edit.put_setting("colour", "blue")
    with_run.append([*events.run(
        run_id="theirs", name=None, kind="probe", simulated=False, settings={}, scenarios=[], models=[], samples=1,
        estimate=None,
    )]).result()  # fmt: skip
    with_run.close()
    shown(with_run.path)
    return with_run.path


def segments(path):
    """The files of its journal, oldest first."""
    return sorted(path.with_name(path.name + ".journal").glob("*.jsonl"))


def shown(path, **how):
    """The runs and settings that a catalog opens with, and what is said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        store = Store(path, **how)
        runs, settings = store.read(queries.runs)["run_id"].tolist(), dict(store.catalog().settings)
        store.close()
    return sorted(runs), settings, " ".join(str(entry.message) for entry in said)


WHOLE = ["r1"], {"colour": "red"}


def test_a_whole_journal_is_not_talked_about(study):
    """Neither when it is opened nor when its database is made again."""
    assert shown(study) == (*WHOLE, "")
    study.unlink()
    assert shown(study) == (*WHOLE, "")


@pytest.mark.parametrize("which", [0, 1])
def test_a_database_is_not_made_of_half_a_journal(study, which):
    """A segment that another one follows is missing: that is said, and what is left is used when somebody says so."""
    lost = segments(study)[which]
    lost.unlink()
    runs, settings, said = shown(study)
    assert (runs, settings) == WHOLE
    assert f"{lost.name} is missing" in said
    study.unlink()
    with pytest.raises(ValidationError, match=rf"{lost.name} is missing.*adopt=True") as refused:
        Store(study)
    assert refused.value.field == "adopt"
    assert not study.exists()
    runs, settings, said = shown(study, adopt=True)
    assert (runs, settings) == ([[], ["r1"]][which == 0], {"colour": "red"})
    assert f"{lost.name} is missing" in said


def break_table(path, table):
    """Change a byte of the database in a block of which that table is made."""
    whole = path.read_bytes()
    for place in range(HEADERS + 100, len(whole), BLOCK):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            with duckdb.connect(path, read_only=True) as connection:
                connection.execute(f"SELECT count(COLUMNS(*)) FROM {table}")
        except duckdb.Error:
            if salvage.segments(path):
                return
    pytest.fail("no block is of that table")


def test_what_a_damaged_database_still_gives_is_saved(study):
    """The run is in the database only, and a table of the catalog is broken: on request both come together again."""
    segments(study)[1].unlink()
    break_table(study, "catalog_events")
    with pytest.raises(ValidationError, match=r"is missing.*adopt=True"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Store(study).catalog_events()
    assert not list(study.parent.glob("*.corrupt-*"))
    with pytest.warns(UserWarning, match=r"Rows recovered from it: .*1 of runs.* Unreadable: catalog_events"):
        store = Store(study, adopt=True)
        assert set(store.catalog_events()["reference"]) == {"acme", "acme:a", "acme:b", "colour"}
    assert store.catalog().settings == {"colour": "red"}
    assert store.catalog().providers["acme"].balance == Decimal("9.75")
    assert len(store.read(lambda c: queries.table(c, "probes", "r1", ("position",)))) == 6
    store.close()


def test_a_database_without_its_journal_says_so_and_stays_to_be_known(study):
    """Before anything is edited; and a database is not made of those edits alone afterwards."""
    shutil.rmtree(study.with_name(study.name + ".journal"))
    runs, settings, said = shown(study)
    assert (runs, settings) == WHOLE
    assert "incomplete" in said
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Store(study).edit() as edit:
            edit.put_setting("shape", "round")
    assert shown(study)[1] == {"colour": "red", "shape": "round"}
    study.unlink()
    with pytest.raises(ValidationError, match="adopt=True"):
        Store(study)


def test_a_journal_alone_is_asked_about(study):
    """A new file is not made of a journal that was left from something else."""
    for file in study.parent.glob(f"{study.name}*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(ValidationError, match=r"holds a journal.*adopt=True"):
        Store(study)
    assert shown(study, adopt=True) == (*WHOLE, "")
    assert shown(study) == (*WHOLE, "")


def test_segments_of_another_journal_are_left_out(study, other):
    """They are named; on request their runs are taken in, and never their catalog."""
    for file in segments(other):
        shutil.copy(file, study.with_name(study.name + ".journal"))
    for _ in range(2):
        runs, settings, said = shown(study)
        assert (runs, settings) == WHOLE
        assert "from a different journal" in said
        assert segments(other)[0].name in said
    study.unlink()
    assert shown(study)[:2] == WHOLE
    runs, settings, said = shown(study, adopt=True)
    assert (runs, settings) == (["r1", "theirs"], {"colour": "red"})
    assert shown(study)[:2] == (["r1", "theirs"], {"colour": "red"})


def test_a_database_copied_over_another_does_not_mix_them(study, other):
    """What is beside it is of another journal than what it rests on: it shows its own and says both."""
    shutil.copy(other, study)
    runs, settings, said = shown(study)
    assert (runs, settings) == (["theirs"], {"colour": "blue"})
    assert "missing" in said
    assert "from a different journal" in said


def test_copies_of_segments_are_said_and_change_nothing(study):
    """They are read, since they may have more than what they are copies of; nothing counts twice."""
    for file in segments(study):
        shutil.copy(file, file.with_name(f"{file.stem} (conflict).jsonl"))
    *rest, said = shown(study)
    assert (*rest,) == WHOLE
    assert "set aside" not in said
    store = Store(study)  # noqa: F811
    assert store.catalog().providers["acme"].balance == Decimal("9.75")
    store.close()
    assert "twice, which does no harm" in shown(study)[2]
    for file in segments(study):
        if "conflict" in file.name:
            file.unlink()
    assert shown(study) == (*WHOLE, "")


def test_lines_in_another_order_change_nothing(study):
    """They are applied all the same, and counted as what they are: lines that stand where others should."""
    (_, run, _) = segments(study)
    first, *lines = run.read_bytes().splitlines(keepends=True)
    run.write_bytes(first + b"".join(reversed(lines)))
    study.unlink()
    runs, settings, said = shown(study)
    assert (runs, settings) == WHOLE
    assert "set aside" in said


def test_a_clock_that_goes_back_changes_nothing(store, monkeypatch):  # noqa: F811
    """A run that was cancelled, resumed and completed while the clock went back an hour is completed, and costs what it
    costs; also when the database is made again, and when another process wrote each of these.
    """
    with store.edit() as edit:
        edit.set_balance("acme", Decimal(10))
    lines = events.run(
        run_id="r", name=None, kind="probe", simulated=False, settings={}, scenarios=[], models=[], samples=1,
        estimate=None,
    )  # fmt: skip
    store.append([*lines]).result()
    store.append([events.run_state(run_id="r", number=1, status="cancelled", spent={"acme": Decimal(1)})]).result()
    store.close()
    now = __import__("time").time_ns
    monkeypatch.setattr("time.time_ns", lambda: now() - 3_600 * 10**9)
    later = Store(store.path)
    with later.edit() as edit:
        edit.put_setting("colour", "red")
    later.append([events.run_state(run_id="r", number=2, status="running")]).result()
    later.append([events.run_state(run_id="r", number=3, status="completed", spent={"acme": Decimal(3)})]).result()

    def told(of):
        return of.read(queries.runs)["status"].tolist(), of.catalog().providers["acme"].balance, of.catalog().settings

    assert told(later) == (["completed"], Decimal(7), {"colour": "red"})
    later.close()
    store.path.unlink()
    again = Store(store.path)
    assert told(again) == (["completed"], Decimal(7), {"colour": "red"})
    again.close()


def test_a_run_made_after_the_clock_went_back_is_the_newest(store):  # noqa: F811
    """By the order of the journal; also when the database is made again."""
    for run_id, at in (("first", "2026-12-01"), ("second", "2026-11-30")):
        how = {"name": None, "kind": "probe", "simulated": False, "settings": {}, "estimate": None}
        lines = [*events.run(run_id=run_id, scenarios=[], models=[], samples=1, **how)]
        lines[-1]["at"] = f"{at}T00:00:00+00:00"
        store.append(lines).result()
    assert store.read(queries.runs)["run_id"].tolist() == ["second", "first"]
    store.close()
    store.path.unlink()
    again = Store(store.path)
    assert again.read(queries.runs)["run_id"].tolist() == ["second", "first"]
    again.close()


def test_lines_that_a_later_version_knows_are_applied_then(store, monkeypatch):  # noqa: F811
    """A version that knows no skipping sets such lines aside and reads all others; the next one applies them."""
    with monkeypatch.context() as earlier:
        earlier.setattr(apply_runs, "TYPES", apply_runs.TYPES - {"skip"})
        run_a_little(store)
        skip = events.skip(run_id="r1", session=0, reference="acme", code="AUTH_ERROR", message="no")
        with pytest.warns(UserWarning, match="1 line of the journal"):
            store.append([skip, events.run_state(run_id="r1", number=2, status="completed")]).result()
            assert store.read(queries.runs)["status"].tolist() == ["completed"]
        store.close()
        assert shown(store.path)[0] == ["r1"]
    later = Store(store.path)
    assert later.query("SELECT count(*) AS n FROM journal_quarantine")["n"].tolist() == [0]
    assert later.query("SELECT error_code FROM run_skips")["error_code"].tolist() == ["AUTH_ERROR"]
    later.close()

"""The store: one catalog for many processes, and a database that can be lost."""

import contextlib
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from decimal import Decimal

import duckdb
import pytest

from llmkit.errors import CatalogBusy, CatalogTooNew, ValidationError
from llmkit.records import DatedPrice, Model, Price, Provider
from llmkit.store import Store, events, project, queries
from llmkit.store.lease import Lease

PROVIDER = Provider(name="acme", display_name="Acme", wire="openai_chat", base_url="http://127.0.0.1:1/v1")


def model(name: str, **fields) -> Model:
    """A model of Acme at a price."""
    price = Price(cost_input_per_million=Decimal("1.5"), cost_output_per_million=Decimal("2"))
    return Model(provider="acme", model_id=name, display_name=name, price=price, **fields)


@pytest.fixture
def store(tmp_path):
    """A store with one provider and two models."""
    store = Store(tmp_path / "k.duckdb")
    with store.edit() as edit:
        edit.put_provider(PROVIDER, "add")
        edit.put_model(model("a", is_default=True), "add")
        edit.put_model(model("b"), "add")
    yield store
    store.close()


def test_an_edit_is_read_back_with_every_field(store):
    """Records come back as they were put, with ids and times."""
    with store.edit() as edit:
        put = edit.put_model(model("c", retires_on=None, api_config={"wire": "gemini", "rejects": ["seed"]}), "add")
        edit.add_price(DatedPrice(reference="acme:c", valid_from=None, price=put.price, source="test"))
        edit.put_setting("answer", {"is": 42})
    state = store.catalog()
    assert state.models["acme:c"].to_row() == replace(put, price=state.models["acme:c"].price).to_row()
    assert state.models["acme:c"].price.cost_input_per_million == Decimal("1.5")
    assert state.prices["acme:c"][0].source == "test"
    assert state.settings == {"answer": {"is": 42}}
    assert [model.id for model in state.models.values()] == [1, 2, 3]


def test_nothing_of_a_failing_edit_is_written(store):
    """When the block raises, neither the journal nor the database holds any of it."""
    before = store.journal.sizes()

    def fail() -> None:
        with store.edit() as edit:
            edit.put_model(model("c"), "add")
            raise ZeroDivisionError

    pytest.raises(ZeroDivisionError, fail)
    assert store.journal.sizes() == before
    assert "acme:c" not in store.catalog().models


def test_the_default_can_move_within_one_edit(store):
    """The database allows one default a provider, and lets it move."""
    with store.edit() as edit:
        edit.put_model(replace(edit.state.models["acme:b"], is_default=True), "default")
        edit.put_model(replace(edit.state.models["acme:a"], is_default=False), "default")
    assert [m.model_id for m in store.catalog().models.values() if m.is_default] == ["b"]
    with pytest.raises(duckdb.ConstraintException), store._lease.hold(exclusive=True):
        with store._lease.connect(read_only=False) as connection:
            connection.execute("UPDATE llm_models SET is_default = true")


def test_each_change_is_an_event_with_before_and_after(store):
    """The catalog's history says who changed what, from what, to what."""
    with store.edit(actor="ada") as edit:
        edit.put_model(replace(edit.state.models["acme:a"], display_name="Alpha"), "update_model")
    last = store.catalog_events("acme:a").iloc[-1]
    assert (last["actor"], last["action"], last["entity"]) == ("ada", "update_model", "model")
    assert last["before"]["display_name"] == "a"
    assert last["after"]["display_name"] == "Alpha"


def _edit_many(path, worker: int, count: int) -> None:
    store = Store(path)
    for index in range(count):
        with store.edit(actor=f"w{worker}") as edit:
            counter = edit.state.settings.get("counter", 0)
            edit.put_setting("counter", counter + 1)
            edit.put_setting(f"w{worker}.{index}", index)
    store.close()


def test_edits_of_several_processes_are_all_kept(store):
    """Edits are exclusive over processes: a counter that all increment counts them all."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_edit_many, args=(store.path, worker, 15)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    settings = store.catalog().settings
    assert settings["counter"] == 45
    assert len(settings) == 46


def test_edits_of_several_threads_are_all_kept(store):
    """The same within one process."""
    threads = [threading.Thread(target=_edit_many, args=(store.path, worker, 10)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.catalog().settings["counter"] == 30


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _garbage(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def _flip(path):
    data = bytearray(path.read_bytes())
    generator = random.Random(1)
    for _ in range(200):
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncate, _garbage, _flip])
def test_a_damaged_database_is_rebuilt_from_the_journal(store, damage):
    """Every row is there again, the damaged file is kept aside, and the user is told in a sentence."""
    run_a_little(store)
    before = store.catalog(), store.read(queries.runs).to_dict()
    store.close()
    damage(store.path)
    with pytest.warns(UserWarning, match="was damaged .* rebuilt from its journal"):
        again = Store(store.path)
        after = again.catalog(), again.read(queries.runs).to_dict()
    assert str(after) == str(before)
    assert len(list(store.path.parent.glob("*.corrupt-*"))) == 1
    again.close()


def run_a_little(store, run_id="r1", spent=Decimal("0.25")) -> None:
    """A run of six probes that was cancelled at once, after it had spent something."""
    with store.edit() as edit:
        edit.set_balance("acme", Decimal(10))
    models = [store.catalog().models["acme:a"].to_row()]
    scenarios = [
        {"scenario_id": f"s{n}", "prompt": "p", "system": None, "followups": [], "dimensions": {"x y": n}}
        for n in range(3)
    ]
    lines = events.run(
        run_id=run_id, name="n", kind="probe", simulated=False, settings={}, scenarios=scenarios, models=models,
        samples=2, estimate=None,
    )  # fmt: skip
    store.append([*lines]).result()
    store.append([events.run_state(run_id=run_id, number=1, status="cancelled", spent={"acme": spent})]).result()


def test_a_run_of_many_scenarios_is_written_in_parts(store):
    """Each part may be on disk before the next is made; together they are all scenarios, in their order."""
    scenarios = ({"scenario_id": f"s{number}", "prompt": f"p{number}", "dimensions": {}} for number in range(250))
    models = [{"provider": "acme", "model_id": "m"}]
    for each in events.run(
        run_id="r9", name=None, kind="probe", simulated=False, settings={}, scenarios=scenarios, models=models,
        samples=1, estimate=None,
    ):  # fmt: skip
        store.append([each]).result()
    probes = store.read(lambda c: queries.table(c, "probes", "r9", ("position",)))
    assert list(probes["prompt"]) == [f"p{number}" for number in range(250)]


def test_a_run_has_a_row_for_every_probe_from_the_start(store):
    """Scenarios × models × samples rows, whatever happens afterwards."""
    run_a_little(store)
    probes = store.read(lambda c: queries.table(c, "probes", "r1", ("position",)))
    assert len(probes) == 6
    assert list(probes["sample"]) == [1, 2] * 3
    assert set(probes["status"]) == {"cancelled"}
    assert [row["x y"] for row in probes["dimensions"]] == [0, 0, 1, 1, 2, 2]


def test_what_a_run_spent_is_deducted_once(store):
    """Applying the journal again, or rebuilding, does not deduct twice."""
    run_a_little(store)
    for _ in range(3):
        store.sync()
    assert store.catalog().providers["acme"].balance == Decimal("9.75")
    with store.edit() as edit:  # an edit of limits must not bring an older balance back
        edit.put_provider(replace(edit.state.providers["acme"], requests_per_minute=7, balance=Decimal(99)), "update")
    assert store.catalog().providers["acme"].balance == Decimal("9.75")
    store.close()
    store.path.unlink()
    assert Store(store.path).catalog().providers["acme"].balance == Decimal("9.75")


def test_amounts_of_earlier_versions_and_of_this_one_add_up(store):
    """Earlier lines say what was new since the one before, later ones also what a run has spent in all; whoever writes
    one again, in ignorance of the others, changes nothing.
    """
    run_a_little(store, spent=Decimal(1))
    for amount in ("2", "3"):
        [line] = [events.run_state(run_id="r1", status="running", spent={"acme": Decimal(amount)})]
        del line["spent_so_far"]
        store.append([line]).result()
    for so_far in ("5", "7", "6"):
        store.append([events.run_state(run_id="r1", status="running", spent={"acme": Decimal(so_far)})]).result()
    assert store.catalog().providers["acme"].balance == 3
    with store.edit() as edit:
        edit.set_balance("acme", Decimal(20))
    for so_far in ("7", "9", "8"):
        store.append([events.run_state(run_id="r1", status="running", spent={"acme": Decimal(so_far)})]).result()
    assert store.catalog().providers["acme"].balance == 18


def test_an_outside_holder_is_named_and_reading_goes_on(store):
    """Another program's open connection stops edits with its process id; reading answers from the journal."""
    run_a_little(store)
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(CatalogBusy, match=f"process {holder.pid}") as caught, store.edit():
            pass
        assert caught.value.pid == holder.pid
        assert caught.value.retryable
        assert store.catalog().models.keys() == {"acme:a", "acme:b"}
        assert len(store.read(queries.runs)) == 1
        Store(store.path).close()
    finally:
        holder.communicate("")
    with store.edit() as edit:
        edit.put_setting("free", True)


def test_a_connection_in_this_very_process_is_named_too(store):
    """A duckdb.connect in the same notebook gives the same error, with this process's id."""
    connection = duckdb.connect(store.path)
    with pytest.raises(CatalogBusy, match="this very process") as caught, store.edit():
        pass
    assert caught.value.pid == os.getpid()
    connection.close()


def test_a_newer_database_is_refused(store):
    """A file of a newer llmkit is left alone."""
    with store._lease.hold(exclusive=True), store._lease.connect(read_only=False) as connection:
        connection.execute("INSERT INTO migrations VALUES (999, 'future', NULL)")
    with pytest.raises(CatalogTooNew, match=r"format 999.*Upgrade llmkit"):
        Store(store.path)


def test_an_older_database_is_migrated(store, monkeypatch):
    """A file that has had fewer steps gets the missing ones, and keeps its rows."""
    from llmkit.store import migrations

    def add_colour(connection):
        connection.execute("ALTER TABLE llm_models ADD COLUMN colour VARCHAR DEFAULT 'red'")

    monkeypatch.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, "add_colour": add_colour})
    again = Store(store.path)
    assert list(again.query("SELECT DISTINCT colour FROM llm_models")["colour"]) == ["red"]
    assert len(again.catalog().models) == 2


def test_sql_is_read_only_and_stays_inside(store):
    """A user's SELECT gets a DataFrame; writing or reaching for other files gets a sentence."""
    assert store.query("SELECT model_id FROM llm_models WHERE id = ?", [1])["model_id"].tolist() == ["a"]
    for statement in (
        "DELETE FROM llm_models",
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY llm_models TO '/tmp/stolen.csv'",
        "SET enable_external_access = true",
        "ATTACH '/tmp/other.duckdb'",
        "SELEC 1",
        "",
    ):
        with pytest.raises(ValidationError, match="query failed"):
            store.query(statement)
    assert len(store.catalog().models) == 2


def test_a_snapshot_is_the_users_own(store):
    """A snapshot can be changed and shares nothing with the catalog."""
    copy = store.snapshot()
    copy.execute("DELETE FROM llm_models")
    assert len(store.catalog().models) == 2
    copy.close()


def test_the_database_is_for_this_user_only(store):
    """The file, its log and its lock are 0600."""
    files = [file for file in store.path.parent.iterdir() if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_two_databases_at_work_at_once_leave_other_files_as_they_are(tmp_path):
    """The one that began first ends first; what the process creates afterwards is not for this user only."""
    before = os.umask(0o022)
    try:
        with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
            for name, stack in (("a", first), ("b", second)):
                lease = Lease(tmp_path / f"{name}.duckdb")
                stack.enter_context(lease.hold(exclusive=True))
                stack.enter_context(lease.connect(read_only=False))
            first.close()
        (tmp_path / "notes.txt").touch()
        assert (tmp_path / "notes.txt").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_who_runs_is_known_over_processes(store):
    """A run is live while its process is; afterwards another may take it up."""
    program = (
        "import sys; from pathlib import Path; from llmkit.store import Store\n"
        "store = Store(Path(sys.argv[1])); print(store.claim_run('r9'), flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "True\n"
    assert store.is_live("r9")
    assert not store.claim_run("r9")
    holder.kill()
    holder.wait()
    assert not store.is_live("r9")
    assert store.claim_run("r9")
    holder.stdin.close()
    holder.stdout.close()


def test_costs_are_exact_over_a_million_rows(store):
    """SQL sums DECIMAL: a million tenths of a nano-dollar make exactly what Decimal makes of them."""
    amount = Decimal("0.0000000001")
    found = store.query("SELECT (sum(0.0000000001::DECIMAL(18, 10)) * 10000000000)::BIGINT AS s FROM range(1000000)")
    assert int(found["s"][0]) == 1_000_000 * amount / amount


def _waiting(store) -> int:
    """How many segments hold what is still in the journal only."""
    with store._lease.hold(exclusive=True), store._lease.connect(read_only=True) as connection:
        return len(project.behind(connection, store.journal))


def test_the_catalog_is_read_and_edited_without_applying_what_runs_did(store):
    """In the middle of a run of another kernel an edit takes no longer; the run's events wait until they are asked for.

    What changes the catalog is applied at once, and so is what a run spent.
    """
    other = Store(store.path)
    lines = events.run(
        run_id="r7", name=None, kind="probe", simulated=False, settings={}, samples=1, estimate=None, models=[],
        scenarios=[],
    )  # fmt: skip
    other.append([*lines]).result()
    with store.edit() as edit:
        edit.put_setting("x", 1)
        edit.set_balance("acme", Decimal(5))
    assert _waiting(store) == 1
    assert other.catalog().settings == {"x": 1}
    assert len(other.read(queries.runs)) == 1
    assert _waiting(store) == 0
    other.append([events.run_state(run_id="r7", number=1, status="completed", spent={"acme": Decimal(2)})]).result()
    assert store.catalog().providers["acme"].balance == Decimal(3)
    other.close()


def test_a_users_sql_cannot_write_while_the_journal_is_ahead(store):
    """The connection that brings the database up to date is not the one that a user's statement gets."""
    other = Store(store.path)
    run_a_little(other)
    with pytest.raises(ValidationError, match="query failed"):
        store.query("DELETE FROM llm_models")
    assert len(store.catalog().models) == 2
    other.close()


def test_a_damaged_part_is_found_when_it_is_read(store):
    """A file that opens and does not read is rebuilt as well, while the question is answered."""
    run_a_little(store)
    before = store.read(lambda c: queries.table(c, "probes", "r1", ("position",)))
    _flip(store.path)
    with pytest.warns(UserWarning, match="rebuilt from its journal"):
        after = store.read(lambda c: queries.table(c, "probes", "r1", ("position",)))
    assert after.equals(before)


@pytest.mark.parametrize("kind", ["text", "csv", "sqlite", "runs", "migrations"])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path, kind):
    """Whatever somebody names by mistake, notes or another database, stays as it is, and the error says so."""
    path = tmp_path / f"mine.{kind}"
    if kind in ("text", "csv"):
        path.write_text("a,b\n1,2\n" * 5_000)
    elif kind == "sqlite":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE notes (text)")
    else:
        with duckdb.connect(path) as connection:
            connection.execute(f"CREATE TABLE {kind} (x INTEGER)")
    before = path.read_bytes()
    with pytest.raises(ValidationError, match="file"):
        Store(path)
    assert path.read_bytes() == before


def test_looking_whether_a_run_is_live_disturbs_nobody(store):
    """However many look at once, a dead run is dead to each of them, and can be taken up meanwhile."""
    store.claim_run("r")
    store.peers._mine.pop("r").close()  # as if the process had died: the file stays, the lock is gone
    others = [Store(store.path) for _ in range(4)]
    answers, over = [], threading.Event()

    def look(other):
        while not over.is_set():
            answers.append(other.is_live("r"))

    threads = [threading.Thread(target=look, args=(other,)) for other in others[:3]]
    for thread in threads:
        thread.start()
    while len(answers) < 1_000:
        pass
    over.set()
    for thread in threads:
        thread.join()
    assert not any(answers)
    assert others[3].claim_run("r")
    assert others[0].is_live("r")


def test_closing_waits_for_what_other_threads_read(store):
    """A panel that reads while its notebook closes the kit gets its answer."""
    failures = []

    def read_on() -> None:
        try:
            for _ in range(20):
                store.read(queries.runs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
            failures.append(error)

    readers = [threading.Thread(target=read_on) for _ in range(2)]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        store.close()
    assert failures == []

"""A database of somebody else is data: it reads and writes no file, and runs nothing when it is opened."""

import os
import time

import duckdb
import pytest

import llmkit
from llmkit.store.lease import Lease

SECRET = "of-the-neighbour"
READS = "SELECT * FROM read_text('{secret}')"

INTRUDERS = {
    "a view": ("evil", f"CREATE VIEW evil AS {READS}"),
    "a view in a schema": ("evil", f"CREATE SCHEMA s; CREATE VIEW s.evil AS {READS}"),
    "a view of ours": ("probe_states", f"CREATE OR REPLACE VIEW probe_states AS {READS}"),
    "a view for a table": (
        "system_settings",
        f"ALTER TABLE system_settings RENAME TO old; CREATE VIEW system_settings AS {READS}",
    ),
    "a view that never ends": ("turns", "CREATE OR REPLACE VIEW turns AS SELECT count(*) FROM range(1000000000000)"),
    "a macro": ("max_by", f"CREATE MACRO max_by(a, b) AS (SELECT content FROM ({READS}))"),
    "a table macro": ("duckdb_functions", f"CREATE MACRO duckdb_functions() AS TABLE {READS}"),
    "a macro of a name in SQL": ('"; DROP TABLE runs', 'CREATE MACRO """; DROP TABLE runs"() AS 1'),
}


@pytest.fixture(scope="module")
def study(shipped_catalog, copy_catalog, tmp_path_factory):
    """A folder with a run, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("study")
    copy_catalog(shipped_catalog, folder)
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        kit.run("hello", "openai:gpt-6-luna").result(60)
    return folder


@pytest.fixture
def place(study, copy_catalog, tmp_path):
    """A folder with a database, and a file beside it that nobody asked for."""
    copy_catalog(study, tmp_path)
    (tmp_path / "secret.txt").write_text(SECRET)
    return tmp_path


def put(place, sql):
    """What the other one did to the database before it was passed on."""
    with duckdb.connect(place / "k.duckdb") as connection:
        connection.execute(sql.replace("{secret}", str(place / "secret.txt")))


@pytest.mark.parametrize("kind", INTRUDERS)
@pytest.mark.parametrize("marked", [True, False])
def test_what_would_run_is_refused_by_name(place, kind, marked):
    """Before anything is asked of it, with the mark of the last writer or without; dropped, the database opens."""
    name, sql = INTRUDERS[kind]
    put(place, sql)
    if not marked:
        (place / "k.duckdb.lock").unlink()
    began = time.process_time()
    with pytest.raises(llmkit.ValidationError, match="which llmkit did not create") as refused:
        llmkit.open(place / "k.duckdb", simulate=True)
    assert name in str(refused.value)
    assert time.process_time() - began < 2


def test_the_mark_of_somebody_else_does_not_count(place, monkeypatch, tmp_path):
    """Another user's llmkit, changed to wave the view through, marks the database; here it is refused all the same."""
    put(place, f"CREATE VIEW evil AS {READS}")
    lease = Lease(place / "k.duckdb")
    with monkeypatch.context() as patch, lease.hold(exclusive=True):
        patch.setenv("LLMKIT_CONFIG_DIR", str(tmp_path / "another user"))
        lease.leave()
    with monkeypatch.context() as patch, (again := Lease(place / "k.duckdb")).hold(exclusive=False):
        assert not again.is_as_left
        patch.setenv("LLMKIT_CONFIG_DIR", str(tmp_path / "another user"))
        assert again.is_as_left
    with pytest.raises(llmkit.ValidationError, match="'evil'"):
        llmkit.open(place / "k.duckdb", simulate=True)


def test_time_put_back_is_noticed(place):
    """A file changed in place, of the same size and with its old time, is searched like any changed file."""
    with llmkit.open(place / "k.duckdb", simulate=True) as kit:
        kit.runs()
        before = (place / "k.duckdb").stat()
        put(place, f"CREATE VIEW evil AS {READS}")
        os.truncate(place / "k.duckdb", before.st_size)
        os.utime(place / "k.duckdb", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (place / "k.duckdb").stat().st_size == before.st_size
        with pytest.raises(llmkit.ValidationError, match="'evil'"):
            kit.runs()


def test_what_is_put_in_while_a_kit_is_open_is_refused(place):
    """Reading, SQL of the user's, the copy for the user and edits: none of them comes near it."""
    with llmkit.open(place / "k.duckdb", simulate=True) as kit:
        kit.runs()
        put(place, f"CREATE VIEW evil AS {READS}")
        for ask in (kit.runs, kit.snapshot, kit.catalog.models, lambda: kit.sql("FROM evil")):
            with pytest.raises(llmkit.ValidationError, match="'evil'"):
                ask()
        with pytest.raises(llmkit.ValidationError, match="'evil'"):
            kit.catalog.update_provider("openai", requests_per_minute=7)
        put(place, "DROP VIEW evil")
        assert len(kit.runs()) == 1


def test_our_own_views_are_made_again(place):
    """Whoever drops one that was replaced has a database as before."""
    put(place, "DROP VIEW probe_states CASCADE")
    with llmkit.open(place / "k.duckdb", simulate=True) as kit:
        assert len(kit.last_run().probes) == 1


def test_names_of_tables_are_no_sql(place):
    """A table whose name is a statement is copied like any other, and nothing is written."""
    out = place / "out.csv"
    name = f"x; COPY (SELECT 42) TO '{out}'; --"
    put(
        place,
        f"""CREATE TABLE "{name}" AS SELECT 42 AS n; CREATE TABLE "a""b" (n INTEGER); CREATE SCHEMA "s'";
        CREATE TABLE "s'".probes (n INTEGER)""",
    )
    with llmkit.open(place / "k.duckdb", simulate=True) as kit, kit.snapshot() as copy:
        assert copy.execute(f'FROM "{name}"').fetchall() == [(42,)]
        assert len(kit.last_run().probes) == 1
    assert not out.exists()


def test_other_types_are_said_and_nothing_hangs(place):
    """A column that cannot hold what the journal says sets those lines aside, and all else is read."""
    put(place, "ALTER TABLE system_settings DROP updated_at; ALTER TABLE system_settings ADD updated_at INTEGER")
    began = time.process_time()
    with pytest.warns(UserWarning, match="set aside"), llmkit.open(place / "k.duckdb", simulate=True) as kit:
        assert len(kit.last_run().probes) == 1
    assert time.process_time() - began < 4


def test_a_table_that_is_not_ours_is_said_in_a_sentence(place):
    """A table of our name with other columns gives the file's name and what to do, not a traceback of DuckDB."""
    put(place, "DROP VIEW attempts; ALTER TABLE runs RENAME status TO state")
    with pytest.raises(llmkit.ValidationError, match=r"k\.duckdb is not as llmkit created it"):
        llmkit.open(place / "k.duckdb", simulate=True)


def test_the_engine_reaches_no_other_file(place):
    """Not even a view that came in unseen could read beside the database, or change what it may reach."""
    with llmkit.open(place / "k.duckdb", simulate=True) as kit:
        for sql in (f"FROM read_text('{place / 'secret.txt'}')", "SET allowed_paths = ['/etc/passwd']"):
            with pytest.raises(llmkit.ValidationError, match="not as llmkit created it"):
                kit._store.read(lambda connection, sql=sql: connection.execute(sql).fetchall())
        assert len(kit.runs()) == 1

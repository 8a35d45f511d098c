"""Several databases with one catalog: every edit is everywhere, and none is made that others do not follow."""

import subprocess

import pytest
from same_tables import assert_same_tables
from waiting import until

import llmkit
from llmkit.cli import main

EDITOR = """
import sys
import llmkit

path, url, name, edits = sys.argv[1:]
with llmkit.open(path, actor=name, team=url) as kit:
    print("open", flush=True)
    sys.stdin.readline()
    for turn in range(int(edits)):
        new = f"openai:{name}-{turn}"
        kit.catalog.add_model(new, cost_input_per_million=turn, cost_output_per_million=1, set_as_default=turn % 2 == 1)
"""
TABLES = ("llm_providers", "llm_models", "llm_model_prices", "system_settings", "catalog_events")


def assert_equal(kits):
    """The databases of all these kits hold the same catalog, and set nothing aside."""
    assert_same_tables(kits, TABLES)
    for kit in kits:
        assert kit.sql("SELECT * FROM journal_quarantine").empty


@pytest.mark.parametrize("edits", [15, pytest.param(50, marks=pytest.mark.soak)])
def test_edits_of_four_members_are_everywhere(url, member, python, tmp_path, edits):
    """Four processes with four files edit at once: no edit is lost, there is one default, and all files are equal."""
    names = ("a", "bb", "ccc", "dddd")
    before = len(member("founder").catalog.history())
    editors = [
        subprocess.Popen(
            [*python, "-c", EDITOR, tmp_path / f"{name}.duckdb", url, name, str(edits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    try:
        assert [editor.stdout.readline() for editor in editors] == ["open\n"] * 4
        for editor in editors:
            editor.stdin.write("go\n")
            editor.stdin.flush()
        assert [editor.wait(timeout=240) for editor in editors] == [0] * 4
    finally:
        for editor in editors:
            editor.kill()
            editor.communicate()
    kits = [member("founder"), *(member(name) for name in names)]
    assert_equal(kits)
    history = kits[0].catalog.history().iloc[before:]
    assert history["edit_id"].nunique() == len(names) * edits
    assert history.groupby("actor")["edit_id"].nunique().to_dict() == dict.fromkeys(names, edits)
    models = kits[0].catalog.models("openai")
    assert models["is_default"].sum() == 1
    assert sum(models["model_id"].str.startswith(f"{name}-").sum() for name in names) == len(names) * edits
    assert models["id"].is_unique


def test_an_edit_is_there_for_the_next_member_who_edits(member):
    """Nobody edits a catalog that a colleague has changed meanwhile; who reads has it a second later."""
    anna, ben = member("anna"), member("ben")
    anna.catalog.add_model("openai:new", cost_input_per_million=1, cost_output_per_million=2)
    with pytest.raises(llmkit.ValidationError, match="already"):
        ben.catalog.add_model("openai:new", cost_input_per_million=3, cost_output_per_million=4)
    ben.catalog.set_default_model("openai:new")
    assert until(lambda: anna.catalog.defaults()["openai"].model_id == "new")
    assert list(anna.catalog.history("openai:new")["actor"]) == ["anna", "anna", "ben"]


def test_a_file_with_a_catalog_of_its_own_founds_a_team_and_joins_no_other(url, member, tmp_path):
    """The first one gives what it has, runs included; a second one is refused, and stays as it was."""
    for name in ("first", "second"):
        with llmkit.open(tmp_path / f"{name}.duckdb", simulate=True) as kit:
            kit.run("What is fair?", "openai:gpt-6-luna", name=name).result(60)
    first = member("first")
    assert list(member("newcomer").runs()["name"]) == ["first"]
    with pytest.raises(llmkit.ValidationError, match="not the one of this team"):
        member("second")
    with llmkit.open(tmp_path / "second.duckdb") as kit:
        assert list(kit.runs()["name"]) == ["second"]
    assert list(first.runs()["name"]) == ["first"]


def test_who_leaves_works_on_with_what_was_received(url, member, tmp_path):
    """Without team= the file is complete; edited outside the team it does not come back, but its runs do."""
    anna, ben = member("anna"), member("ben")
    anna.catalog.add_model("openai:new", cost_input_per_million=1, cost_output_per_million=2)
    assert until(lambda: "openai:new" in set(ben.catalog.models()["model"]))
    ben.close()
    with llmkit.open(tmp_path / "ben.duckdb", simulate=True) as alone:
        alone.run("Alone?", "openai:gpt-6-luna", name="alone").result(60)
    member("ben").close()
    assert until(lambda: list(anna.runs()["name"]) == ["alone"])
    with llmkit.open(tmp_path / "ben.duckdb", simulate=True) as alone:
        alone.catalog.set_default_model("openai:new")
    member("ben").close()  # nobody has edited since: his edit is the latest
    assert until(lambda: anna.catalog.defaults()["openai"].model_id == "new")
    with llmkit.open(tmp_path / "ben.duckdb", simulate=True) as alone:
        alone.catalog.deprecate_model("openai:new")
    anna.catalog.set_balance("openai", 5)
    with pytest.raises(llmkit.ValidationError, match="edited outside the team"):
        member("ben")


def test_undo_takes_back_the_last_change_there_is(member, monkeypatch):
    """Also a colleague's that has not arrived here yet."""
    monkeypatch.setattr("llmkit.team.membership.BEAT", 3_600)  # so that nothing arrives but for an edit
    anna, ben = member("anna"), member("ben")
    anna.catalog.set_setting("colour", "red")
    ben.catalog.set_setting("shape", "round")
    assert anna.catalog.undo() == ("shape",)
    assert anna.catalog.undo() == ("colour",)
    with pytest.raises(llmkit.ValidationError, match="no change to undo"):
        anna.catalog.undo()


def test_a_team_made_anew_gets_the_catalog_of_its_members_again(server, url, member):
    """Its database is dropped and prepared again while members are at work: no edit is lost, before or after."""
    anna, ben = member("anna"), member("ben")
    anna.catalog.set_setting("colour", "red")
    assert until(lambda: "colour" in set(ben.catalog.settings()["key"]))
    server.drop(url)
    assert until(lambda: not ben.team()["is_on"].any())
    server.database(url.rpartition("/")[2])
    assert main(["team", "init", url]) == 0
    assert until(lambda: anna.team()["is_on"].all() and ben.team()["is_on"].all())
    for kit, setting in ((anna, "shape"), (ben, "size")):
        kit.catalog.set_setting(setting, "new")
        assert kit.catalog.get_setting(setting) == "new"
    ours = {"colour", "shape", "size"}
    assert until(lambda: all(ours <= set(kit.catalog.settings()["key"]) for kit in (anna, ben)))
    assert_equal([anna, ben, member("newcomer")])


def test_what_is_changed_with_sql_is_an_edit_of_the_team(member, tmp_path):
    """A change by plain SQL is recorded under the team's lock, and reaches the others."""
    import duckdb

    anna, ben = member("anna"), member("ben")
    with duckdb.connect(tmp_path / "ben.duckdb") as plain:
        plain.execute("UPDATE llm_providers SET display_name = 'Renamed' WHERE name = 'openai'")
    assert ben.catalog.provider("openai").display_name == "Renamed"
    assert until(lambda: anna.catalog.provider("openai").display_name == "Renamed")
    assert_equal([anna, ben])

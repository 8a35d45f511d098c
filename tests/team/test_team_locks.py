"""What protects a team where sessions are not what they seem: those of a pooler, or of a suspended machine."""

import shutil
import threading

import psycopg
import pytest
from same_tables import assert_same_tables
from waiting import until

import llmkit
from llmkit.team import address
from llmkit.team.address import PARTS, ROLL, Address

pooler = pytest.mark.skipif(
    shutil.which("pgbouncer", path="/usr/sbin:/usr/bin") is None, reason="PgBouncer is not installed (apt)."
)


@pooler
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_may_give_each_transaction_another_session(server, url, member, mode):
    """Two members edit at once and run: nothing is refused or lost, and no lock is left behind."""
    with server.pooled(url, mode) as pooled:
        kits, refused = [member(name, team=pooled) for name in ("anna", "ben")], []

        def edit(number, kit):
            try:
                for turn in range(6):
                    reference = f"openai:new{number}-{turn}"
                    kit.catalog.add_model(reference, cost_input_per_million=1, cost_output_per_million=1)
            except llmkit.LlmkitError as error:
                refused.append(error)

        threads = [threading.Thread(target=edit, args=each) for each in enumerate(kits)]
        for thread in threads:
            thread.start()
        for kit in kits:
            kit.run("What is fair?", "openai:gpt-6-luna").result(60)
        for thread in threads:
            thread.join()
        assert not refused
        assert until(lambda: len(kits[0].runs()) == 2 and kits[0].runs().equals(kits[1].runs()))
        assert until(lambda: kits[0].catalog.history().equals(kits[1].catalog.history()))
        assert_same_tables(kits, ["llm_models", "catalog_events", "runs"])
        for kit in kits:
            kit.close()
        with psycopg.connect(url) as session:
            assert session.execute("SELECT * FROM pg_locks WHERE locktype = 'advisory'").fetchall() == []


@pooler
def test_a_pooler_without_transactions_is_refused(server, url, tmp_path):
    """Nothing could be locked there; the error names the pooler's mode and the address."""
    with server.pooled(url, "statement") as pooled, pytest.raises(llmkit.CatalogBusy) as refused:
        llmkit.open(tmp_path / "k.duckdb", team=pooled)
    assert "not allowed in statement pooling mode. Check its address" in str(refused.value)


@pytest.mark.parametrize("held", [ROLL, PARTS])
def test_a_machine_that_is_suspended_keeps_nobody_waiting(url, member, monkeypatch, held):
    """A laptop is closed while it holds a lock: its transaction is ended, and the others exchange again."""
    monkeypatch.setattr(address, "STALL", 1)
    anna, ben = member("anna"), member("ben")
    with pytest.raises(psycopg.Error, match="idle-in-transaction"), Address(url).session() as suspended:
        suspended.hold(held)
        run = anna.run("What is fair?", "openai:gpt-6-luna").result(60)
        assert until(lambda: run.id in ben.runs()["run_id"].tolist())
    assert until(lambda: anna.team()["is_on"].all())
    anna.catalog.set_balance("openai", 5)


def test_an_edit_that_is_suspended_keeps_nobody_waiting(url, member, monkeypatch):
    """It is refused when the machine is back, as a colleague may have edited meanwhile."""
    monkeypatch.setattr(address, "STALL_OF_EDITS", 1)
    anna, ben = member("anna"), member("ben")
    with pytest.raises(llmkit.CatalogBusy, match="idle-in-transaction"), anna._store.edit("anna") as edit:
        ben.catalog.set_balance("openai", 5)
        edit.put_setting("colour", "red")
    anna.catalog.set_setting("colour", "red")
    assert until(lambda: anna.catalog.history().equals(ben.catalog.history()))

"""A user's own duckdb.connect on the file, in another program, while a run goes on."""

import contextlib
import subprocess
import sys

import pytest

import llmkit

MODEL = "openai:gpt-6-luna"


@contextlib.contextmanager
def holder(path):
    """Another program that has the database open; yields its process."""
    program = (  # llmkit may have it open at that instant
        "import duckdb, sys\n"
        "for _ in range(1000):\n"
        "    try: c = duckdb.connect(sys.argv[1])\n"
        "    except duckdb.IOException: continue\n"
        "    break\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.communicate("")


def test_a_run_goes_on_while_another_program_holds_the_database(kit, sim):
    """It completes into the journal; edits say who holds the file; afterwards the database has everything."""
    sim.set(latency=0.02)
    handle = kit.run([f"question {n}" for n in range(150)], MODEL)
    assert sim.wait_until(lambda: sim.count("ok") >= 5, timeout=60)
    with holder(kit.path) as process:
        with pytest.raises(llmkit.CatalogBusy, match=f"process {process.pid}") as busy:
            kit.catalog.update_model(MODEL, cost_input_per_million=1)
        assert busy.value.pid == process.pid
        assert busy.value.retryable
        run = handle.result(120)
        assert run.status == "completed"
        assert set(run.probes["status"]) == {"ok"}
        assert len(run.turns) == 150
        while_held = run.total_cost
        second = kit.run("one more", MODEL).result(60)
        assert second.probes["status"].tolist() == ["ok"]
    kit.catalog.update_model(MODEL, cost_input_per_million=1)
    assert len(kit.runs()) == 2
    assert run.total_cost == while_held
    kit.close()
    with llmkit.open(kit.path, simulate=True) as again:
        stored = again.sql("SELECT count(*) AS n FROM turns WHERE run_id = ?", [run.id])
        assert stored["n"].tolist() == [150]


def test_a_catalog_can_be_opened_while_another_program_holds_it(catalog, sim):
    """Opening, looking and asking work from the journal; nothing waits for the other program."""
    with holder(catalog), llmkit.open(catalog, simulate=True) as kit:
        kit.use_simulator(sim)
        assert MODEL in set(kit.catalog.models()["model"])
        assert kit.run("hello", MODEL).result(60).probes["status"].tolist() == ["ok"]
    with llmkit.open(catalog, simulate=True) as kit:
        assert kit.runs()["ok"].tolist() == [1]

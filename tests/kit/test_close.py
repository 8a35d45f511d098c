"""A closed kit says that it is closed, whatever it is asked; its results stay readable."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import llmkit

LUNA = "openai:gpt-6-luna"

CALLS = [
    lambda kit: kit.run("a", LUNA),
    lambda kit: kit.estimate("a", LUNA),
    lambda kit: kit.resume("x"),
    lambda kit: kit.load("x"),
    lambda kit: kit.last_run(),
    lambda kit: kit.runs(),
    lambda kit: kit.costs(),
    lambda kit: kit.calibration(),
    lambda kit: kit.sql("SELECT 1"),
    lambda kit: kit.snapshot(),
    lambda kit: kit.simulated,
    lambda kit: kit.team(),
    lambda kit: kit.expand("cities"),
    lambda kit: kit.summarize("x"),
    lambda kit: kit.code("x", ["a"]),
    lambda kit: kit.models_panel(),
    lambda kit: kit.providers_panel(),
    lambda kit: kit.infra_panel(),
    lambda kit: kit.settings_panel(),
    lambda kit: kit.run_form(),
    lambda kit: kit.ask_key("openai"),
    lambda kit: kit.test_connection("openai"),
    lambda kit: kit.catalog.models(),
    lambda kit: kit.catalog.update_provider("openai", is_enabled=False),
]


def test_every_call_of_a_closed_kit_says_that_it_is_closed(kit, sim):
    """One clear error that names the way back; closing again does nothing."""
    run, kept = kit.run("a", LUNA).result(60), kit.catalog
    kit.close()
    kit.close()
    kept_calls = [
        lambda _: kept.models(),
        lambda _: kept.deprecate_model(LUNA),
        lambda _: kept.set_balance("openai", 5),
        lambda _: kept.history(),
    ]
    with_run = [
        lambda kit: kit.reader(run),
        lambda kit: kit.coding_form(run, ["a", "b"]),
        lambda kit: kit.replicate(run),
        lambda kit: kit.export_capsule(run, "c.zip"),
    ]
    for call in [*CALLS, *kept_calls, *with_run, lambda kit: kit.use_simulator(sim)]:
        with pytest.raises(llmkit.LlmkitError, match=r"This kit is closed: open the catalog again with llmkit\.open"):
            call(kit)
    assert repr(kit) == f"<llmkit.Kit {kit.path} (closed)>"
    assert run.probes["status"].tolist() == ["ok"]


def test_threads_that_use_a_new_kit_at_once_share_all_its_parts(tmp_path):
    """Two sets of parts would mean two gates, so that limits would count twice and one would never be closed."""
    with llmkit.open(tmp_path / "c.duckdb", simulate=True) as kit, ThreadPoolExecutor(8) as pool:
        start = threading.Barrier(8)

        def use(_):
            start.wait(30)
            return kit._engine

        assert len({id(each) for each in pool.map(use, range(8), timeout=60)}) == 1

"""Several threads and processes at one catalog: no edit is lost, and a provider never has two defaults."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

SET_DEFAULTS = """
import sys
from pathlib import Path
from llmkit.catalog import Catalog
from llmkit.providers.credentials import Credentials
from llmkit.store import Store

catalog = Catalog(Store(Path(sys.argv[1])), Credentials(), has_key=lambda provider: False)
for turn in range(int(sys.argv[3])):
    catalog.set_default_model(f"alpha:{('one', 'two', 'three')[(turn + int(sys.argv[2])) % 3]}")
    catalog.add_model(f"alpha:from-{sys.argv[2]}-{turn}", cost_input_per_million=turn, cost_output_per_million=turn)
"""


def defaults_over_time(catalog, provider="alpha"):
    """How many defaults the provider had after each edit, replayed from the events."""
    marked: dict[str, bool] = {}
    counts = []
    events = catalog.history()
    for _, edit in events[events["entity"] == "model"].groupby("edit_id", sort=False):
        for event in edit.itertuples():
            if event.reference.startswith(provider):
                marked[event.reference] = event.after["is_default"]
        counts.append(sum(marked.values()))
    return counts


def test_threads_setting_defaults_leave_exactly_one(bench, python):
    """Four threads fight over the default; after every single edit there is exactly one."""
    names = ["one", "two", "three"] * 4
    with ThreadPoolExecutor(4) as pool:
        changes = list(pool.map(lambda name: bench.catalog.set_default_model(f"alpha:{name}"), names))
    models = bench.catalog.models("alpha")
    assert models["is_default"].sum() == 1
    assert set(defaults_over_time(bench.catalog)) == {1}
    assert all(change.previous_default is not None for change in changes)


def test_threads_adding_models_lose_none(bench):
    """Models added by four threads at the same time are all there, each with an id of its own."""

    def add(number: int) -> None:
        bench.catalog.add_model(f"alpha:m{number}", cost_input_per_million=number, cost_output_per_million=number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(12)))
    models = bench.catalog.models("alpha")
    assert {f"m{number}" for number in range(12)} <= set(models["model_id"])
    assert models["id"].is_unique


def test_threads_taking_money_off_a_balance_add_up(bench):
    """Syncs by several threads follow each other: the logged differences sum to the whole change."""
    bench.catalog.set_balance("alpha", 100)
    with ThreadPoolExecutor(4) as pool:
        deltas = list(pool.map(lambda amount: bench.catalog.sync_balance("alpha", amount), range(8)))
    assert 100 + sum(deltas) == bench.catalog.provider("alpha").balance


def test_processes_setting_defaults_leave_exactly_one(bench, python):
    """Two other processes and this one fight over the default and add models: one default, nothing lost."""
    turns = 5
    workers = [
        subprocess.Popen([*python, "-c", SET_DEFAULTS, str(bench.store.path), str(start), str(turns)])
        for start in (0, 1)
    ]
    for turn in range(turns):
        bench.catalog.set_default_model(f"alpha:{('one', 'two', 'three')[(turn + 2) % 3]}")
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    models = bench.catalog.models("alpha")
    assert models["is_default"].sum() == 1
    assert set(defaults_over_time(bench.catalog)) == {1}
    assert models["model_id"].str.startswith("from-").sum() == 2 * turns
    assert models["id"].is_unique

"""Arguments of the wrong kind: each is refused with a sentence that names it, before anything is written."""

import asyncio
import datetime
import decimal
import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import llmkit

LUNA = "openai:gpt-6-luna"
GEMINI = "google:gemini-2.5-flash"
ASKED = [
    ({"models": 5}, "models", "references such as 'openai:gpt-6-luna'"),
    ({"models": b"x"}, "models", "references such as"),
    ({"models": pd.DataFrame({"model": [LUNA]})}, "models", "references such as .* not DataFrame"),
    ({"models": llmkit.Config(LUNA, max_tokens=10**12)}, "max_tokens", "tokens per answer, not 1,000,000,000,000"),
    ({"max_tokens": 10**12}, "max_tokens", "tokens per answer, not 1,000,000,000,000"),
    ({"seed": 2**63}, "seed", "a whole number from 0 to 9,223,372,036,854,775,807"),
    ({"samples": None}, "samples", "a whole number, not None"),
    ({"samples": 0}, "samples", "at least 1"),
    ({"samples": 1.0}, "samples", "a whole number, not float"),
    ({"samples": 10**9}, "samples", "more than the 10,000,000 probes"),
    ({"system": 5}, "system", "must be text, not int"),
    ({"system": ["x"]}, "system", "must be text, not list"),
    ({"system": "\ud800"}, "system", "broken character at position 1"),
    ({"followups": 5}, "followups", "a list of texts, not int"),
    ({"followups": {"a": 1}}, "followups", "a list of texts, not dict"),
    ({"followups": ["x", 5]}, "followups", "a list of such texts"),
    ({"schema": {"type": "object", "enum": [object()]}}, "schema", "JSON can hold"),
    ({"options": 5}, "options", "a dict such as {'top_p': 0.9}"),
    ({"options": "x"}, "options", "a dict such as"),
    ({"options": [("top_p", 1)]}, "options", "a dict such as"),
    ({"options": {1: 2}}, "options", "a dict such as"),
    (
        {"options": {"polls": 5}},
        "options",
        r"option 'polls'\. Did you mean 'poll_s'\? Choose from: adaptive, .*top_p",
    ),
    ({"options": {"stop": 5}}, "stop", "a non-empty string or a list"),
    ({"options": {"strict": "yes"}}, "strict", "True or False"),
    ({"options": {"extra_body": 5}}, "extra_body", "a dict such as"),
    ({"options": {"extra_body": {"a": set()}}}, "extra_body", "JSON can hold"),
    ({"options": {"extra_body": {"model": "gpt-6-sol"}}}, "extra_body", "Name the model in models="),
    ({"options": {"extra_body": {"stream": True}}}, "extra_body", "read whole"),
    ({"options": {"extra_body": {"a": float("nan")}}}, "extra_body", "JSON can hold"),
    ({"options": {"reasoning_effort": ["high"]}}, "reasoning_effort", "must be text, not list"),
    ({"options": {"reasoning_effort": 5}}, "reasoning_effort", "must be text, not int"),
]
OF_A_RUN = [
    ({"order": None}, "order", "interleaved"),
    *(({"name": name}, "name", "one line of text") for name in (Path(), np.int64(3), datetime.date(2026, 1, 1), ["x"])),
    *(({"name": name}, "name", "one line of text") for name in ("two\nlines", "\ud800", " ", "x" * 201)),
    ({"retry": {"max_attempts": 2}}, "retry", r"llmkit\.RetryPolicy\(max_attempts=2\)"),
    ({"retry": {}}, "retry", r"llmkit\.RetryPolicy"),
    ({"retry": llmkit.RetryPolicy}, "retry", r"llmkit\.RetryPolicy"),
    ({"on_event": 5}, "on_event", "a function that is called with every RunEvent"),
    ({"on_event": asyncio.sleep}, "on_event", "not an async one"),
    ({"options": {"order_seed": "abc"}}, "order_seed", "a whole number, not str"),
    ({"options": {"order_seed": 1.5}}, "order_seed", "a whole number, not float"),
    ({"options": {"adaptive": "x"}}, "adaptive", "True or False"),
]


def refused(call, field, words):
    """The call raises a ValidationError with that field and those words."""
    with pytest.raises(llmkit.ValidationError, match=words) as caught:
        call()
    assert caught.value.field == field


@pytest.mark.parametrize("model", [LUNA, GEMINI])
def test_what_a_run_cannot_be_asked_with(kit, model):
    """Runs and estimates refuse the same, whatever the provider; no run is left behind."""
    for given, field, words in [*ASKED, *OF_A_RUN]:
        refused(lambda given=given: kit.run("a", **{"models": model, **given}), field, words)
    for given, field, words in ASKED:
        refused(lambda given=given: kit.estimate("a", **{"models": model, **given}), field, words)
    assert kit.runs().empty
    assert not list(kit.path.with_name(kit.path.name + ".journal").glob("*.live"))


@pytest.mark.parametrize("wrong", [5, None, ["x"], object(), "none", np.int64(5)])
def test_a_run_that_there_is_not(kit, wrong):
    """Whatever names no run is a run that was not found."""
    for call in (kit.load, kit.resume, kit.summarize, lambda run: kit.code(run, ["a"])):
        with pytest.raises(llmkit.RunNotFound):
            call(wrong)


def test_a_run_is_loaded_by_its_id(kit):
    """A Run in the place of its id is refused with a hint at ``run.id``; ``resume`` checks its listener first."""
    run = kit.run("a", LUNA).result(30)
    with pytest.raises(llmkit.RunNotFound, match=r"run\.id, not by Run"):
        kit.load(run)
    refused(lambda: kit.resume(run.id, on_event=5), "on_event", "a function")
    refused(lambda: kit.resume(run.id, options=5), "options", "a dict")
    for by in (5, None, [5], [["x"]]):
        refused(lambda by=by: kit.summarize(run, by=by), "by", "column")
    refused(lambda: kit.code(run, {"a": 5}), "codebook", "must be text")
    refused(lambda: kit.replicate(run, seed="x"), "seed", "a whole number")
    refused(lambda: kit.coding_form(run, ["a", "b"], seed="x"), "seed", "a whole number")
    refused(lambda: kit.export_capsule(run, "x.capsule", notebook="nope.ipynb"), "notebook", "no notebook nope.ipynb")
    for plot in (run.plot_costs, run.plot_latency, run.plot_timeline):
        refused(lambda plot=plot: plot(ax=5), "ax", r"plt\.subplots")


CATALOG = [
    (lambda c: c.get_setting(["x"]), "key", "must be text"),
    (lambda c: c.set_budget("study", 5, alert_at=-1), "alert_at", "a share between 0 and 1"),
    (lambda c: c.history(["x"]), "ref", "must be text"),
    (lambda c: c.history(5), "ref", "must be text"),
    (lambda c: c.apply_prices([]), "rows", "the DataFrame of check_prices"),
    (
        lambda c: c.apply_prices(pd.DataFrame({"model": [LUNA], "what": ["new model"], "theirs": [5]})),
        "rows",
        "a dict of its columns",
    ),
    (
        lambda c: c.update_model(
            LUNA,
            price_windows=[{"weekdays": [[1]], "start": "01:00", "end": "02:00", "cost_input_per_million": 1}],
        ),
        "price_windows",
        "Monday is 1",
    ),
    (
        lambda c: c.update_model(LUNA, cost_input_per_million=1, valid_from="0001-01-01T00:00+14:00"),
        "valid_from",
        "a date or a time",
    ),
]


@pytest.mark.parametrize(("call", "field", "words"), CATALOG)
def test_what_the_catalog_cannot_be_asked(kit, call, field, words):
    """Questions and changes of the catalog; nothing is changed."""
    before = len(kit.catalog.history())
    refused(lambda: call(kit.catalog), field, words)
    assert len(kit.catalog.history()) == before


FRAME = pd.DataFrame({"v": [1, 2]})
OTHERS = [
    (lambda kit: kit.estimate("a", LUNA, options=5), "options", "a dict such as"),
    (lambda kit: kit.estimate(b"abc", LUNA), "prompts", "bytes is not a prompt"),
    (lambda kit: kit.reader(5), "runs", "a run or its id, or a list of them, not int"),
    (lambda kit: llmkit.concat(5), "runs", "a list of runs"),
    (lambda kit: llmkit.concat([5]), "runs", "Give the runs"),
    (lambda kit: llmkit.compare(FRAME, "v", None), "by", "a column or a list of columns, not None"),
    (lambda kit: llmkit.agreement({"Ann": [], "Ben": []}), "codes", "nothing to compare"),
    (lambda kit: llmkit.dataset(""), "url", "the path of a file"),
    (lambda kit: llmkit.Config(LUNA, label="\ud800"), "label", "one line of text"),
    (lambda kit: llmkit.Config(LUNA, label="a\0"), "label", "one line of text"),
    (lambda kit: llmkit.question.choice("a", ["\ud800", "b"]), "options", "broken character"),
    (lambda kit: llmkit.question.choice("a", [float("nan"), 1]), "options", "texts or numbers"),
    (lambda kit: kit.expand("cities", dimensions=5), "dimensions", "a list of names, or a dict"),
    (lambda kit: kit.costs(since="0001-01-01T00:00+14:00"), "since", "a date or a time"),
    (lambda kit: llmkit.Scenario("x", dimensions=None), "dimensions", "a dict such as"),
    (lambda kit: llmkit.Scenario("x", dimensions=5), "dimensions", "a dict such as"),
    (lambda kit: llmkit.half_width("answer", 10**400), "width", "a number above 0"),
    (lambda kit: llmkit.Scenario("x", followups=5), "followups", "a list of texts, not int"),
    (lambda kit: llmkit.Scenario("x", system=5), "system", "is text"),
    (lambda kit: llmkit.simulator.serve(faults=5), "faults", "a dict such as"),
    (lambda kit: llmkit.simulator.serve(faults={"auth": "x"}), "faults", "a probability"),
    (lambda kit: llmkit.scenarios_from_template("[a]", {"a": ["x"]}, engine=["x"]), "engine", "one of placeholders"),
    (lambda kit: llmkit.scenarios_from_csv(5), "path", "the path of a file"),
    (lambda kit: llmkit.scenarios_from_csv(__file__, sep=""), "path", "is not a table"),
    (lambda kit: llmkit.scenarios_to_csv(["a"], "/nope/x.csv"), "path", "cannot be written"),
    (lambda kit: llmkit.scenarios_to_yaml(["a"], "/nope/x.yaml"), "path", "cannot be written"),
    (lambda kit: kit.use_simulator("http://127.0.0.1:9"), "simulator", "the simulator itself"),
    (lambda kit: kit.use_simulator(None), "simulator", "the simulator itself"),
    (lambda kit: kit.catalog.set_setting("note", {"x": ["caf\ud83d"]}), "value", "JSON can hold"),
    (lambda kit: llmkit.open(kit.path, simulate="no"), "simulate", "True or False"),
    (lambda kit: llmkit.open("caf\udcff.duckdb"), "path", "broken character"),
    (lambda kit: llmkit.open(kit.path.with_name("what?.duckdb")), "path", r"contains a '\?'"),
    (lambda kit: llmkit.open(5), "path", "the path of a file"),
    (lambda kit: llmkit.open("a\0b"), "path", "the path of a file"),
    (lambda kit: llmkit.open(kit.path / "x.duckdb"), "path", "cannot be opened: "),
    (lambda kit: llmkit.open("/proc/nope/x.duckdb"), "path", "cannot be opened: "),
    (lambda kit: llmkit.open(kit.path.with_name("x" * 300)), "path", "cannot be opened: .*too long"),
    (lambda kit: llmkit.open([]), "path", "the path of a file"),
    (lambda kit: llmkit.open(":memory:"), "path", "not a file on this machine"),
    (lambda kit: llmkit.open("s3://bucket/x.duckdb"), "path", "not a file on this machine"),
    (lambda kit: llmkit.open(kit.path, adopt="x"), "adopt", "True or False"),
    (lambda kit: llmkit.open(kit.path, actor="seed"), "actor", "its own changes"),
    (lambda kit: llmkit.open(kit.path, actor="a\nb"), "actor", "one line"),
    (lambda kit: kit.catalog.models(available_only="yes"), "available_only", "True or False"),
    (lambda kit: kit.catalog.models(status=np.array([1, 2])), "status", "one of ACTIVE, DEPRECATED"),
    (lambda kit: kit.run("a", LUNA, order=np.array(["a", "b"])), "order", "one of interleaved"),
    (lambda kit: kit.run("a", LUNA, reuse=np.array([1, 2])), "reuse", "True, False or"),
    (lambda kit: kit.costs(simulated="x"), "simulated", "True or False"),
    (lambda kit: kit.calibration(simulated="x"), "simulated", "True or False"),
    (lambda kit: kit.runs(tag=5), "tag", "one line"),
    (lambda kit: kit.doctor(online="x"), "online", "True or False"),
    (lambda kit: kit.expand("cities", strict="x"), "strict", "True or False"),
    (lambda kit: kit.expand("cities", strict=None), "strict", "True or False"),
    (lambda kit: llmkit.simulator.serve(port=-1), "port", "from 0 to 65,535"),
    (lambda kit: llmkit.simulator.serve(seed="x"), "seed", "a whole number"),
    (lambda kit: llmkit.simulator.serve(models=5), "models", "a list of model ids"),
    (lambda kit: llmkit.simulator.serve(batch_delay=-1), "batch_delay", "0 or more"),
]


@pytest.mark.parametrize(("call", "field", "words"), OTHERS)
def test_what_else_is_refused(kit, call, field, words):
    """Scenarios, files, folders, simulators and internal tasks."""
    refused(lambda: call(kit), field, words)
    assert kit.runs().empty


@pytest.mark.parametrize("timeout", ["x", True, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_none_is_refused(kit, timeout):
    """And the run goes on."""
    handle = kit.run("a", LUNA)
    refused(lambda: handle.result(timeout), "timeout", "a number from 0")
    refused(lambda: handle.wait(timeout), "timeout", "a number from 0")
    refused(lambda: handle.cancel(timeout), "grace", "a number from 0")
    refused(lambda: handle.listen(timeout), "listener", "a function")
    assert handle.result(30).status == "completed"


def test_an_archive_needs_a_name(kit, tmp_path, monkeypatch):
    """An empty one is not the folder that one happens to be in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = kit.run("a", LUNA).result(30)
    refused(lambda: run.archive(""), "url", "the path of a file")
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("name", ["study [2026]", "a*b", "it's {1} #2"])
def test_an_archive_in_a_folder_of_any_name(kit, tmp_path, name):
    """What patterns would be made of is a name here; the folder beside, which a pattern would match, is not read."""
    run = kit.run("a", LUNA).result(30)
    run.archive(tmp_path / "a to b")
    run.archive(tmp_path / name)
    assert llmkit.dataset(tmp_path / name).costs()["probes"].sum() == 1


@pytest.mark.parametrize(("way", "name"), [("to_csv", "x.csv"), ("to_excel", "x.xlsx"), ("to_parquet", "x.parquet")])
def test_a_file_that_cannot_be_written(kit, tmp_path, way, name):
    """A folder that is not there, or a name that is none, is told; ``~`` and Path objects are taken."""
    run = kit.run("a", LUNA).result(30)
    refused(lambda: getattr(run, way)(tmp_path / "nope" / name), "path", "cannot be written")
    if way != "to_excel":
        refused(lambda: getattr(run, way)(5), "path", "the path of a file")
    assert getattr(run, way)(tmp_path / name) == tmp_path / name


def test_decimals_of_the_notebook_change_no_price(kit):
    """Whatever precision a notebook computes with, prices and balances are stored to the last digit."""
    with decimal.localcontext(prec=6):
        model = kit.catalog.update_model(LUNA, cost_input_per_million="1234.56789", cost_output_per_million=1)
        kit.catalog.set_balance("openai", "12345.6789")
        assert kit.catalog.sync_balance("openai", "12000") == decimal.Decimal("-345.6789")
    assert model.price.cost_input_per_million == decimal.Decimal("1234.56789")
    assert kit.catalog.provider("openai").balance == 12000


def test_decimals_of_the_notebook_change_no_cost(kit):
    """A run is estimated, and its costs are added up, to the last digit; what runs in the background inherits the
    precision of the cell that started it.
    """
    costs = []
    with decimal.localcontext(prec=3):
        handle = kit.run(["word " * 3_000, "b", "c"], LUNA, budget=5, on_event=lambda event: costs.append(event.cost))
        run, shown = handle.result(30), handle.progress.cost
    assert shown == run.total_cost == sum(filter(None, costs), decimal.Decimal(0))
    assert len(shown.normalize().as_tuple().digits) > 3


def test_a_list_of_no_runs_has_its_columns(kit):
    """Whatever chooses among them."""
    assert list(kit.runs(tag="pilot")) == list(kit.runs(archived=None))


def test_text_columns_of_an_empty_catalog_are_text(kit):
    """On a new catalog the tables of runs have the types that they have later."""
    runs, calibration = kit.runs(), kit.calibration()
    kit.run("a", LUNA, name="n").result(30)
    assert runs.dtypes.to_dict() == kit.runs().dtypes.to_dict() | {"message": runs["message"].dtype}
    assert runs["status"].dtype == runs["message"].dtype == "str"
    assert calibration.dtypes.to_dict() == kit.calibration().dtypes.to_dict()


def test_an_estimate_takes_the_arguments_of_a_run(kit):
    """Every parameter of ``run``, since one dict of them serves both; those that change no price are ignored."""
    arguments = {
        name: parameter.default
        for name, parameter in inspect.signature(llmkit.Kit.run).parameters.items()
        if parameter.default is not parameter.empty
    }
    assert "on" in arguments
    assert kit.estimate("a", **arguments).total == kit.estimate("a").total

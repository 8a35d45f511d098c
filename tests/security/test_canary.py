"""A key that is set is sent to its provider, and is nowhere else: no file, log, error, repr, output or widget state."""

import json
import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from traces import CANARY, files_with_key, holds, records_with_key, shows_key, tables_with_key

import llmkit
from llmkit.simulator import Fault

MESSAGE = {"role": "assistant", "content": f"Your key: {CANARY}"}
ANSWER = {
    "id": "x",
    "model": "one",
    "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5},
}
REFUSAL = {"error": {"message": f"Incorrect API key provided: {CANARY}", "code": "server_error", "type": CANARY}}


@pytest.fixture
def sim():
    """A server on this machine that takes any key."""
    with llmkit.simulator.serve(latency=0) as simulator:
        yield simulator


@pytest.fixture
def kit(tmp_path, sim, monkeypatch):
    """A real kit, not a rehearsal, with a custom provider on this machine whose key is set in the environment."""
    monkeypatch.setenv("ACME_KEY", CANARY)
    before = os.umask(0)
    try:
        with llmkit.open(tmp_path / "data" / "k.duckdb") as kit:
            kit.catalog.add_provider("acme", base_url=sim.url_for("acme"), api_key_env="ACME_KEY")
            kit.catalog.update_provider("acme", max_parallel_requests=5, requests_per_minute=6000)
            kit.catalog.add_model("acme:one", cost_input_per_million=1, cost_output_per_million=2)
            yield kit
    finally:
        os.umask(before)


def quote_the_key(sim):
    """The server repeats the key in errors, headers and answers."""
    headers = {"x-request-id": CANARY, "x-echo": f"Bearer {CANARY}"}
    for status, body in ((500, REFUSAL), (429, REFUSAL), (200, ANSWER), (200, ANSWER)):
        sim.script("acme", [Fault(kind="raw", status=status, body=json.dumps(body), headers=headers)])
    sim.script("acme", ["garbage", "cut", "disconnect", Fault(kind="raw", status=401, body=json.dumps(REFUSAL))])


def test_a_key_is_in_no_file_no_table_and_no_log(kit, sim, tmp_path, caplog):
    """After answers, failures and retries that quote it; the database, its journal, the gate's files are looked at."""
    caplog.set_level(logging.NOTSET)
    logging.getLogger("llmkit").setLevel(logging.DEBUG)
    quote_the_key(sim)
    run = kit.run([f"q{n}" for n in range(12)], "acme:one", retry=llmkit.RetryPolicy.fast()).result(60)
    assert len(run.probes) == 12
    assert (run.probes["response"] == "Your key: [key]").sum() == 2
    assert run.attempts["reply"].str.contains("[key]", regex=False).any()
    assert tables_with_key(kit) == []
    assert files_with_key(tmp_path) == []
    kit.close()
    assert files_with_key(tmp_path) == []
    assert caplog.records
    assert records_with_key(caplog.records) == []


def test_a_key_is_in_no_repr(kit, sim):
    """Not in the repr or the variables of anything that a user holds."""
    quote_the_key(sim)
    events = []
    handle = kit.run(["a", "b"], "acme:one", retry=llmkit.RetryPolicy.fast(), on_event=events.append)
    run = handle.result(60)
    provider = kit.catalog.provider("acme")
    estimate = kit.estimate("a", "acme:one")
    shown = [kit, kit.catalog, handle, handle.progress, run, provider, kit.catalog.model("acme:one"), estimate, *events]
    frames = [kit.catalog.providers(), kit.catalog.models(), kit.catalog.history(), kit.runs(), run.probes, run.turns,
              run.attempts, run.costs(), estimate.df]  # fmt: skip
    texts = [*map(repr, shown), *map(str, shown), *(frame.to_csv() for frame in frames)]
    texts += [repr(getattr(thing, "__dict__", None)) for thing in shown]
    texts += [repr(value) for thing in (kit, kit.catalog) for value in vars(thing).values()]
    assert not any(map(holds, texts))
    assert "ACME_KEY" in frames[0].to_csv()


class Quoting(BaseHTTPRequestHandler):
    """Refuses every request, and repeats the key that came with it."""

    def do_GET(self):
        """Refuse it."""
        body = json.dumps({"error": {"message": f"Incorrect API key: {self.headers['authorization']}"}}).encode()
        self.send_response(401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Nothing to say."""


def test_a_key_is_in_no_error(kit):
    """Not in the text, cause, attributes or local variables of what is raised when the key is refused."""
    with HTTPServer(("127.0.0.1", 0), Quoting) as server:
        threading.Thread(target=server.serve_forever).start()
        kit.catalog.update_provider("acme", base_url=f"http://127.0.0.1:{server.server_port}/v1")
        with pytest.raises(llmkit.RequestFailed, match=r"\[key\]") as refused:
            kit.test_connection("acme").result(30)
        server.shutdown()
    assert refused.value.code == "AUTH_ERROR"
    assert not shows_key(refused.value)


@pytest.mark.parametrize("wrong", [f"{CANARY}\nsecond line", f"{CANARY}é", f"\x00{CANARY}"])
def test_a_malformed_key_is_in_no_error(kit, sim, wrong, monkeypatch):
    """A key that was pasted badly is refused with a sentence, and not even the traceback's variables show it."""
    raw = wrong.replace("\x00", "\x01")
    monkeypatch.setenv("ACME_KEY", raw)
    with pytest.raises(llmkit.ValidationError, match=r"ACME_KEY.*Copy it again") as refused:
        kit.run("hello", "acme:one")
    assert not shows_key(refused.value)
    assert sim.count("requests") == 0


def test_a_malformed_key_is_no_obstacle_to_other_providers(kit, sim, monkeypatch):
    """A run that names no models asks those that can be asked and says why not the other, which alone is refused."""
    kit.catalog.add_provider("other", base_url=sim.url_for("other"))
    kit.catalog.add_model("other:one", cost_input_per_million=0, cost_output_per_million=0, set_as_default=True)
    kit.catalog.set_default_model("acme:one")
    monkeypatch.setenv("ACME_KEY", f"{CANARY}é")
    for ask in (kit.estimate, kit.run):
        with pytest.warns(UserWarning, match=r"acme:one is left out\. The key in ACME_KEY.*Copy it again") as said:
            asked = ask("hello")
        assert not any(holds(str(each.message)) for each in said)
    assert asked.result(60).probes["model"].tolist() == ["other:one"]
    kit.catalog.update_provider("other", is_enabled=False)
    with pytest.raises(llmkit.ValidationError, match=r"ACME_KEY.*Copy it again"):
        kit.run("hello")
    assert sim.count("requests") == 1


@pytest.mark.parametrize("wrong", [f"{CANARY}\nsecond line", f"{CANARY}é"])
def test_a_key_that_was_typed_wrongly_is_in_no_error(kit, monkeypatch, wrong):
    """Not even a traceback that shows local variables, as notebooks can, holds what was typed at the prompt."""
    monkeypatch.delenv("ACME_KEY")
    monkeypatch.setattr("getpass.getpass", lambda prompt: wrong)
    with pytest.raises(llmkit.ValidationError, match="the prompt") as refused:
        kit.ask_key("acme")
    assert not shows_key(refused.value)


def test_a_key_in_the_place_of_its_variable_is_not_repeated(kit):
    """Whoever types the key where its variable's name belongs gets a sentence that does not hold it."""
    with pytest.raises(llmkit.ValidationError) as refused:
        kit.catalog.update_provider("acme", api_key_env=CANARY)
    assert not any(holds(text) for text in (str(refused.value), repr(refused.value)))
    assert not holds(kit.catalog.history().to_csv())


def test_files_are_for_this_user_only(kit, sim, tmp_path):
    """With an umask that allows everything, every folder is 0700 and every file 0600."""
    with pytest.warns(UserWarning, match="limit|0"):
        kit.catalog.update_provider("acme", max_parallel_requests=0)
    kit.run("hello", "acme:one").result(60)
    kit.catalog.update_provider("openai", base_url="https://llm.example.org/v1", approve_origin=True)
    folders = [tmp_path / "data", Path(os.environ["LLMKIT_CONFIG_DIR"])]
    found = [*folders, *(path for folder in folders for path in folder.rglob("*"))]
    wrong = {path: oct(path.stat().st_mode) for path in found if path.stat().st_mode & 0o777 != mode_of(path)}
    assert wrong == {}
    assert {path.suffix for path in found} >= {".duckdb", ".journal", ".jsonl", ".gate", ".pace", ".lock", ".json"}


def mode_of(path):
    """What the mode should be."""
    return 0o700 if path.is_dir() else 0o600


def test_a_redirect_is_not_followed(kit, sim):
    """The other server sees nothing; the row says what happened; the rest of that provider is not asked."""
    with llmkit.simulator.serve(latency=0) as other:
        for status in (301, 302, 307, 308):
            target = {"location": f"{other.url_for('acme')}/chat/completions"}
            sim.script("acme", [Fault(kind="raw", status=status, headers=target)])
            run = kit.run(["one"], "acme:one").result(60)
            assert run.probes["status"].tolist() == ["failed"]
            assert "redirect" in run.probes["error_message"][0].lower()
        assert other.requests == []


@pytest.mark.parametrize("url", ["http://llm.example.org/v1", "http://1.0.0.7:8000/v1", "http://127.0.0.1.nip.io/v1"])
def test_plain_http_over_a_public_network_is_refused(kit, url):
    """A key would travel in the open: not even with approval."""
    for approve in (False, True):
        with pytest.raises(llmkit.ValidationError, match="https") as refused:
            kit.catalog.update_provider("acme", base_url=url, approve_origin=approve)
        assert not shows_key(refused.value)
    with pytest.raises(llmkit.ValidationError, match="https"):
        kit.catalog.add_provider("other", base_url=url, api_key_env="ACME_KEY")


def test_a_key_goes_to_no_address_that_was_not_approved(kit, sim):
    """An address that came into the catalog without this user's approval gets nothing, however it came there."""
    with pytest.raises(llmkit.OriginNotApproved):
        kit.catalog.update_provider("acme", base_url="https://llm.example.org/v1")
    with pytest.raises(llmkit.ValidationError):
        kit.catalog.update_provider("openai", base_url=sim.url + "@llm.example.org")
    with pytest.warns(UserWarning, match="approve"):
        kit.catalog.add_provider("other", base_url="https://llm.example.org/v1", api_key_env="ACME_KEY")
    kit.catalog.add_model("other:one", cost_input_per_million=1, cost_output_per_million=2)
    with pytest.raises(llmkit.OriginNotApproved) as refused:
        kit.run("hello", "other:one")
    assert not shows_key(refused.value)
    assert kit.runs().empty


NOTEBOOK = (
    "import llmkit, os\nkit = llmkit.open({path!r})\n"
    "kit.catalog.add_provider('acme', base_url={url!r}, api_key_env='ACME_KEY', requests_per_minute=6000)\n"
    "kit.catalog.add_model('acme:one', cost_input_per_million=1, cost_output_per_million=2)",
    "kit.settings_panel()",
    "kit.providers_panel()",
    "kit.run_form('hello')",
    "run = await kit.run(['one', 'two', 'three'], 'acme:one', retry=llmkit.RetryPolicy.fast())\nrun.probes",
    "run.view()",
    "run.attempts",
    "kit.run('x', 'acme:one').panel()",
    "%xmode Verbose",
    "kit.run('hello', 'acme:none')",
    "kit.catalog.update_provider('acme', base_url='https://llm.example.org/v1')\nkit.run('hello', 'acme:one')",
    "kit, kit.catalog, run, kit.catalog.provider('acme')",
    "os.environ['ACME_KEY'] += '\\n'  + 'x'\nkit.run('hello', 'acme:one')",
    "kit.close()",
)


def test_a_key_is_in_no_notebook(sim, tmp_path, monkeypatch):
    """Panels, forms, runs and verbose tracebacks in a real notebook: no output and no widget state holds it."""
    monkeypatch.setenv("ACME_KEY", CANARY)
    quote_the_key(sim)
    values = {"path": str(tmp_path / "k.duckdb"), "url": sim.url_for("acme")}
    cells = [nbformat.v4.new_code_cell(source.format(**values)) for source in NOTEBOOK]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    errors = {
        number: output["ename"]
        for number, cell in enumerate(notebook.cells)
        for output in cell.outputs
        if output.output_type == "error"
    }
    assert errors == {9: "ModelNotFound", 10: "OriginNotApproved", 12: "ValidationError"}
    assert notebook.metadata["widgets"]
    saved = nbformat.writes(notebook)
    assert "[key]" in saved
    assert not holds(saved)
    assert files_with_key(tmp_path) == []

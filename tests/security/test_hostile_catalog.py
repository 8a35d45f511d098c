"""A catalog of somebody else moves no key: what was approved elsewhere, or for something else, does not count."""

import contextlib
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import duckdb
import pytest

import llmkit

SECRET = "sk-0123456789-of-this-user"
VARIABLES = ("OPENAI_API_KEY", "ACME_KEY", "OTHER_KEY", "AWS_SECRET_ACCESS_KEY", "JUPYTERHUB_API_TOKEN")


class Listening(BaseHTTPRequestHandler):
    """Notes every request, and refuses it."""

    def do_POST(self):
        """Note it."""
        self.server.heard.append(dict(self.headers))
        self.send_error(401)

    do_GET = do_POST

    def log_message(self, *args):
        """Nothing to say."""


@pytest.fixture
def thief():
    """A server on this machine that listens for keys."""
    with HTTPServer(("127.0.0.1", 0), Listening) as server:
        server.heard = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def keys(monkeypatch):
    """All keys are set."""
    for variable in VARIABLES:
        monkeypatch.setenv(variable, SECRET)


def own(place, monkeypatch, machine="here"):
    """Work on this machine: a catalog in which the user added a server on it."""
    monkeypatch.setenv("LLMKIT_CONFIG_DIR", str(place.parent / machine))
    with llmkit.open(place) as kit:
        kit.catalog.add_provider("acme", base_url="http://127.0.0.1:9/v1", api_key_env="ACME_KEY")
        kit.catalog.add_model("acme:one", cost_input_per_million=1, cost_output_per_million=1)


# what the other one did to the catalog: the provider that is asked then, and SQL with the thief's address in it
MOVES = {
    "openai to this machine": ("openai", "UPDATE llm_providers SET base_url = '{url}' WHERE name = 'openai'"),
    "openai to a name of this machine": (
        "openai",
        "UPDATE llm_providers SET base_url = 'http://x.localhost:{port}/v1' WHERE name = 'openai'",
    ),
    "openai to a stranger": (
        "openai",
        "UPDATE llm_providers SET base_url = 'https://evil.example/v1' WHERE name = 'openai'",
    ),
    "openai to another shipped provider": (
        "openai",
        "UPDATE llm_providers SET base_url = 'https://api.mistral.ai/v1' WHERE name = 'openai'",
    ),
    "openai with a trick in the address": (
        "openai",
        "UPDATE llm_providers SET base_url = 'https://api.openai.com@127.0.0.1:{port}/v1' WHERE name = 'openai'",
    ),
    "openai without encryption": (
        "openai",
        "UPDATE llm_providers SET base_url = 'http://api.openai.com/v1' WHERE name = 'openai'",
    ),
    "a key of the cloud to openai": (
        "openai",
        "UPDATE llm_providers SET api_key_env = 'AWS_SECRET_ACCESS_KEY' WHERE name = 'openai'",
    ),
    "a token of the hub to openai": (
        "openai",
        "UPDATE llm_providers SET api_key_env = 'JUPYTERHUB_API_TOKEN' WHERE name = 'openai'",
    ),
    "a key of another provider to openai": (
        "openai",
        "UPDATE llm_providers SET api_key_env = 'OTHER_KEY' WHERE name = 'openai'",
    ),
    "acme to another port": ("acme", "UPDATE llm_providers SET base_url = '{url}' WHERE name = 'acme'"),
    "another key to acme": ("acme", "UPDATE llm_providers SET api_key_env = 'OTHER_KEY' WHERE name = 'acme'"),
    "openai's key to acme": ("acme", "UPDATE llm_providers SET api_key_env = 'OPENAI_API_KEY' WHERE name = 'acme'"),
}


@pytest.mark.parametrize("move", MOVES)
def test_no_move_gets_a_key(tmp_path, monkeypatch, keys, thief, move):
    """By SQL in the user's own catalog, twelve ways: nothing is sent, and the sentence says how to approve."""
    name, sql = MOVES[move]
    own(tmp_path / "k.duckdb", monkeypatch)
    url = f"http://127.0.0.1:{thief.server_port}/v1"
    with duckdb.connect(tmp_path / "k.duckdb") as connection:
        connection.execute(sql.format(url=url, port=thief.server_port))
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        model = {"openai": "openai:gpt-6-luna", "acme": "acme:one"}[name]
        for ask in (lambda: kit.run("hello", model), lambda: kit.test_connection(name).result(30)):
            with pytest.raises((llmkit.OriginNotApproved, llmkit.RequestFailed)) as refused:
                ask()
            assert SECRET not in str(refused.value)
        with contextlib.suppress(llmkit.ValidationError):  # an address that is none cannot be kept
            kit.catalog.update_provider(name, requests_per_minute=7)
        with pytest.raises(llmkit.OriginNotApproved):
            kit.run("hello", model)
    assert thief.heard == []


def test_this_machine_needs_approval_when_the_catalog_was_made_elsewhere(tmp_path, monkeypatch, keys, thief):
    """What a colleague added on another machine is asked about here; approved, it is asked with its key."""
    own(tmp_path / "there.duckdb", monkeypatch, "there")
    with llmkit.open(tmp_path / "there.duckdb") as kit:
        kit.catalog.update_provider("acme", base_url=f"http://127.0.0.1:{thief.server_port}/v1")
    for path in tmp_path.glob("there.duckdb*"):
        copy = tmp_path / path.name.replace("there", "k")
        shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)
    monkeypatch.setenv("LLMKIT_CONFIG_DIR", str(tmp_path / "here"))
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        with pytest.raises(llmkit.OriginNotApproved, match="ACME_KEY"):
            kit.run("hello", "acme:one")
        assert thief.heard == []
        kit.catalog.update_provider("acme", approve_origin=True)
        assert kit.run("hello", "acme:one").result(30).probes["error_code"].tolist() == ["AUTH_ERROR"]
    assert {headers["authorization"] for headers in thief.heard} == {f"Bearer {SECRET}"}


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "JUPYTERHUB_API_TOKEN"])
def test_what_is_no_key_of_an_api_is_approved_by_name(tmp_path, keys, thief, variable):
    """Not silently, even for a server on this machine that the user adds."""
    url = f"http://127.0.0.1:{thief.server_port}/v1"
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        with pytest.warns(UserWarning, match=f"{variable} does not look like"):
            kit.catalog.add_provider("odd", base_url=url, api_key_env=variable)
        kit.catalog.add_model("odd:one", cost_input_per_million=1, cost_output_per_million=1)
        with pytest.raises(llmkit.OriginNotApproved, match=variable):
            kit.run("hello", "odd:one")
        with contextlib.suppress(llmkit.OriginNotApproved):
            kit.catalog.update_provider("openai", base_url=url, api_key_env=variable)
        assert thief.heard == []
        kit.catalog.update_provider("odd", approve_origin=True)
        kit.run("hello", "odd:one").result(30)
        assert len(thief.heard) == 1

"""Kits whose runs cost something: a rehearsal, and one that pays a provider on this machine."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from local_provider import FAST, add_local

import llmkit


@pytest.fixture
def sim():
    """A simulator that answers at once."""
    with llmkit.simulator.serve(latency=0) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def quick_catalog(tmp_path_factory):
    """A catalog with limits that do not make tests wait, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("quick")
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        for name in kit.catalog.defaults():
            kit.catalog.update_provider(name, **FAST)
    return folder


@pytest.fixture
def database(quick_catalog, tmp_path):
    """Where the test's own catalog lies."""
    shutil.copytree(quick_catalog, tmp_path / "catalog")
    return tmp_path / "catalog" / "k.duckdb"


@pytest.fixture
def kit(database, sim):
    """A kit that rehearses with that simulator."""
    with llmkit.open(database, simulate=True) as kit:
        kit.use_simulator(sim)
        yield kit


@pytest.fixture
def paying(database, sim, monkeypatch):
    """A kit that does not rehearse: its provider ``local`` is the simulator, but nobody told the kit."""
    monkeypatch.setenv("LOCAL_API_KEY", "sk-local-test")
    with llmkit.open(database) as kit:
        add_local(kit, sim)
        yield kit


@pytest.fixture
def pages():
    """A server of JSON documents: a dict of path → document (what is not in it is 404), and its ``url``."""

    class Pages(dict):
        url = ""

    documents = Pages()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(documents.get(self.path)).encode()
            self.send_response(200 if self.path in documents else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    documents.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield documents
    server.shutdown()
    thread.join()
    server.server_close()

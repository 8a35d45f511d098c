"""A kit that pays a provider on this machine, and pages for it to read."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from local_provider import add_local

import llmkit


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

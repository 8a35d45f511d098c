"""Batches whose provider says little: no name, no list, no results any more. Runs end, and buy nothing twice."""

from __future__ import annotations

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from waiting import until

import llmkit

HOW = {"mode": "batch", "retry": llmkit.RetryPolicy(scale=0.001, max_attempts=3)}


@pytest.fixture
def provider():
    """OpenAI on this machine, which answers each request by ``replies[its first words]``, else 404; ``seen`` counts.

    A function among the replies is given the request's body.

    It keeps those who hand in a batch waiting until it ``accepts``.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            sent = self.rfile.read(int(self.headers["content-length"] or 0))
            asked = f"{self.command} {self.path.removeprefix('/v1').partition('?')[0]}"
            server.seen.append(asked)
            if asked == "POST /batches":
                server.accepts.wait(60)
            reply = server.replies.get(asked, (404, {"error": {"message": "Not found"}}))
            status, body = reply(sent) if callable(reply) else reply
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.replies = [], {"POST /files": (200, {"id": "f"}), "POST /batches": (200, {"id": "b"})}
    server.accepts = threading.Event()
    server.accepts.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join(30)
    server.server_close()


@pytest.fixture
def kit(tmp_path, provider, monkeypatch):
    """A kit that asks it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        kit.catalog.update_provider("openai", base_url=f"http://127.0.0.1:{provider.server_port}/v1")
        yield kit


def _row(kit):
    return kit.run("Why?", "openai:gpt-6-luna", **HOW).result(100).probes.iloc[0]


def test_a_batch_without_name_and_results_is_ours_all_the_same(kit, provider):
    """What we handed in ourselves is never taken for somebody else's: each attempt is one batch, and they end."""
    provider.replies["GET /batches/b"] = 200, {"id": "b", "status": "expired"}
    row = _row(kit)
    assert (row["status"], row["error_code"], row["attempts"], row["maybe_billed"]) == ("failed", "TIMEOUT", 3, 0)
    assert provider.seen.count("POST /batches") == 3


def test_results_that_are_deleted_may_have_been_billed(kit, provider):
    """Providers keep results for some weeks; who comes later is told, and the requests are not sent again."""
    provider.replies["GET /batches/b"] = 200, {"id": "b", "status": "completed", "output_file_id": "gone"}
    row = _row(kit)
    assert (row["status"], row["error_code"], row["attempts"], row["maybe_billed"]) == ("failed", "UNKNOWN", 1, 1)
    assert "may have been billed" in row["error_message"]
    assert provider.seen.count("POST /batches") == 1


def test_a_doubtful_batch_of_a_provider_without_a_list_may_have_been_billed(kit, provider):
    """Whether it was handed in cannot be found out, so that it is neither handed in again nor waited for."""
    provider.replies["POST /batches"] = 200, "cut short"
    row = _row(kit)
    assert (row["status"], row["error_code"], row["maybe_billed"]) == ("failed", "UNKNOWN", 1)
    assert provider.seen.count("POST /batches") == 1


def test_a_page_in_place_of_the_results_is_not_taken_for_them(kit, provider):
    """A gateway in between answers for a while; the results, paid for, are still there to be asked for."""
    pages = iter([(200, "<html>Log in to this network</html>")])
    provider.replies["GET /batches/b"] = 200, {"id": "b", "status": "completed", "output_file_id": "f"}
    provider.replies["GET /files/f/content"] = lambda _: next(pages, (404, {}))
    assert _row(kit)["error_code"] == "UNKNOWN"
    assert provider.seen.count("GET /files/f/content") == 2


@pytest.mark.parametrize("reply", [(500, {}), (504, "<html>"), (200, {})])
def test_a_batch_that_was_created_behind_an_odd_reply_is_not_created_again(kit, provider, reply):
    """It is found in the provider's list by the name that we gave it, and would be billed twice otherwise."""

    def created(sent):
        state = {"id": "b", "status": "cancelled", "metadata": json.loads(sent)["metadata"]}
        provider.replies |= {"GET /batches": (200, {"data": [state]}), "GET /batches/b": (200, state)}
        return reply

    provider.replies["POST /batches"] = created
    assert _row(kit)["status"] == "cancelled"
    assert provider.seen.count("POST /batches") == 1


def test_a_batch_that_is_never_accepted_fails_and_cost_nothing(kit, provider):
    """Its provider's list says that there is none, so that nothing can have been billed."""
    provider.replies |= {"POST /batches": (500, {}), "GET /batches": (200, {"data": []})}
    row = _row(kit)
    assert (row["status"], row["error_code"], row["maybe_billed"]) == ("failed", "SERVER_ERROR", 0)


def test_a_file_that_cannot_be_uploaded_cost_nothing(kit, provider):
    """Only a batch is billed: what the upload answers makes no request doubtful."""
    provider.replies["POST /files"] = 200, "<html>"
    row = _row(kit)
    assert (row["status"], row["error_code"], row["maybe_billed"]) == ("failed", "INVALID_RESPONSE", 0)
    assert "POST /batches" not in provider.seen


@pytest.mark.parametrize(("status", "words"), [(401, "Revoked."), (404, "No batch found.")])
def test_a_batch_that_cannot_be_looked_at_says_why(kit, provider, status, words):
    """The key may be revoked, or that of an account without the batch, whose answers wait for the right key."""
    provider.replies["GET /batches/b"] = status, {"error": {"message": words}}
    handle = kit.run("Why?", "openai:gpt-6-luna", **HOW)
    assert until(lambda: words in handle.progress.waiting.get("openai", ""))
    provider.replies["GET /batches/b"] = 200, {"id": "b", "status": "cancelled"}
    assert handle.result(100).probes["status"].tolist() == ["cancelled"]


def test_a_batch_that_is_being_handed_in_when_its_run_is_cancelled_is_cancelled_too(kit, provider):
    """It is accepted a moment later, and would be billed although nobody waits for it."""
    provider.accepts.clear()
    provider.replies["GET /batches/b"] = 200, {"id": "b", "status": "cancelled"}
    handle = kit.run("Why?", "openai:gpt-6-luna", **HOW)
    assert until(lambda: "POST /batches" in provider.seen)
    handle.cancel(grace=60)
    provider.accepts.set()
    handle.wait(100)
    assert "POST /batches/b/cancel" in provider.seen
    assert handle.run.probes["status"].tolist() == ["cancelled"]


def test_a_cancellation_that_fails_is_asked_for_again(kit, provider):
    """A batch that its provider does not stop is billed in full."""

    def state(_):
        is_over = provider.seen.count("POST /batches/b/cancel") > 1
        return 200, {"id": "b", "status": "cancelled" if is_over else "in_progress"}

    provider.replies |= {"GET /batches/b": state, "POST /batches/b/cancel": (500, {})}
    handle = kit.run("Why?", "openai:gpt-6-luna", **HOW)
    assert until(lambda: "GET /batches/b" in provider.seen)
    handle.cancel(grace=20)
    handle.wait(100)
    assert provider.seen.count("POST /batches/b/cancel") > 1


def test_what_a_batch_may_still_answer_has_no_known_cost(kit, provider):
    """Its provider would not cancel it; the resumed run finds out that it was not billed."""

    def created(sent):
        state = {"id": "b", "status": "in_progress", "metadata": json.loads(sent)["metadata"]}
        provider.replies["GET /batches/b"] = 200, state
        return 200, state

    provider.replies["POST /batches"] = created
    handle = kit.run("Why?", "openai:gpt-6-luna", **HOW)
    assert until(lambda: "GET /batches/b" in provider.seen)
    handle.cancel(grace=0)
    handle.wait(100)
    row = handle.run.probes.iloc[0]
    assert kit.runs()["status"].tolist() == ["waiting for batch, 0 of 1 back"]
    assert (row["status"], row["maybe_billed"]) == ("pending", 0), "nothing is lost that is still to come"
    assert math.isnan(row["estimated_cost"])
    provider.replies["GET /batches/b"][1]["status"] = "cancelled"
    assert kit.resume(handle.run_id).result(100).probes["estimated_cost"].tolist() == [0]

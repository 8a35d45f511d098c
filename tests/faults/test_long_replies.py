"""Ten replies of 16 MB at once: the process grows by less than 300 MiB, and each is kept to the last byte."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import llmkit
from llmkit.store import Store, events

SIZE = 16 * 2**20
USAGE = {"prompt_tokens": 3, "completion_tokens": 5}
WORK = """
import hashlib, json, sys
import llmkit
path, url = sys.argv[1:]
used = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024
with llmkit.open(path) as kit:
    kit.catalog.add_provider("acme", base_url=url, api_key_env="ACME_KEY", approve_origin=True)
    kit.catalog.update_provider("acme", requests_per_minute=6000, max_parallel_requests=10)
    kit.catalog.add_model("acme:one", cost_input_per_million=1, cost_output_per_million=2)
    kit.run(["short"] * 10, "acme:one").result(60)
    before = used()
    run = kit.run(["long"] * 10, "acme:one").result(200)
    grown = used() - before
    rows = kit.sql("SELECT md5(reply) AS reply FROM attempts WHERE run_id = ?", [run.id])
    answers = kit.sql("SELECT md5(response) AS response FROM probes WHERE run_id = ?", [run.id])
    print(json.dumps({"grown": grown, "replies": list(rows["reply"]), "answers": list(answers["response"])}))
"""


def body(text, padding=""):
    """The bytes of a reply."""
    message = {"role": "assistant", "content": text}
    reply = {"choices": [{"finish_reason": "stop", "message": message}], "usage": USAGE, "more": padding}
    return json.dumps(reply, ensure_ascii=False).encode()


LONG = {"answer": ("fein & schön " * (SIZE // 14 - 20), ""), "padding": ("fine", "words\\n" * (SIZE // 8 - 100))}


@pytest.fixture
def served():
    """A server of the long reply: its address, and where to put that reply."""
    replies = {}

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = replies.get(request["messages"][-1]["content"], body("fine"))
            self.send_response(200)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", replies
        server.shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="only there does a process know its own peak")
@pytest.mark.parametrize("what", LONG)
def test_ten_long_replies_at_once_fit_into_little_memory(served, tmp_path, what):
    """Less than 300 MiB more than after ten short ones, 160 of which are the replies; none has lost a byte."""
    url, replies = served
    text, padding = LONG[what]
    reply = replies["long"] = body(text, padding)
    assert SIZE - 20_000 < len(reply) <= SIZE
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WORK, tmp_path / "k.duckdb", url],
        env={**os.environ, "ACME_KEY": "sk-acme-0123456789abcdef", "LLMKIT_CONFIG_DIR": str(tmp_path / "config")},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    print(what, told["grown"], "MiB")
    assert told["replies"] == [hashlib.md5(reply).hexdigest()] * 10
    assert told["answers"] == [hashlib.md5(text.encode()).hexdigest()] * 10
    assert told["grown"] < 300


def test_a_long_reply_with_a_gap_is_not_shown(tmp_path):
    """If one of its lines is damaged, the text is missing rather than shortened, and the line is counted."""
    path, text = tmp_path / "k.duckdb", "0123456789" * 150_000
    llmkit.open(path).close()
    store = Store(path)
    answer = {"response": text, "finish_reason": "stop"}
    lines = events.outcome(run_id="r1", position=0, turn=1, attempt=1, reply=text.encode() * 2, answer=answer)
    store.append(lines).result()
    texts = "SELECT name, strlen(text) AS size FROM long_texts ORDER BY name"
    assert store.query(texts).to_dict("list") == {"name": ["reply", "response"], "size": [3_000_000, 1_500_000]}
    store.close()
    (segment,) = tmp_path.glob("*.journal/*-r1-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"name":"reply","piece":7,', b'"name":"reply","piece":8,'))
    path.unlink()
    with pytest.warns(UserWarning, match="1 line of the journal"):
        store = Store(path, adopt=True)
    shown = store.read(
        lambda c: c.execute(
            "SELECT reply.text, strlen(response.text) FROM outcomes o "
            "LEFT JOIN long_texts reply ON reply.name = 'reply' AND reply.pieces = o.reply_pieces "
            "LEFT JOIN long_texts response ON response.name = 'response' AND response.pieces = o.response_pieces"
        ).fetchall()
    )
    assert shown == [(None, 1_500_000)]
    store.close()

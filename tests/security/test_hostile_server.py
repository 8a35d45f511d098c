"""A server whose answers are made to fill the memory, to hold the notebook up, or to leave the key on the disk."""

import functools
import gzip
import json
import subprocess
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from traces import CANARY, files_with_key

import llmkit

MIB = 2**20
ANSWER = {
    "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5},
}
SOUND = json.dumps(ANSWER).encode()


def bomb(bits):
    """Two gigabytes of zeros in two megabytes; its end, where a checksum would be, is never reached."""
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    first, later = (packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 2_000 * later


def answering(value):
    """A sound answer with something more in it."""
    return json.dumps({**ANSWER, "more": "@"}).replace('"@"', value).encode()


@functools.cache
def bodies():
    """The encoding that the headers name, the body, and the code that the probe ends with (None: with its answer)."""
    return {
        "a gzip bomb": ("gzip", bomb(31), "INVALID_RESPONSE"),
        "a bare deflate bomb": ("deflate", bomb(-15), "INVALID_RESPONSE"),
        "a bomb in a bomb": ("gzip, gzip", gzip.compress(bomb(31), 1), "INVALID_RESPONSE"),
        "twenty encodings": (", ".join(["gzip"] * 20), gzip.compress(SOUND), "INVALID_RESPONSE"),
        "brotli that nobody asked for": ("br", SOUND, "INVALID_RESPONSE"),
        "zstandard that nobody asked for": ("zstd", SOUND, "INVALID_RESPONSE"),
        "lists in lists": ("gzip", gzip.compress(b"[" * (8 * MIB)), "INVALID_RESPONSE"),
        "millions of lists": ("gzip", gzip.compress(answering("[" + "[]," * (5 * MIB) + "1]")), "INVALID_RESPONSE"),
        "a million numbers": ("gzip", gzip.compress(answering("[" + "0.5," * 999_000 + "1]")), None),
        "half a million keys": (
            "gzip",
            gzip.compress(answering("{" + ",".join(f'"k{number}":1' for number in range(490_000)) + "}")),
            None,
        ),
        "a million keys": (
            "gzip",
            gzip.compress(answering("{" + ",".join(f'"k{number}":1' for number in range(990_000)) + "}")),
            "INVALID_RESPONSE",
        ),
        "a number of millions of digits": ("gzip", gzip.compress(answering("1" * (8 * MIB))), "INVALID_RESPONSE"),
        "a fraction of millions of digits": ("gzip", gzip.compress(answering("0." + "1" * (8 * MIB))), None),
        "millions of halves of characters": ("gzip", gzip.compress(answering('"' + "\\ud83d" * MIB + '"')), None),
        "millions of beginnings of keys": (
            "gzip",
            gzip.compress(answering('"' + ("\\" * 8 + f"u00{ord(CANARY[0]):x}") * (MIB // 2) + '"')),
            None,
        ),
        "lists as deep as can be": ("", answering("[" * 900 + "]" * 900), None),
        "an error of two million words": (
            "gzip",
            gzip.compress(json.dumps({"error": {"message": "no " * 2_000_000, "type": "x" * MIB}}).encode()),
            "UNKNOWN",
        ),
        "garbage after the answer": ("", SOUND + b"\r\n0\r\n\r\n<html>", None),
        "the key in escapes": (
            "",
            answering(json.dumps([CANARY]).replace(CANARY, "".join(f"\\u{ord(each):04X}" for each in CANARY))),
            None,
        ),
        "the key in JSON in JSON": (
            "",
            answering(json.dumps('["' + "".join(f"\\u{ord(each):04x}" for each in CANARY) + '"]')),
            None,
        ),
        "the key as URLs write it": (
            "",
            answering(json.dumps("".join(f"%25{ord(each):02X}" for each in CANARY))),
            None,
        ),
    }


WORK = """
import json, sys
import llmkit
path, url, names = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with llmkit.open(path) as kit:
    kit.catalog.add_provider("acme", base_url=url, api_key_env="ACME_KEY", approve_origin=True)
    kit.catalog.update_provider("acme", requests_per_minute=6000, max_parallel_requests=2)
    kit.catalog.add_model("acme:one", cost_input_per_million=1, cost_output_per_million=2)
    once = llmkit.RetryPolicy(max_attempts=1)
    used = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024
    assert kit.run("sound", "acme:one", retry=once).result(60).probes["status"][0] == "ok"
    before, told = used(), {}
    for name in names:
        probe, *others = kit.run([name, *["sound"] * 3], "acme:one", retry=once).result(60).probes.iloc
        assert [other["status"] for other in others] == ["ok"] * 3, name
        probe = probe.astype(object).where(probe.notna(), None)
        told[name] = [probe["status"], probe["error_code"], probe["response"], used() - before]
    print(json.dumps(told))
"""


class Hostile(BaseHTTPRequestHandler):
    """Answers with the body that the prompt names."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Answer."""
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        encoding, body, _ = bodies().get(request["messages"][-1]["content"], ("", SOUND, None))
        self.send_response(200)
        for name, value in (("content-encoding", encoding), ("content-length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Nothing to say."""


@pytest.fixture
def hostile():
    """The server's address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # a client that has read enough hangs up
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="only there does a process know its own peak")
@pytest.mark.parametrize("quarter", range(4))
def test_no_body_fills_the_memory_or_leaves_the_key(hostile, tmp_path, monkeypatch, quarter):
    """Each ends its probe with its answer, or with an error of ours; the others, asked at the same time, go on."""
    names = list(bodies())[quarter::4]
    monkeypatch.setenv("ACME_KEY", CANARY)
    path = tmp_path / "data" / "k.duckdb"
    done = subprocess.run(
        [sys.executable, "-c", WORK, path, hostile, json.dumps(names)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    print(told)
    for name in names:
        code = bodies()[name][2]
        status, error_code, response, _ = told[name]
        assert (status, error_code, response) == (("ok", None, "fine") if code is None else ("failed", code, None)), (
            name
        )
    assert max(grown for *_, grown in told.values()) < 300
    assert files_with_key(path.parent) == []
    with llmkit.open(path) as kit:
        replies = kit.sql("SELECT reply FROM attempts WHERE reply IS NOT NULL")["reply"]
        assert sum("[key]" in reply for reply in replies) == sum("the key" in name for name in names)

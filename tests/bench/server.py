"""A server in OpenAI's format that costs almost nothing: it answers what it is posted after a fixed latency.

``python tests/bench/server.py SECONDS`` prints its port, and stops when its standard input ends.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys

TEXT = 1024
"""Characters of a prompt and of an answer."""

_WORDS = [f"w{random.Random(n).getrandbits(24):x}" for n in range(2_000)]
_POOL = " ".join(random.Random(1).choices(_WORDS, k=100_000))


def text(number: int) -> str:
    """A text of :data:`TEXT` characters that no other number has, of words that do not compress away."""
    start = number * 7_919 % (len(_POOL) - TEXT)
    return f"{number} {_POOL[start : start + TEXT]}"[:TEXT]


_ENDING = json.dumps(
    {
        "created": 1,
        "model": "bench",
        "object": "chat.completion",
        "usage": {"prompt_tokens": 250, "completion_tokens": 250, "total_tokens": 500},
    }
)[1:].encode()


def reply(number: int) -> bytes:
    """One chat completion."""
    message = {"role": "assistant", "content": text(number)}
    choices = json.dumps([{"index": 0, "message": message, "finish_reason": "stop"}])
    return f'{{"id": "chatcmpl-{number}", "choices": {choices}, '.encode() + _ENDING


class Completions(asyncio.Protocol):
    """One connection; requests come one after another, each with a content length."""

    numbers = itertools.count(1)

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Keep what to write to."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer later, once the whole request is there."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) >= length:
            del self._received[: len(head) + 4 + length]
            asyncio.get_running_loop().call_later(self._latency, self._answer)

    def _answer(self) -> None:
        body = reply(next(self.numbers))
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(latency: float) -> None:
    """Answer until the standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Completions(latency), "127.0.0.1", 0, backlog=1_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))

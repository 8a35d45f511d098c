"""Bodies that are long, or longer than they look: unpacked step by step, and read apart from the event loop."""

from __future__ import annotations

import asyncio
import functools
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sized
from typing import Any, TypeVar

T = TypeVar("T")

LONG = 2**20
"""Bytes of a body above which it is read in a thread, and that are unpacked at a time."""

_PLAIN = frozenset(("", "identity"))
_PACKED = frozenset(("gzip", "x-gzip", "deflate"))
_EITHER = 32 + zlib.MAX_WBITS  # gzip and zlib tell themselves apart
_BARE = -zlib.MAX_WBITS  # what some servers send as deflate


def unpacked(chunks: AsyncIterable[bytes], encoding: str) -> AsyncIterable[bytes]:
    """What arrives, unpacked once as its ``Content-Encoding`` says, in pieces of ``LONG`` bytes at most.

    Raises:
        zlib.error: it is packed more than once, in a way that nobody asked for, or not as it says.
    """
    encoding = encoding.strip().lower()
    if encoding in _PLAIN:
        return chunks
    if encoding not in _PACKED:
        raise zlib.error("neither gzip nor deflate, once")
    return _inflated(chunks)


async def _inflated(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    inflater = None
    async for chunk in chunks:
        if inflater is None:
            inflater = zlib.decompressobj(_EITHER if chunk[0] == 0x1F or chunk[0] & 0x0F == zlib.DEFLATED else _BARE)
        while chunk and not inflater.eof:
            yield inflater.decompress(chunk, LONG)
            if chunk := inflater.unconsumed_tail:
                await asyncio.sleep(0)  # a bomb does not hold the others up


async def apart(body: Sized, function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call a function that reads a body: in a thread where that is long, so that the event loop goes on."""
    if len(body) <= LONG:
        return function(*args, **options)
    call = functools.partial(function, *args, **options)
    try:
        read = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:  # Python is ending, and starts no more threads
        return call()
    return await read

"""Long bodies: decompressed step by step, and read outside the event loop, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sized
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from llmkit.records.memory import give_back

T = TypeVar("T")

LONG = 2**20
"""Size in bytes above which a body is read in a thread; also the maximum to decompress at a time."""

_PLAIN = frozenset(("", "identity"))
_PACKED = frozenset(("gzip", "x-gzip", "deflate"))
_GZIP = 0x1F
_EITHER = 32 + zlib.MAX_WBITS  # detects gzip or zlib
_BARE = -zlib.MAX_WBITS  # raw deflate, which some servers send


def unpacked(chunks: AsyncIterable[bytes], encoding: str) -> AsyncIterable[bytes]:
    """The chunks, decompressed according to ``Content-Encoding``, in pieces of at most ``LONG`` bytes.

    Raises:
        zlib.error: the body is compressed more than once, in a format not asked for, or not as declared.
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
        while chunk:
            if inflater is None or (inflater.eof and chunk[0] == _GZIP):  # RFC 1952: gzip can have several members
                has_header = chunk[0] == _GZIP or chunk[0] & 0x0F == zlib.DEFLATED
                inflater = zlib.decompressobj(_EITHER if has_header else _BARE)
            if inflater.eof:  # padding
                break
            yield inflater.decompress(chunk, LONG)
            if chunk := inflater.unused_data or inflater.unconsumed_tail:
                await asyncio.sleep(0)  # a decompression bomb must not block the others


_reading: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def one_at_a_time(body: Sized) -> contextlib.AbstractAsyncContextManager[None]:
    """Held while a body is worked on: a long one waits for other long ones, since each takes several times its size
    while it is parsed and written down.
    """
    return _AT_ONCE if len(body) <= LONG else _alone()


_AT_ONCE = contextlib.nullcontext()


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    async with _reading.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        yield
    give_back()


async def apart(body: Sized, function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call a function that reads a body: in a thread if the body is long, so that the event loop is not blocked."""
    if len(body) <= LONG:
        return function(*args, **options)
    call = functools.partial(function, *args, **options)
    try:
        read = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:  # Python is shutting down and starts no more threads
        return call()
    return await read

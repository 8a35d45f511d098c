"""The simulator as a server: an aiohttp application on the loopback interface, in a thread with its own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Self, TypeVar

from llmkit.errors import ValidationError
from llmkit.records.checks import numbers, texts
from llmkit.simulator.behaviour import Behaviour, Latency, Models, PerProvider
from llmkit.simulator.faults import Chance, Chances, FaultLike, Faults
from llmkit.simulator.formats.routes import base_path
from llmkit.simulator.service import Service
from llmkit.simulator.stats import MINUTE, Served, Stats

_PATIENCE = 30.0  # seconds that close() waits for the thread
_HOST = "127.0.0.1"
_T = TypeVar("_T")
_Ready = Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]


class Simulator:
    """A running simulator. Made by ``serve``; use it in a ``with`` block, or ``close`` it."""

    def __init__(self, behaviour: Behaviour, faults: Faults, *, seed: int, port: int) -> None:
        self._port = port
        self._stats = Stats()
        self._service = Service(behaviour, faults, self._stats, seed=seed)
        self._running: tuple[threading.Thread, asyncio.AbstractEventLoop, asyncio.Event] | None = None

    # --- start and stop -------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start listening, unless it is running. After ``close`` it listens on the same port again.

        Raises:
            ValidationError: the port is taken.
        """
        if self._running is not None:
            return self
        ready: _Ready = Future()
        thread = threading.Thread(target=self._run, args=(ready,), name="llmkit-simulator", daemon=True)
        thread.start()
        try:
            self._running = (thread, *ready.result())
        except OSError as error:
            raise ValidationError(
                f"The simulator cannot listen on port {self._port}: {error.strerror}. Choose another, or 0.",
                field="port",
            ) from None
        return self

    def close(self) -> None:
        """Cut all connections and stop listening. The counts can still be read."""
        if self._running is not None:
            (thread, loop, stop), self._running = self._running, None
            loop.call_soon_threadsafe(stop.set)
            thread.join(_PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._running is None else "running"
        return f"<Simulator {self.url} {state}>"

    # --- addresses ------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a trailing slash."""
        return f"http://{_HOST}:{self._port}"

    def url_for(self, provider: str) -> str:
        """The base URL for a provider, to which ``/chat/completions``, ``/v1/messages`` and so on are appended."""
        return self.url + base_path(provider)

    # --- behaviour ------------------------------------------------------------------------------------------------

    def set(self, **changes: Any) -> None:
        """Change any argument of ``serve`` except ``seed`` and ``port``.

        Takes effect with the next request. ``faults`` replaces all chances; scripts stay.

        Raises:
            ValidationError: a name or value is invalid; nothing was changed.
        """
        known = (*Behaviour.__dataclass_fields__, "faults")
        texts.known_names(changes, known, "set")
        behaviour = replace(self._service.behaviour, **{name: changes[name] for name in changes if name != "faults"})

        def apply() -> None:
            if "faults" in changes:
                self._service.faults.set(changes["faults"])
            self._service.behave(behaviour)

        self._on_loop(apply)

    def script(self, provider: str, faults: Iterable[FaultLike]) -> None:
        """Set faults for the provider's next requests, one each: a kind, a ``Fault``, or ``None`` for no fault.

        Appends to the current script. Requests refused for a limit or a bad key meet no fault and consume none.

        Raises:
            ValidationError: no list, or an unknown kind.
        """
        self._on_loop(lambda: self._service.faults.script(provider, faults))

    def reset(self) -> None:
        """Forget all requests, counts, scripts, caches and used limits. The behaviour stays."""
        self._on_loop(self._service.clear)

    # --- observations ---------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """The counts so far. Only requests for an answer count, not those for a list of models.

        ``requests`` is the sum of ``ok`` (a whole answer with text was sent), ``rejected`` (429), ``failed``
        (everything else: errors, cut connections, damaged answers), ``unknown`` (the client disconnected before the
        answer, or a batch expired) and those not yet answered. ``in_flight`` counts admitted requests that are not yet
        answered, ``max_in_flight`` their maximum. ``billed`` counts answers whose tokens were charged, whether or not
        they arrived; ``input_tokens`` and ``output_tokens`` are the tokens charged.

        ``by_provider`` has the same for each provider, and ``max_starts_per_minute``: the most requests, refused ones
        included, that arrived in any 60 s (see ``max_starts`` for other windows). ``billed_by_probe`` maps each value
        of the header ``x-llmkit-probe`` to the list of values of ``x-llmkit-turn``, one for each billed answer.
        ``faults`` counts faults by kind.
        """
        return self._stats.as_dict()

    def count(self, name: str, provider: str | None = None) -> int:
        """One of the counts of ``stats``, for all providers or one; cheap enough to poll in a long run."""
        return self._stats.count(name, provider)

    def max_starts(self, provider: str, window: float = MINUTE) -> int:
        """The most requests of a provider that arrived within any ``window`` seconds, refused ones included."""
        return self._stats.max_starts(provider, window)

    def batches(self) -> list[dict[str, Any]]:
        """The submitted batches, in order: batch_id, provider, name, status, and their custom_ids."""
        return self._on_loop(self._service.batches.listed)

    @property
    def requests(self) -> list[Served]:
        """The last 2,000 requests, including those for lists of models, in the order in which they were answered."""
        return self._stats.requests()

    def wait_until(self, predicate: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Wait until the predicate holds; return whether it did within ``timeout`` seconds.

        It is evaluated whenever a count changes: ``sim.wait_until(lambda: sim.count("in_flight") == 5)``.
        """
        return self._stats.wait_until(predicate, timeout)

    # --- the thread -----------------------------------------------------------------------------------------------

    def _on_loop(self, change: Callable[[], _T]) -> _T:
        """Apply a change between two requests, and wait for it."""
        if (running := self._running) is None:
            return change()

        async def make() -> _T:
            return change()

        return asyncio.run_coroutine_threadsafe(make(), running[1]).result()

    def _run(self, ready: _Ready) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)  # raised by start()

    async def _serve(self, ready: _Ready) -> None:
        # lazy, for start-up time: aiohttp.web is slow to import, and most kits never start a simulator
        from llmkit.simulator.handler import listening

        async with listening(self._service, _HOST, self._port) as self._port:
            stop = asyncio.Event()
            ready.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()


def serve(
    *,
    latency: Latency = (0.02, 0.12),
    rpm: PerProvider = None,
    max_concurrent: PerProvider = None,
    tpm: PerProvider = None,
    burst: PerProvider = None,
    limiter: str | Mapping[str, str] = "token_bucket",
    faults: Mapping[str, Chance | Chances] | None = None,
    models: Models = None,
    batch_delay: float = 0.2,
    seed: int = 0,
    port: int = 0,
) -> Simulator:
    """Start a simulator of all providers on ``127.0.0.1``; it is listening when this returns.

    Args:
        latency: seconds until an answer: a number, a pair (shortest, longest), or a function of the request.
            ``math.inf`` holds requests until ``set`` changes the behaviour.
        rpm: requests per minute, for every provider or by provider; ``None`` is no limit, here and below.
        max_concurrent: requests in flight at once.
        tpm: tokens per minute, input and output.
        burst: size of the token bucket of ``rpm``; if not given, a second's worth, but at least ``max_concurrent``
            (or 5). With it, ``rpm + burst`` requests pass in the first minute.
        limiter: how ``rpm`` and ``tpm`` are counted: ``"token_bucket"`` (refills steadily), ``"sliding_window"``
            (the last 60 s) or ``"fixed_window"`` (minutes of the clock); for every provider or by provider.
        faults: the faults to inject: kind → probability, booleans for successive requests, or a function of the
            request; or provider → such a mapping. The kinds are those of ``simulator.FAULTS``.
        models: the models that exist, for every provider or by provider; if not given, every name is accepted.
        batch_delay: seconds from the creation of a batch to its results. Its requests meet faults one by one;
            ``expired`` means that the batch ran out of time for one.
        seed: determines answers, latencies and which requests meet a fault: the same seed and the same requests in the
            same order give the same results.
        port: where to listen; 0 is any free port.

    Requests may carry ``x-llmkit-probe`` and ``x-llmkit-turn`` (see ``Simulator.stats``) and ``x-llmkit-sample``:
    equal questions with different samples are answered differently. Without it, each repetition is.

    Any key is accepted except ``invalid``; providers that the simulator does not know by name need none.

    Raises:
        ValidationError: a value is invalid, or the port is taken.
    """
    behaviour = Behaviour(
        latency=latency,
        rpm=rpm,
        max_concurrent=max_concurrent,
        tpm=tpm,
        burst=burst,
        limiter=limiter,
        models=models,
        batch_delay=batch_delay,
    )
    seed, port = numbers.whole(seed, "seed"), numbers.whole(port, "port", 0, 65_535)
    return Simulator(behaviour, Faults(faults, seed=seed), seed=seed, port=port).start()

"""Calls functions in the worker processes of a Dask cluster. The only file that knows Dask.

Functions, never tasks or actors: Dask would rerun those of a dead worker, and a request could silently be paid twice.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio

from llmkit.errors import LlmkitError, ValidationError
from llmkit.records.checks import numbers, texts
from llmkit.records.checks.addresses import is_loopback
from llmkit.runs import background

T = TypeVar("T")

TIMEOUT = 30
"""Seconds after which a worker that does not answer counts as lost."""
LOADING = 30
"""Minimum seconds that a worker has to answer the first time, when it loads llmkit."""
_PROTECTED = ("tls", "wss", "inproc")
_NOBODY = "No worker of the cluster answers: cluster.scale(2) starts two, client.wait_for_workers(2) awaits them"


class Link:
    """The workers of one client's cluster, by address. ``timeout`` is the number of seconds they have to answer.

    ``options`` may contain ``trust_network`` and ``worker_timeout``. The connections to the scheduler are its own:
    a notebook may close its client in the middle of a run.

    Raises:
        ValidationError: an option is invalid, Dask is not installed, ``client`` is not a synchronous Dask client, or
            its network is neither local to this machine nor encrypted.
    """

    def __init__(self, client: Any, options: Mapping[str, Any]) -> None:
        self._trust_network = texts.flag(options.get("trust_network", False), "trust_network")
        self.timeout = numbers.whole(options.get("worker_timeout", TIMEOUT), "worker_timeout", 1, 3_600)
        try:
            from distributed import Client, rpc  # takes half a second, and is only needed with a cluster
        except ImportError:
            raise ValidationError("on= needs Dask: pip install 'llmkit[cluster]'.", field="on") from None
        if not isinstance(client, Client) or client.asynchronous:
            raise ValidationError(
                "on= is a client of a Dask cluster that is not asynchronous: on=distributed.Client(cluster).",
                field="on",
            )
        if client.status != "running":
            raise ValidationError("on= is a client that is closed or has lost its scheduler.", field="on")
        known = client.scheduler_info()
        for address in (known["address"], *known["workers"]):
            if not self._is_safe(address):
                raise ValidationError(
                    f"Prompts and answers would travel to {address} unencrypted. Start the cluster with TLS "
                    "(distributed.Security), or confirm that nobody else is on that network: "
                    "options={'trust_network': True}.",
                    field="on",
                )
        scheduler: Any = client.scheduler  # at the address at which this process reaches it, as through a tunnel
        self._scheduler: Any = rpc(scheduler.address, connection_args=client.connection_args)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close the connections; another call opens new ones."""
        with anyio.move_on_after(self.timeout):
            await asyncio.gather(*self._scheduler.close_comms())

    @property
    def patience(self) -> int:
        """Seconds that a worker has to answer the first time, and a run without workers waits for one."""
        return max(self.timeout, LOADING)

    def _is_safe(self, address: str) -> bool:
        scheme, _, place = address.partition("://")
        return self._trust_network or scheme in _PROTECTED or is_loopback(f"//{place}")

    async def call(self, address: str, function: Callable[..., Awaitable[T]], *args: Any, is_first: bool = False) -> T:
        """Call a function in a worker's process. ``is_first``: it must load llmkit first, which takes a while.

        Raises:
            OSError: it does not answer, or is gone.
            Exception: what the function has raised, or why it cannot be called: llmkit is missing there, or differs.
        """
        message = {"op": "run", "function": pickle.dumps(function), "args": pickle.dumps(args)}
        with anyio.fail_after(self.patience if is_first else self.timeout):
            answers = await self._scheduler.broadcast(msg=message, workers=[address], on_error="return_pickle")
        from distributed.core import clean_exception

        answer = answers[address]
        told = answer if isinstance(answer, bytes) else answer.get("exception")  # by the scheduler, or the function
        if (error := clean_exception(told)[1]) is not None:
            raise error
        result: T = answer["result"]
        return result

    def call_all(self, function: Callable[..., Awaitable[T]], *args: Any) -> dict[str, T]:
        """Call a function in every worker, and wait.

        Returns the results by address of those that answer.

        Raises:
            LlmkitError: none does, or this is called by a listener, on the loop that asks them.
        """
        if background.is_here():
            raise LlmkitError("A listener cannot start a run on a cluster. Start it where the other run was started.")
        return background.start(self._call_all, function, *args).result()

    async def _call_all(self, function: Callable[..., Awaitable[T]], *args: Any) -> dict[str, T]:
        try:
            there = tuple(await self.addresses())
            calls = (self.call(address, function, *args, is_first=True) for address in there)
            results = tuple(zip(there, await asyncio.gather(*calls, return_exceptions=True), strict=True))
        except OSError as error:
            raise LlmkitError(f"The cluster's scheduler does not answer: {error!r}.") from error
        finally:
            await self.close()
        answers = {address: result for address, result in results if not isinstance(result, BaseException)}
        if not answers:
            unfit = (unfit_words(*each) for each in results if not isinstance(each[1], OSError))
            raise LlmkitError(f"{next(unfit, _NOBODY)}.")
        return answers

    async def addresses(self) -> set[str]:
        """The workers that the scheduler knows now, except those reachable only over an open network.

        Raises:
            OSError: the scheduler does not answer.
        """
        with anyio.fail_after(self.timeout):
            return set(filter(self._is_safe, await self._scheduler.ncores()))


def unfit_words(address: str, error: object) -> str:
    """Why a worker that answers is of no use, without the full stop."""
    return f"Worker {address} needs the same version of llmkit as this process ({type(error).__name__}: {error})"

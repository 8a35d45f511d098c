"""A wire seen from the server: one object holds all that the simulator knows of it."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from llmkit.records import WireName
from llmkit.simulator.formats.problems import Problem
from llmkit.simulator.formats.served_batches import ServedBatches
from llmkit.simulator.limiter import Left, Limiter
from llmkit.simulator.questions import Answer, Question

KEY_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"})
"""Headers that can hold a secret; the simulator keeps none of them."""
CONTEXT, MAX_OUTPUT = 1_000_000, 128_000
"""What lists of models say of each."""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error as it goes over the wire."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Format(ABC):
    """A format of requests and answers. Header names are lower case."""

    name: ClassVar[WireName]
    provider: ClassVar[str]
    """Whom a URL means that names nobody."""
    prefix: ClassVar[str] = ""
    """What a base URL has between that provider's name and the path that the wire appends."""
    path: ClassVar[re.Pattern[str]]
    """The path of a question; a group ``model`` where the model is named there."""
    models: ClassVar[tuple[str, ...]]
    """What that provider lists."""
    blocks_prompts: ClassVar[bool] = False
    """Whether an answer, and not an error, says that a prompt was blocked."""

    def lists(self, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a list of models is asked for in this format, at a URL that names nobody."""
        return False

    @abstractmethod
    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """The key that a request carries, empty without one."""

    @abstractmethod
    def read(self, provider: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
        """What is asked; ``model`` is the one in the URL, where the format has it there.

        Raises:
            Rejected: the provider would not take it.
        """

    @abstractmethod
    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200."""

    @abstractmethod
    def error(self, provider: str, problem: Problem, request_id: str) -> ErrorResponse:
        """A complaint in the provider's own words, with the wait that it asks for in the provider's own place."""

    @abstractmethod
    def model_list(self, provider: str, models: Iterable[str]) -> dict[str, Any]:
        """The body of a list of models, in one page."""

    def batches(self, provider: str) -> ServedBatches | None:
        """The provider's batch API, if it has one."""
        return None

    def id_headers(self, provider: str, request_id: str) -> dict[str, str]:
        """The header that carries the request's id, if any does."""
        return {}

    def limit_headers(self, provider: str, limiter: Limiter, now: float) -> dict[str, str]:
        """What is left of the limits, where the provider says so and there are limits."""
        return {}


def bearer(headers: Mapping[str, str]) -> str:
    """The token of ``Authorization: Bearer``; empty without one."""
    value = headers.get("authorization", "")
    return value[7:].strip() if value.lower().startswith("bearer ") else ""


def retry_after(problem: Problem, *, milliseconds: bool = False) -> dict[str, str]:
    """The headers that ask for a wait: whole seconds, never too few, and OpenAI's exact ones."""
    if problem.retry_after is None:
        return {}
    exact = {"retry-after-ms": str(math.ceil(problem.retry_after * 1000))} if milliseconds else {}
    return {"retry-after": str(max(1, math.ceil(problem.retry_after - 1e-6))), **exact}


def left(limiter: Limiter, now: float) -> dict[str, Left]:
    """What is left of ``requests`` and of ``tokens``, of those that are limited."""
    rates = {"requests": limiter.requests, "tokens": limiter.tokens}
    return {what: rate.left(now) for what, rate in rates.items() if rate is not None}


def encoded(body: Any) -> bytes:
    """A body as bytes."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")

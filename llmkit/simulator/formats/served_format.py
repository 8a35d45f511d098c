"""The server side of a wire: one object per format."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.served_batches import ServedBatches
from llmkit.simulator.limiter import Limiter
from llmkit.simulator.questions import Answer, Question, Rejected

KEY_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"})
"""Headers that can hold a secret; the simulator does not keep them."""
CONTEXT, MAX_OUTPUT = 1_000_000, 128_000
"""Token limits stated for every model in lists."""


class Server(ABC):
    """What a provider does alike in all of its formats. Header names are lower case."""

    prefix: ClassVar[str] = ""
    """The part of a base URL between the provider's name and the path that the wire appends."""
    models: ClassVar[tuple[str, ...]]
    """The models that it lists."""
    batches: ClassVar[ServedBatches | None] = None
    """Its batch API, if any."""
    key_header: ClassVar[str] = ""
    """The header for the key, if it has one of its own."""
    id_headers: ClassVar[tuple[str, ...]] = ()
    """The headers that carry a request's id."""
    wait_headers: ClassVar[tuple[str, ...]] = ("retry-after",)
    """Where it asks for a wait."""

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """The request's key, empty without one: in a header of its own, in the URL (Google), or as a bearer token."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        return headers.get(self.key_header, "") or query.get("key", "") or (token if kind.lower() == "bearer" else "")

    @abstractmethod
    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """The status and body of an error, in the provider's words."""

    @abstractmethod
    def model_list(self, models: Iterable[str]) -> dict[str, Any]:
        """The body of a list of models, in one page."""

    def limit_headers(self, limiter: Limiter, now: float) -> dict[str, str]:
        """Headers with what is left of the limits, if there are limits and the provider sends them."""
        return {}


class Format(ABC):
    """A format of requests and answers, as a ``server`` speaks it. Header names are lower case."""

    usual: ClassVar[str]
    """The provider of URLs that name none."""
    path: ClassVar[str]
    """A pattern for the path of a request for an answer, with a group for the model if it is there."""
    list_path: ClassVar[str] = "/models"
    """The end of the path of a request for a list of models."""
    list_marks: ClassVar[frozenset[str]] = frozenset()
    """Headers and parts of the path that tell a request for a list of models, at a URL without a provider."""
    blocks_prompts: ClassVar[bool] = False
    """Whether a blocked prompt is reported by an answer rather than an error."""
    server: Server

    @abstractmethod
    def __init__(self, provider: str) -> None:
        """The format as a provider, known by this name or not, speaks it."""

    @abstractmethod
    def read(self, model: str, body: Body, headers: Mapping[str, str]) -> Question:
        """Parse a request, or raise ``Rejected``; ``model`` is the one in the URL, if the format has it there."""

    @abstractmethod
    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200."""


class OwnFormat(Format, Server):
    """A format that belongs to one provider."""

    def __init__(self, provider: str) -> None:
        self.provider, self.server = provider, self


def encoded(body: Any) -> bytes:
    """A body as bytes."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def decoded(raw: bytes) -> Any:
    """The JSON of a request body, or ``None`` if it is not JSON."""
    try:
        return json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None

"""Requests, answers and errors, independent of their format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple

CHARACTERS_PER_TOKEN = 4
ProblemKind = Literal[
    "rate_limit", "quota", "auth", "server_error", "overloaded", "too_long", "not_found", "blocked", "invalid",
    "unsupported_parameter", "unsupported_value",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request for an answer. ``messages`` are (role, text) pairs; ``sample`` is the header ``x-llmkit-sample``, and
    ``held`` the number of its tokens that were in the prompt cache when it arrived.

    ``effort`` is the reasoning effort in OpenAI's terms, ``None`` when unspecified. ``schema`` is that of the JSON to
    answer with, empty for any JSON, ``None`` for prose. The provider's prompt cache stores any prefixes, or if
    ``marks`` is set those that end at a mark, looked up at ``text_ends``; both are positions in ``characters``.
    """

    provider: str
    model: str
    system: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    effort: str | None = None
    schema: Mapping[str, Any] | None = None
    marks: tuple[int, ...] | None = None
    text_ends: tuple[int, ...] = ()
    sample: str | None = None
    held: int = 0

    @property
    def prompt(self) -> str:
        """The last message of the user."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")

    @property
    def characters(self) -> str:
        """Everything the model reads, in order, as one string: equal conversations give equal strings."""
        return "\x1e".join((self.system, *(f"{role}\x1f{text}" for role, text in self.messages)))

    def digest(self) -> str:
        """A digest that is equal for equal requests to the same model, whatever their sample."""
        schema = json.dumps(self.schema or None, sort_keys=True, default=str)
        parts = (self.provider, self.model, self.characters, self.seed, self.effort, schema)
        return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer before it is put into a format.

    Token counts are disjoint, except that ``cached`` and ``written`` are parts of ``input_tokens``. ``refusal`` is
    the text of a model that declined; ``blocked`` means that the prompt never reached the model (Gemini).
    """

    text: str
    input_tokens: int
    text_tokens: int
    reasoning_tokens: int = 0
    cached: int = 0
    written: int = 0
    finish: Literal["stop", "length"] = "stop"
    refusal: str | None = None
    blocked: bool = False

    @property
    def output_tokens(self) -> int:
        """All that is billed as output."""
        return self.text_tokens + self.reasoning_tokens


class Wording(NamedTuple):
    """How a provider reports one kind of problem; ``type`` and ``code`` are its own words for it."""

    status: int
    message: str = ""
    type: str = ""
    code: str | None = None


@dataclass(eq=False)
class Rejected(Exception):
    """A provider rejects a request: for a missing or invalid value of ``param``, named in the provider's words, or
    whatever ``kind`` says. ``retry_after`` is in seconds; ``limit`` and ``unit`` are of the limit that was hit.
    """

    message: str = ""
    param: str | None = None
    _: KW_ONLY
    kind: ProblemKind = "invalid"
    retry_after: float | None = None
    limit: int | None = None
    unit: Literal["requests", "tokens", "concurrent"] = "requests"
    model: str = ""

    def worded(self, wordings: Mapping[str, Wording], **more: str) -> Wording:
        """The wording of its kind, or of ``invalid``: with its own message, or else the kind's, filled in."""
        wording = wordings.get(self.kind, wordings["invalid"])
        fields = {"model": self.model or "this model", "limit": self.limit, "unit": self.unit} | more
        return wording._replace(message=self.message or wording.message.format(wait=self.retry_after or 1.0, **fields))


def fraction(*parts: object) -> float:
    """A number in [0, 1) that depends only on the parts, in every process."""
    return number(*parts) / 2**64


def number(*parts: object) -> int:
    """A 64-bit number that depends only on the parts, in every process."""
    words = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big")

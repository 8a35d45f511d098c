"""Requests and answers, independent of their format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

CHARACTERS_PER_TOKEN = 4


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


def fraction(*parts: object) -> float:
    """A number in [0, 1) that depends only on the parts, in every process."""
    return number(*parts) / 2**64


def number(*parts: object) -> int:
    """A 64-bit number that depends only on the parts, in every process."""
    words = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big")

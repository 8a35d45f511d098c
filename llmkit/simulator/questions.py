"""What a request asks and what it is answered, whatever format it came in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request for an answer. ``messages`` are (role, text) pairs; ``sample`` is what ``x-llmkit-sample`` says.

    ``effort`` is the reasoning effort in the words of OpenAI, ``None`` when the request does not say. The provider's
    prompt cache keeps beginnings of ``least_cached`` tokens or more: any, or those that ``marks`` end, and which are
    looked for where a text ends. Both are places in ``characters``. ``held`` tokens were in it when the request came.
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
    wants_json: bool = False
    least_cached: int = 1_024
    marks: tuple[int, ...] | None = None
    text_ends: tuple[int, ...] = ()
    held: int = 0
    sample: str | None = None

    @property
    def prompt(self) -> str:
        """The last thing that the user said."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")

    @property
    def characters(self) -> str:
        """Everything the model reads, in order, as one string: equal conversations give equal strings."""
        return "\x1e".join((self.system, *(f"{role}\x1f{text}" for role, text in self.messages)))

    def digest(self) -> str:
        """Equal for requests that ask the same of the same model, whatever their sample."""
        parts = (self.provider, self.model, self.characters, self.seed, self.effort, _stable(self.schema))
        return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer before it is put into a format.

    Token counts are disjoint, but ``cached`` and ``written`` are parts of ``input_tokens``. ``refusal`` replaces the
    text of a model that declined; ``blocked`` tells that the prompt never reached the model (Gemini).
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
    """A number in [0, 1) that is the same for the same parts, in every process."""
    return number(*parts) / 2**64


def number(*parts: object) -> int:
    """A 64-bit number that is the same for the same parts, in every process."""
    words = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big")


def _stable(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)

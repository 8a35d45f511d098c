"""HTTP requests and responses, as passed between wires and transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from math import isfinite
from typing import Any, Literal

from llmkit.records.rows import dumps


@dataclass(frozen=True, kw_only=True)
class Request:
    """An HTTP request without origin and key. ``path`` is appended to the provider's ``base_url``.

    ``left_out`` names requested parameters that the model does not accept. ``raw`` is sent instead of a JSON body; the
    headers give its type. ``longest_reply``, in bytes, raises the limit for replies with more than one answer.
    ``unmarked`` is the body without its cache marks, if it has any: they change no answer.
    """

    path: str
    body: Mapping[str, Any] | None = None
    method: Literal["GET", "POST"] = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    raw: bytes | None = None
    longest_reply: int | None = None
    unmarked: Mapping[str, Any] | None = None

    @property
    def question_json(self) -> bytes:
        """What it asks, as JSON to compare requests by: the body without cache marks."""
        return self.content if self.unmarked is None else dumps(self.unmarked)

    @cached_property
    def content(self) -> bytes:
        """The body as it is sent: JSON in UTF-8, or in ASCII if a text contains a lone surrogate.

        Raises:
            TypeError, ValueError: the body is not JSON.
        """
        if self.raw is not None or self.body is None:
            return self.raw or b""
        content = dumps(self.body)
        if b"null" in content and not _is_finite(self.body):  # dumps writes infinity as null too
            raise ValueError("JSON has no infinite numbers.")
        return content


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return all(map(_is_finite, value.values() if isinstance(value, Mapping) else value))
    return not isinstance(value, float) or isfinite(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An HTTP response as it arrived. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime

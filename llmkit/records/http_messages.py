"""What travels over HTTP, as wires and transport hand it to each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from llmkit.records.rows import dumps


@dataclass(frozen=True, kw_only=True)
class Request:
    """An HTTP request without origin and without key. ``path`` is appended to the provider's ``base_url``.

    ``left_out`` names the parameters that were asked for and that the model does not take. ``raw`` is what is sent in
    place of a body that is JSON; its headers say what it is. ``longest_reply``, in bytes, is for more than one answer.
    ``unmarked`` is the body without marks for the provider's cache, where it has any: they change no answer.
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
    def question(self) -> dict[str, Any]:
        """What tells that two requests ask the same."""
        return dict(self.unmarked or self.body or {})

    @property
    def question_json(self) -> bytes:
        """The same as JSON."""
        return self.content if self.unmarked is None else dumps(self.unmarked)

    @cached_property
    def content(self) -> bytes:
        """The body as it is sent: JSON in UTF-8, or in ASCII where a text holds half a surrogate pair.

        Raises:
            TypeError, ValueError: the body is not JSON.
        """
        if self.raw is not None or self.body is None:
            return self.raw or b""
        content = dumps(self.body)
        if b"null" in content:  # which it makes of infinity too
            json.dumps(self.body, allow_nan=False)
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An HTTP response as it arrived. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime

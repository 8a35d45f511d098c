"""Errors of a provider, before they are worded in its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal

ProblemKind = Literal[
    "rate_limit",
    "quota",
    "auth",
    "server_error",
    "overloaded",
    "too_long",
    "not_found",
    "blocked",
    "invalid",
    "unsupported_parameter",
    "unsupported_value",
]


@dataclass(eq=False)
class Rejected(Exception):
    """The provider rejects the request: for a missing or invalid value of ``param``, named in the provider's words, or
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

    def worded(self, messages: Mapping[str, str], **more: str) -> str:
        """Its own message, or else that of its kind, in which its fields, ``wait`` and ``more`` are filled in."""
        fields = {"model": self.model or "this model", "limit": self.limit, "unit": self.unit}
        return self.message or messages.get(self.kind, "").format(wait=self.retry_after or 1.0, **(fields | more))

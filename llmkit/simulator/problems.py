"""Errors of a provider, before they are worded in its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error. ``param`` names the parameter at fault, in the provider's words; ``retry_after`` is in seconds.
    ``limit`` and ``unit`` are the value and the unit of the limit that was hit.
    """

    kind: ProblemKind
    message: str = ""
    param: str | None = None
    retry_after: float | None = None
    limit: int = 0
    unit: Literal["requests", "tokens", "concurrent"] = "requests"
    model: str = ""

    def worded(self, messages: Mapping[str, str], **more: str) -> str:
        """Its own message, or else that of its kind, in which its fields, ``wait`` and ``more`` are filled in."""
        fields = {"model": self.model or "this model", "limit": self.limit, "unit": self.unit}
        return self.message or messages.get(self.kind, "").format(wait=self.retry_after or 1.0, **(fields | more))


class Rejected(Exception):
    """The provider rejects the request: for a missing or invalid value of ``param``, or whatever ``kind`` says.
    ``more`` are other fields of its ``problem``.
    """

    def __init__(
        self, message: str = "", param: str | None = None, *, kind: ProblemKind = "invalid", **more: Any
    ) -> None:
        super().__init__(message)
        self.problem = Problem(kind=kind, message=message, param=param, **more)

"""Errors of a provider, before they are worded in its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, NamedTuple

ProblemKind = Literal[
    "rate_limit", "quota", "auth", "server_error", "overloaded", "too_long", "not_found", "blocked", "invalid",
    "unsupported_parameter", "unsupported_value",
]  # fmt: skip


class Wording(NamedTuple):
    """How a provider reports one kind of problem; ``type`` and ``code`` are its own words for it."""

    status: int
    message: str = ""
    type: str = ""
    code: str | None = None


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

    def worded(self, wordings: Mapping[str, Wording], **more: str) -> Wording:
        """The wording of its kind, or of ``invalid``: with its own message, or else the kind's, filled in."""
        wording = wordings.get(self.kind, wordings["invalid"])
        fields = {"model": self.model or "this model", "limit": self.limit, "unit": self.unit} | more
        return wording._replace(message=self.message or wording.message.format(wait=self.retry_after or 1.0, **fields))

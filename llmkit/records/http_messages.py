"""What travels over HTTP, as wires and transport hand it to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request without origin and without key. ``path`` is appended to the provider's ``base_url``.

    ``left_out`` names the parameters that were asked for and that the model does not take.
    """

    path: str
    body: Mapping[str, Any] | None = None
    method: Literal["GET", "POST"] = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An HTTP response as it arrived. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime

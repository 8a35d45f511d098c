"""Responses as sent over the wire, intact or damaged by a fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmkit.simulator.faults import USABLE
from llmkit.simulator.stats import Outcome

_GARBAGE = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A response. The connection is cut after ``cut_after`` bytes of the body; ``None``: it is not."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut_after: int | None = None


def damaged(delivery: Delivery, kind: str | None) -> Delivery:
    """Apply a fault to a delivery."""
    body = delivery.body
    match kind:
        case "disconnect":
            return replace(delivery, cut_after=0)
        case "cut":
            return replace(delivery, cut_after=len(body) // 2)
        case "truncated":
            return replace(delivery, body=body[: len(body) // 2])
        case "garbage":
            return replace(delivery, body=_GARBAGE, content_type="text/html")
        case _:
            return delivery


def outcome(status: int | None, fault: str | None) -> Outcome:
    """How a request with this status and fault is counted."""
    if status == 429:
        return "rejected"
    return "ok" if status is not None and 200 <= status < 300 and fault in USABLE else "failed"


def decoded(raw: bytes) -> Any:
    """The JSON of a request body, or ``None`` if it is not JSON."""
    try:
        return json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None

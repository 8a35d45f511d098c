"""Errors of a provider, before they are worded in its format."""

from __future__ import annotations

from dataclasses import dataclass
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


class Rejected(Exception):
    """The provider rejects the request."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def invalid(message: str, param: str | None = None) -> Rejected:
    """The error for a missing or invalid value."""
    return Rejected(Problem(kind="invalid", message=message, param=param))


def unsupported_parameter(message: str, param: str) -> Rejected:
    """The error for a parameter that the model does not accept."""
    return Rejected(Problem(kind="unsupported_parameter", message=message, param=param))


def unsupported_value(message: str, param: str) -> Rejected:
    """The error for a value that the model does not accept."""
    return Rejected(Problem(kind="unsupported_value", message=message, param=param))

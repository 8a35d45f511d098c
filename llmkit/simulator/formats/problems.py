"""What a provider may complain about, before it is put into the provider's own words."""

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
    """A complaint. ``param`` names the parameter at fault, in the provider's words; ``retry_after`` is in seconds.

    ``limit`` and ``unit`` tell which limit was hit: how high it is and what it counts.
    """

    kind: ProblemKind
    message: str = ""
    param: str | None = None
    retry_after: float | None = None
    limit: int = 0
    unit: Literal["requests", "tokens", "concurrent"] = "requests"
    model: str = ""


class Rejected(Exception):
    """The request does not make sense to the provider."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def invalid(message: str, param: str | None = None) -> Rejected:
    """A request that lacks something or has something that makes no sense."""
    return Rejected(Problem(kind="invalid", message=message, param=param))


def unsupported_parameter(message: str, param: str) -> Rejected:
    """A parameter that the model does not take."""
    return Rejected(Problem(kind="unsupported_parameter", message=message, param=param))


def unsupported_value(message: str, param: str) -> Rejected:
    """A value that the model does not take."""
    return Rejected(Problem(kind="unsupported_value", message=message, param=param))

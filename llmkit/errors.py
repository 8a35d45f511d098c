"""All errors: one tree of exceptions and one table of codes.

::

    LlmkitError
    ├── ValidationError          invalid input; nothing was written or sent
    │   ├── EditConflict         the entry was changed elsewhere since it was read
    │   ├── OriginNotApproved    a key would be sent to a host that nobody approved
    │   └── RunNotFound          no run with that id in this catalog
    ├── ModelNotFound            no such model in the catalog
    ├── UnsupportedProvider      no such provider in the catalog
    ├── ModelDeprecated          the model is deprecated or its provider is disabled
    ├── MissingApiKey            the environment variable of the provider is not set
    ├── BudgetExceeded           the budget does not cover the request
    ├── RunRefused               several of the above, detected before anything was sent
    ├── CatalogBusy              another program holds the database open
    ├── CatalogTooNew            the database was written by a newer llmkit
    ├── JournalError             the journal cannot be written (disk full, read-only)
    ├── NotFinished              the wait timed out, but the work continues (also a TimeoutError)
    └── RequestFailed            a provider refused or failed; carries the Failure's code

Each has a ``code`` (one of :class:`Code`) and tells whether a retry can help (``retryable``). Failures of single probes
are rows of a run, not exceptions; they use the same codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Code(StrEnum):
    """Why a probe, a request or a call did not succeed."""

    RATE_LIMITED = "RATE_LIMITED"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    TIMEOUT = "TIMEOUT"
    NETWORK_ERROR = "NETWORK_ERROR"
    SERVER_ERROR = "SERVER_ERROR"
    OVERLOADED = "OVERLOADED"
    AUTH_ERROR = "AUTH_ERROR"
    MISSING_API_KEY = "MISSING_API_KEY"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    UNSUPPORTED_PROVIDER = "UNSUPPORTED_PROVIDER"
    MODEL_DEPRECATED = "MODEL_DEPRECATED"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    CONTENT_BLOCKED = "CONTENT_BLOCKED"
    EMPTY_RESPONSE = "EMPTY_RESPONSE"
    INVALID_RESPONSE = "INVALID_RESPONSE"
    CONTEXT_TOO_LONG = "CONTEXT_TOO_LONG"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    CATALOG_BUSY = "CATALOG_BUSY"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self in _RETRYABLE

    @property
    def resumable(self) -> bool:
        """Whether ``kit.resume`` tries again: it may succeed later, or once the account or the budget is fixed."""
        return self in _RETRYABLE or self in _FIXABLE


_FIXABLE = frozenset({Code.AUTH_ERROR, Code.QUOTA_EXHAUSTED, Code.MISSING_API_KEY, Code.BUDGET_EXCEEDED})

_RETRYABLE = frozenset(
    {
        Code.RATE_LIMITED,
        Code.TIMEOUT,
        Code.NETWORK_ERROR,
        Code.SERVER_ERROR,
        Code.OVERLOADED,
        Code.INVALID_RESPONSE,  # once: see RetryPolicy
        Code.CATALOG_BUSY,
        Code.CANCELLED,
    }
)


class LlmkitError(Exception):
    """Base class of every error that llmkit raises on purpose."""

    code: Code = Code.UNKNOWN

    def __init__(self, message: str, *, code: Code | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later without a change."""
        return self.code.retryable


class ValidationError(LlmkitError):
    """Invalid input; nothing was written or sent.

    ``field`` names the argument at fault, if any, so that a form can show the message at it.
    """

    code = Code.VALIDATION_ERROR

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class EditConflict(ValidationError):
    """The entry was changed elsewhere after it was read."""


class OriginNotApproved(ValidationError):
    """A key would be sent to a host that was neither shipped for its provider nor approved by this user."""


class RunNotFound(ValidationError):
    """No run with that id in this catalog."""


class ModelNotFound(LlmkitError):
    """No such model; ``suggestions`` holds the nearest references."""

    code = Code.MODEL_NOT_FOUND

    def __init__(self, message: str, *, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)


class UnsupportedProvider(LlmkitError):
    """No such provider; ``suggestions`` holds the nearest names."""

    code = Code.UNSUPPORTED_PROVIDER

    def __init__(self, message: str, *, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)


class ModelDeprecated(LlmkitError):
    """The model is deprecated, or its provider is disabled."""

    code = Code.MODEL_DEPRECATED


class MissingApiKey(LlmkitError):
    """The environment variable that holds the provider's key is not set."""

    code = Code.MISSING_API_KEY


class BudgetExceeded(LlmkitError):
    """The budget does not cover the request, or cannot be checked because a price is unknown."""

    code = Code.BUDGET_EXCEEDED


class RunRefused(LlmkitError):
    """Several problems detected before anything was sent; ``problems`` holds them, ``code`` is that of the first."""

    def __init__(self, problems: Sequence[LlmkitError]) -> None:
        lines = "\n".join(f"- {problem}" for problem in problems)
        super().__init__(f"The run was not started:\n{lines}", code=problems[0].code)
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[RunRefused], tuple[tuple[LlmkitError, ...]]]:
        return type(self), (self.problems,)  # not from the message, so that it comes whole from another process


class CatalogBusy(LlmkitError):
    """Another program holds the database; ``pid`` is its process id, if known."""

    code = Code.CATALOG_BUSY

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class CatalogTooNew(LlmkitError):
    """The database was written by a newer llmkit than this one."""

    code = Code.VALIDATION_ERROR


class JournalError(LlmkitError):
    """The journal cannot be written, so no further request may be sent."""


class NotFinished(LlmkitError, TimeoutError):
    """The wait timed out; the work continues in the background."""

    code = Code.TIMEOUT


class RequestFailed(LlmkitError):
    """A request outside a run (a connection test, an infra task) failed for the reason in ``code``."""


def refuse(problems: Sequence[LlmkitError]) -> None:
    """Raise a single problem as it is, several as one :class:`RunRefused`; those with the same words count once."""
    problems = [*{str(problem): problem for problem in problems}.values()]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise RunRefused(problems)

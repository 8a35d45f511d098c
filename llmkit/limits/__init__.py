"""Limit arithmetic: pure functions over frozen states, with the clock passed in. Nothing here waits or reads a file.

``pace`` decides when the next request may start (``minute`` is its log), ``allowance`` reads what a provider's headers
say is left, and ``adaptive`` decides how many requests are worth having in flight. :mod:`llmkit.gate` does the waiting.
"""

from llmkit.limits.adaptive import Adaptive
from llmkit.limits.allowance import Allowance
from llmkit.limits.pace import (
    RATE_LIMITED,
    REQUESTS_LEFT,
    REQUESTS_PER_MINUTE,
    TOKENS_LEFT,
    TOKENS_PER_MINUTE,
    TRIAL,
    Limits,
    PaceState,
    headroom,
    healed,
    is_paused,
    next_start,
    observe,
    outcome,
    pause,
    sent,
    settle,
    start,
)

__all__ = [
    "RATE_LIMITED",
    "REQUESTS_LEFT",
    "REQUESTS_PER_MINUTE",
    "TOKENS_LEFT",
    "TOKENS_PER_MINUTE",
    "TRIAL",
    "Adaptive",
    "Allowance",
    "Limits",
    "PaceState",
    "headroom",
    "healed",
    "is_paused",
    "next_start",
    "observe",
    "outcome",
    "pause",
    "sent",
    "settle",
    "start",
]

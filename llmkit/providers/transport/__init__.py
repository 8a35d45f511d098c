"""Sending requests: adds keys, turns foreign errors into failures, and decides on retries.

No other package imports httpx or tenacity.
"""

from llmkit.providers.transport.long_bodies import apart, one_at_a_time
from llmkit.providers.transport.retries import Delay, RetryPolicy, retrying
from llmkit.providers.transport.sender import Transport

__all__ = ["Delay", "RetryPolicy", "Transport", "apart", "one_at_a_time", "retrying"]

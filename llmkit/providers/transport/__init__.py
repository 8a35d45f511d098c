"""Sending requests: keys are added here, foreign errors become failures here, and retries are decided here.

This package is the only one that imports httpx and tenacity.
"""

from llmkit.providers.transport.long_bodies import apart
from llmkit.providers.transport.retries import Delay, RetryPolicy, retrying
from llmkit.providers.transport.sender import Transport

__all__ = ["Delay", "RetryPolicy", "Transport", "apart", "retrying"]

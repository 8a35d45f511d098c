"""Waiting for what happens in another process or thread."""

import threading
import time


def until(predicate, timeout=60.0):
    """Wait until this holds; whether it did."""
    deadline, tick = time.monotonic() + timeout, threading.Event()
    while not (happened := predicate()) and time.monotonic() < deadline:
        tick.wait(0.02)
    return happened

"""A simulator that answers at once."""

import pytest

from llmkit.simulator import serve


@pytest.fixture
def sim():
    """A simulator without latency, limits or faults."""
    with serve(latency=0) as simulator:
        yield simulator

"""Gates on virtual time and on the real one, always with real files."""

import anyio
import pytest
from virtual_time import VirtualLoop, clock

from llmkit.limiter import Gate


@pytest.fixture
def virtual():
    """Run an async function on virtual time: ``virtual(main)``."""
    return lambda main: anyio.run(main, backend_options={"loop_factory": VirtualLoop})


@pytest.fixture
def make_gate(tmp_path):
    """A gate on virtual time; each one is like another kernel on the same catalog."""
    return lambda **options: Gate(tmp_path / "gate", **{"clock": clock, **options})

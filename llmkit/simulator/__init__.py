"""A local stand-in for all providers: it speaks their formats, enforces limits as they do, and fails on request."""

from __future__ import annotations

from llmkit.simulator.faults import KINDS as FAULTS
from llmkit.simulator.faults import Fault
from llmkit.simulator.server import Simulator, serve
from llmkit.simulator.stats import Received, Served

__all__ = ["FAULTS", "Fault", "Received", "Served", "Simulator", "serve"]

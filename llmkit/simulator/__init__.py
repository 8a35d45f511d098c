"""A local stand-in for all providers: it speaks their formats, keeps limits as they do, and breaks when told to."""

from __future__ import annotations

from llmkit.simulator.faults import KINDS as FAULTS
from llmkit.simulator.faults import Fault
from llmkit.simulator.server import Simulator, serve
from llmkit.simulator.stats import Received, Served

__all__ = ["FAULTS", "Fault", "Received", "Served", "Simulator", "serve"]

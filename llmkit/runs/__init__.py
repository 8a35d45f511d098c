"""Runs: one orchestrator, its background thread, and the handle that notebooks, scripts and panels hold."""

from llmkit.runs import background
from llmkit.runs.attempt import Parts
from llmkit.runs.handle import Handle, RunHandle
from llmkit.runs.progress import ModelProgress, Progress, RunEvent
from llmkit.runs.runner import Runner
from llmkit.runs.spec import RunSpec, stored_spec

__all__ = [
    "Handle",
    "ModelProgress",
    "Parts",
    "Progress",
    "RunEvent",
    "RunHandle",
    "RunSpec",
    "Runner",
    "background",
    "stored_spec",
]

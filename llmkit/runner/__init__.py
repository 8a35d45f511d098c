"""Runs: one orchestrator, its background thread, and the handle that notebooks, scripts and panels hold."""

from llmkit.runner import background
from llmkit.runner.asker import Parts
from llmkit.runner.handle import Handle, RunHandle
from llmkit.runner.order import Order, stored_order
from llmkit.runner.progress import ModelProgress, Progress, RunEvent
from llmkit.runner.runner import Runner

__all__ = [
    "Handle",
    "ModelProgress",
    "Order",
    "Parts",
    "Progress",
    "RunEvent",
    "RunHandle",
    "Runner",
    "background",
    "stored_order",
]

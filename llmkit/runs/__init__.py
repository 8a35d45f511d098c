"""Runs: the orchestrator, its background thread, and the handle that notebooks, scripts and panels hold."""

from llmkit.runs import background
from llmkit.runs.checking import Checker
from llmkit.runs.context import Services
from llmkit.runs.estimating import PastAnswers
from llmkit.runs.handle import Handle, RunHandle
from llmkit.runs.progress import ModelProgress, Progress, RunEvent
from llmkit.runs.rebuilt import request_texts
from llmkit.runs.request import RunRequest
from llmkit.runs.runner import Runner
from llmkit.runs.spec import RunSpec, stored_plan
from llmkit.runs.spending import Spending, Standing

__all__ = [
    "Checker",
    "Handle",
    "ModelProgress",
    "PastAnswers",
    "Progress",
    "RunEvent",
    "RunHandle",
    "RunRequest",
    "RunSpec",
    "Runner",
    "Services",
    "Spending",
    "Standing",
    "background",
    "request_texts",
    "stored_plan",
]

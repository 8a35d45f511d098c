"""Runs: the orchestrator, its background thread, and the handle that notebooks, scripts and panels hold."""

from llmkit.runs import background
from llmkit.runs.checking import Checker
from llmkit.runs.context import Services
from llmkit.runs.estimating import PastAnswers
from llmkit.runs.handle import Handle, RunHandle
from llmkit.runs.process_tuning import tuned_process
from llmkit.runs.progress import ModelProgress, Progress, RunEvent
from llmkit.runs.rebuilt import request_texts
from llmkit.runs.request import ON_EVENT, OPTIONS_EXAMPLE, RUN_OPTIONS, RunRequest
from llmkit.runs.runner import Runner
from llmkit.runs.spec import RunSpec, stored_plan
from llmkit.runs.spending import Spending, Standing
from llmkit.runs.tickets import waiting_words

__all__ = [
    "ON_EVENT", "OPTIONS_EXAMPLE", "RUN_OPTIONS", "Checker", "Handle", "ModelProgress", "PastAnswers", "Progress",
    "RunEvent", "RunHandle", "RunRequest", "RunSpec", "Runner", "Services", "Spending", "Standing", "background",
    "request_texts", "stored_plan", "tuned_process", "waiting_words",
]  # fmt: skip

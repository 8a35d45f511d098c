"""Runs: the orchestrator, its background thread, and the handle that notebooks, scripts and panels hold."""

from llmkit.runs import background
from llmkit.runs.checking import Checker
from llmkit.runs.chosen_models import each_model
from llmkit.runs.context import Services
from llmkit.runs.estimating import PastAnswers
from llmkit.runs.handle import Handle, RunHandle
from llmkit.runs.modes import Mode
from llmkit.runs.plan import AskingOrder
from llmkit.runs.process_tuning import tuned_process
from llmkit.runs.progress import ModelProgress, Progress, RunEvent
from llmkit.runs.rebuilt import request_texts
from llmkit.runs.request import ON_EVENT, OPTIONS_EXAMPLE, Models, RunRequest
from llmkit.runs.reuse import Reuse
from llmkit.runs.runner import Runner
from llmkit.runs.spec import stored_plan
from llmkit.runs.spending import Spending, Standing
from llmkit.runs.stop_rules import StopRule

__all__ = [
    "ON_EVENT", "OPTIONS_EXAMPLE", "AskingOrder", "Checker", "Handle", "Mode", "ModelProgress", "Models",
    "PastAnswers", "Progress", "Reuse", "RunEvent", "RunHandle", "RunRequest", "Runner", "Services",
    "Spending", "Standing", "StopRule", "background", "each_model", "request_texts", "stored_plan",
    "tuned_process",
]  # fmt: skip

"""Scenarios, built from a template and its dimensions, a DataFrame, or a file; no other I/O than those files."""

from __future__ import annotations

from llmkit.scenarios import question
from llmkit.scenarios.carried import RESERVED_COLUMNS
from llmkit.scenarios.file_formats import (
    scenarios_from_csv,
    scenarios_from_yaml,
    scenarios_to_csv,
    scenarios_to_yaml,
    template_from_yaml,
)
from llmkit.scenarios.inputs import Prompts, as_scenarios, scenarios_to_frame
from llmkit.scenarios.levels import Level
from llmkit.scenarios.template import scenarios_from_template

__all__ = [
    "RESERVED_COLUMNS",
    "Level",
    "Prompts",
    "as_scenarios",
    "question",
    "scenarios_from_csv",
    "scenarios_from_template",
    "scenarios_from_yaml",
    "scenarios_to_csv",
    "scenarios_to_frame",
    "scenarios_to_yaml",
    "template_from_yaml",
]

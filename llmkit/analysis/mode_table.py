"""Compare the modes of the same run: live, in batches, at the flex tier."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from llmkit.errors import LlmkitError, ValidationError

MODES: Mapping[str, Mapping[str, str]] = {"live": {}, "batch": {"mode": "batch"}, "flex": {"service_tier": "flex"}}
COLUMNS = ("model", "config", "mode", "requests", "cost", "low", "high", "hours")


def refuse_chosen_mode(options: Collection[str]) -> None:
    """Refuse options that would select one of the compared modes."""
    for name in sorted({"mode", "service_tier"}.intersection(options)):
        raise ValidationError(
            f"plan_modes compares {', '.join(MODES)}: leave {name} out, or use kit.estimate(..., {name}=...) for one.",
            field=name,
        )


def mode_table(models: Iterable[Any], estimate: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """One row per model and mode that it supports; ``estimate(model, **options)`` gives the rows of one."""
    frames = []
    for model in models:
        for mode, options in MODES.items():
            try:
                frames.append(estimate(model, **options).assign(mode=mode))
            except LlmkitError:
                if mode == "live":  # the mode is not what is wrong
                    raise
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]

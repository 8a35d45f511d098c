"""The ways to ask the same beside each other: at once, in batches, at the flex tier."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from llmkit.errors import LlmkitError, ValidationError

MODES: Mapping[str, Mapping[str, str]] = {"live": {}, "batch": {"mode": "batch"}, "flex": {"service_tier": "flex"}}
COLUMNS = ("model", "config", "mode", "requests", "cost", "low", "high", "hours")


def refuse_chosen_mode(options: Collection[str]) -> None:
    """Refuse what would choose between the ways that are compared.

    Raises:
        ValidationError: that is among the options.
    """
    for name in sorted({"mode", "service_tier"}.intersection(options)):
        raise ValidationError(
            f"plan_modes compares {', '.join(MODES)}: leave {name} out, or use kit.estimate(..., {name}=...) for one.",
            field=name,
        )


def mode_table(models: Iterable[Any], estimate: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """One row a model and mode that it can be asked in; ``estimate(model, **how)`` gives the rows of one."""
    frames = []
    for model in models:
        for mode, how in MODES.items():
            try:
                frames.append(estimate(model, **how).assign(mode=mode))
            except LlmkitError:
                if mode == "live":  # whatever is wrong, it is not the mode
                    raise
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]

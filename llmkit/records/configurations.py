"""Configurations: a model with request settings of its own, as users write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records.checks import texts
from llmkit.records.entries import Model


@dataclass(frozen=True, slots=True, init=False)
class Config:
    """A model with its own settings, as an item of ``models=`` of a run: one labelled level of the grid.

    >>> llmkit.Config("openai:gpt-6-luna", label="terse", temperature=0.2, system="Answer in one word.")

    ``how`` accepts ``system``, ``temperature``, ``max_tokens``, ``seed``, ``service_tier`` and the request options of
    ``kit.run`` (``top_p``, ``stop``, ``reasoning_effort`` …); other settings are the run's. Its system prompt replaces
    the run's. The label appears in the column ``config`` of the results and defaults to the model's reference.

    Raises:
        ValidationError: the reference is missing, or the label is not one line of text.
    """

    ref: str
    label: str
    how: Mapping[str, Any] = field(hash=False)

    def __init__(self, ref: str | Model, label: str | None = None, **how: Any) -> None:
        reference = ref.reference if isinstance(ref, Model) else ref
        if not isinstance(reference, str) or not reference.strip():
            raise ValidationError("A Config begins with a model's reference, such as 'openai:gpt-6-luna'.", field="ref")
        object.__setattr__(self, "ref", reference)
        object.__setattr__(self, "label", texts.optional_text(label, "label") or reference)
        object.__setattr__(self, "how", MappingProxyType(dict(how)))

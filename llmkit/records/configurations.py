"""Configurations: a model with the way it is asked, as users write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records.entries import Model


@dataclass(frozen=True, slots=True, init=False)
class Config:
    """A model asked in a way of its own, among the ``models=`` of a run: a level of the grid under a label.

    >>> llmkit.Config("openai:gpt-6-luna", label="terse", temperature=0.2, system="Answer in one word.")

    ``how`` takes ``system``, ``temperature``, ``max_tokens``, ``seed``, ``service_tier`` and what ``options`` of
    ``kit.run`` holds for a request (``top_p``, ``stop``, ``reasoning_effort`` …); the rest is as the run asks. Its
    system prompt takes the place of the run's. The label is the column ``config`` of the results; by default it is the
    model's reference.

    Raises:
        ValidationError: no reference, or a label that is empty or no text.
    """

    ref: str
    label: str
    how: Mapping[str, Any]

    def __init__(self, ref: str | Model, label: str | None = None, **how: Any) -> None:
        reference = ref.reference if isinstance(ref, Model) else ref
        if not isinstance(reference, str) or not reference.strip():
            raise ValidationError("A Config begins with a model's reference, such as 'openai:gpt-6-luna'.", field="ref")
        if label is not None and (not isinstance(label, str) or not label.strip() or not label.isprintable()):
            raise ValidationError("A Config's label is a word or two of text, on one line.", field="label")
        object.__setattr__(self, "ref", reference)
        object.__setattr__(self, "label", reference if label is None else label.strip())
        object.__setattr__(self, "how", MappingProxyType(dict(how)))

"""The estimate as users see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pandas as pd

from llmkit.money.amounts import dollars
from llmkit.money.estimates import ModelEstimate, combine
from llmkit.records.checks.texts import counted
from llmkit.records.rows import as_json

COLUMNS = ("model", "config", "provider", "requests", "input_tokens", "output_tokens", "cost", "low", "high", "basis",
           "observations", "chars_per_token", "hours")  # fmt: skip
_BASIS: Mapping[str, str] = {
    "reused": "stored answers",
    "model × template": "earlier answers to the same template",
    "model": "earlier answers of the same model",
    "provider": "earlier answers of the same provider",
    "all": "earlier answers of other models",
    "constant": "typical lengths, for lack of earlier runs",
    "answers cut": "some of which were cut off",
}
_IN_DF_ONLY = ["provider", "observations", "chars_per_token"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected cost of a run, in US dollars; ``low`` to ``high`` is an 80% interval.

    ``models`` holds one ``ModelEstimate`` per model; ``unpriced`` names those excluded from the total. ``hours`` is how
    long each provider will take within its limits; providers run in parallel. ``reused`` counts stored answers, which
    are not in the total; ``saved`` is what is known to have been paid for them. ``batched`` holds the references of
    models that run in batches: their hours are the longest that their providers promise. ``pending`` counts probes that
    are not asked, with ``reuse="only"``.
    """

    models: tuple[ModelEstimate, ...]
    total: Decimal | None
    low: Decimal | None
    high: Decimal | None
    unpriced: tuple[str, ...]
    hours: Mapping[str, float] = field(default_factory=dict)
    reused: int = 0
    saved: Decimal = Decimal(0)
    batched: frozenset[str] = frozenset()
    pending: int = 0

    @classmethod
    def of(
        cls,
        models: Sequence[ModelEstimate],
        hours: Mapping[str, float] | None = None,
        *,
        reused: int = 0,
        saved: Decimal = Decimal(0),
        batched: Iterable[str] = (),
        pending: int = 0,
    ) -> Estimate:
        """Sum up the models; the total is ``None`` when no model has a price."""
        priced = [model for model in models if model.cost is not None]
        unpriced = tuple(model.model for model in models if model.cost is None)
        expected, low, high = combine(priced) if priced else (None, None, None)
        by_provider, in_batches = hours or {}, frozenset(batched)
        return cls(tuple(models), expected, low, high, unpriced, by_provider, reused, saved, in_batches, pending)

    @property
    def basis(self) -> str:
        """What the estimate rests on, joined by commas; ``answers cut`` comes last, if any of it was cut off."""
        parts = dict.fromkeys(part for model in self.models for part in model.basis.split(", "))
        return ", ".join(sorted(parts, key="answers cut".__eq__))

    @property
    def basis_words(self) -> str:
        """The basis as people read it."""
        if self.basis == "reused" and not self.reused:  # with reuse="only"
            return "nothing, for lack of stored answers"
        return ", ".join(_BASIS[part] for part in self.basis.split(", "))

    @property
    def df(self) -> pd.DataFrame:
        """One row per model: tokens of the whole run, cost, interval, basis, and the number of earlier answers used.
        ``hours`` is how long its provider will take for all of its models.
        """
        rows = [
            {name: getattr(model, name) for name in COLUMNS if name != "hours"}
            | {"hours": self.hours.get(model.provider)}
            for model in self.models
        ]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        return frame.astype(dict.fromkeys(("cost", "low", "high", "hours"), "float64"))

    def to_row(self) -> dict[str, Any]:
        """Return what is stored with the run, JSON-ready, for comparison with actual costs."""
        return {
            **{name: as_json(getattr(self, name)) for name in ("total", "low", "high")},
            "basis": self.basis,
            "unpriced": list(self.unpriced),
            "models": {
                model.config: {
                    **{name: as_json(getattr(model, name)) for name in ("cost", "low", "high")},
                    "basis": model.basis,
                    "observations": model.observations,
                    "tokens": round(model.tokens, 1),
                }
                for model in self.models
            },
        }

    def __repr__(self) -> str:
        if self.total is None:
            return "<Estimate: unpriced>"
        missing = f", without {len(self.unpriced)} unpriced" if self.unpriced else ""
        pending = f"; {counted(self.pending, 'probe')} not asked" if self.pending else ""
        total, low, high = map(dollars, (self.total, self.low, self.high))
        return f"<Estimate {total} (80% sure: {low} to {high}{missing}; based on {self.basis_words}{pending})>"

    def _repr_html_(self) -> str:
        frame, summary = self.df.drop(columns=_IN_DF_ONLY), repr(self).strip("<>")
        if frame["config"].equals(frame["model"]):
            frame = frame.drop(columns="config")
        table = frame.to_html(index=False, na_rep="unknown")
        return f'<div class="tex2jax_ignore mathjax_ignore">{table}<p>{summary}</p></div>'

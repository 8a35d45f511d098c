"""The form to code answers by hand: blind, by keyboard, every code in the journal before the next one is given."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import pandas as pd

from llmkit.analysis import Run, reader_data
from llmkit.analysis.hand_coding import blind_sample
from llmkit.errors import LlmkitError
from llmkit.widgets import html
from llmkit.widgets.panel import Panel
from llmkit.widgets.reader import AnswersWidget, Reply


class _Coding(AnswersWidget):
    """One answer at a time; what it shows goes by messages, as in the reader."""

    _esm = reader_data.MODULE + (resources.files(__package__) / "coding.mjs").read_text(encoding="utf-8")
    view = "coding"


class CodingForm(Panel):
    """A sample of a run's answers to be coded by one person, with a key for each category.

    Numbers and letters code and go on, Space goes on, Backspace goes back, Delete takes back. It begins at the first
    answer that this person has not coded. Neither configurations nor the codes of others are shown.
    """

    title = "Coding by hand"

    def __init__(self, run: Run, categories: Mapping[str, str], n: int, seed: int, name: str, who: str) -> None:
        super().__init__()
        self.run, self._categories, self._name, self._who = run, categories, name, who
        self._sample = blind_sample(run.probes, n, seed)
        self.answers = _Coding(self._data, self._reply)
        self.widget.children = (self.notice.widget, self.answers)

    @property
    def df(self) -> pd.DataFrame:
        """The sample in its order: probe_id, prompt, response, and the ``category`` that you gave, if any."""
        codes = self.run.hand_codes(self._name)
        own = codes[codes["infra_model"] == self._who].set_index("probe_id")["category"]
        table = self._sample[["probe_id", "prompt", "response"]]
        return table.assign(category=table["probe_id"].map(own.astype(object)))

    def refresh(self) -> None:
        """What was coded elsewhere is shown when the form is opened again."""

    def code(self, place: int, category: str | None) -> None:
        """Code the answer at a place of the sample, from 0, as a key does; ``None`` takes back."""
        self.run.annotate(self._sample["probe_id"][place], codes={self._name: category})
        if self.df["category"].notna().all():
            self.island.save()

    def _data(self) -> Mapping[str, Any]:
        """What the browser is told: nothing that says who answered."""
        turns = self.run.turns.groupby("probe_id", sort=False)
        items = []
        for row in self.df.to_dict("records"):
            own = turns.get_group(row["probe_id"])
            texts = [{"prompt": p, "response": r} for p, r in zip(own["prompt"], own["response"], strict=True)]
            category = row["category"] if isinstance(row["category"], str) else None
            items.append({"turns": texts, "category": category})
        return {"categories": list(self._categories.items()), "items": items}

    def _reply(self, content: Mapping[str, Any]) -> Reply:
        try:
            self.code(int(content["place"]), content["category"])
        except LlmkitError as error:
            return {"error": str(error)}, []
        return {}, []

    def _pages(self) -> list[html.Page]:
        given = self.df["category"]
        counts = given.value_counts().reindex(list(self._categories), fill_value=0)
        table = pd.DataFrame({"Category": counts.index, "Answers": counts.to_numpy()})
        return [
            html.Page(f"{self.title}: {given.notna().sum():,} of {len(given):,} answers", table, right=("Answers",))
        ]

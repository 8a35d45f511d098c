"""The form to code answers by hand: blind, by keyboard, each code journaled before the next one."""

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
    """One answer at a time, sent by messages as in the reader."""

    _esm = reader_data.MODULE + (resources.files(__package__) / "coding.mjs").read_text(encoding="utf-8")
    view = "coding"


class CodingForm(Panel):
    """A sample of a run's answers for one person to code, with a key for each category.

    Numbers and letters code and move on, Space moves on, Backspace moves back, Delete removes a code. It starts at the
    first answer that this person has not coded. Neither configurations nor other people's codes are shown.
    """

    title = "Coding by hand"

    def __init__(self, run: Run, categories: Mapping[str, str], n: int, seed: int, name: str, who: str) -> None:
        super().__init__()
        self.run, self._categories, self._name, self._who = run, categories, name, who
        self._sample = blind_sample(run.probes, n, seed)
        self.answers = _Coding(lambda: [self._data()], self._reply)
        self.widget.children = (self.notice.widget, self.answers)

    @property
    def df(self) -> pd.DataFrame:
        """The sample in order: probe_id, prompt, response, and your ``category``, if any."""
        codes = self.run.hand_codes(self._name)
        own = codes[codes["infra_model"] == self._who].set_index("probe_id")["category"]
        table = self._sample[["probe_id", "prompt", "response"]]
        return table.assign(category=table["probe_id"].map(own.astype(object)))

    def refresh(self) -> None:
        """Do nothing: codes given elsewhere are shown when the form is opened again."""

    def code(self, place: int, category: str | None) -> None:
        """Code the answer at a place of the sample, from 0, like a key press; ``None`` removes the code."""
        self.run.annotate(self._sample["probe_id"][place], codes={self._name: category})
        if self.df["category"].notna().all():
            self.island.save()

    def _data(self) -> Mapping[str, Any]:
        """The data sent to the browser, which does not reveal who answered."""
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
        codes = self.df["category"]
        counts = codes.value_counts().reindex(list(self._categories), fill_value=0)
        table = pd.DataFrame({"Category": counts.index, "Answers": counts.to_numpy()})
        return [
            html.Page(f"{self.title}: {codes.notna().sum():,} of {len(codes):,} answers", table, right=("Answers",))
        ]

"""The form to code answers by hand: blind, by keyboard, each code journaled before the next one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

import pandas as pd

from llmkit.analysis import Run, reader_data
from llmkit.errors import ValidationError
from llmkit.records import columns
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
        self._sample = _blind_sample(run.probes, n, seed)
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
        self.island.save()

    def _data(self) -> Mapping[str, Any]:
        """The data sent to the browser, which does not reveal who answered."""
        turns = self.run.turns.groupby("probe_id", sort=False)
        items = []
        for row in columns.rows(self.df):
            own = turns.get_group(row["probe_id"])
            texts = [{"prompt": p, "response": r} for p, r in zip(own["prompt"], own["response"], strict=True)]
            items.append({"turns": texts, "category": row["category"]})
        return {"categories": list(self._categories.items()), "items": items}

    def _reply(self, content: Mapping[str, Any]) -> Reply:
        self.code(int(content["place"]), content["category"])
        return {}, []

    def _pages(self) -> list[html.Page]:
        codes = self.df["category"]
        counts = codes.value_counts().reindex(list(self._categories), fill_value=0)
        table = pd.DataFrame({"Category": counts.index, "Answers": counts.to_numpy()})
        return [
            html.Page(f"{self.title}: {codes.notna().sum():,} of {len(codes):,} answers", table, right=("Answers",))
        ]


def _blind_sample(probes: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Draw ``n`` ok answers, balanced over configurations, in an order that does not reveal them.

    A hash of the seed and the probe's id ranks the answers: drawing again with the same seed gives the same answers.
    """
    ok = probes[(probes["status"] == "ok") & probes["response"].notna()]
    if ok.empty:
        raise ValidationError("There are no answers to code: no probe is ok.", field="run")
    digests = [hashlib.blake2b(f"{seed}:{probe_id}".encode(), digest_size=8).hexdigest() for probe_id in ok["probe_id"]]
    ranked = ok.assign(_place=digests).sort_values("_place")
    turn = ranked.groupby("config", sort=False).cumcount()
    chosen = ranked.assign(_turn=turn).sort_values(["_turn", "_place"]).head(n)
    return chosen.sort_values("_place").drop(columns=["_place", "_turn"]).reset_index(drop=True)

"""Coding by hand: draw a blind sample balanced over configurations, and read the codes."""

from __future__ import annotations

import hashlib

import pandas as pd

from llmkit.errors import ValidationError


def blind_sample(probes: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Draw ``n`` ok answers, balanced over configurations, in an order that does not reveal them.

    A hash of the seed and the probe's id ranks the answers: drawing again with the same seed gives the same answers.

    Raises:
        ValidationError: no answer is ok.
    """
    ok = probes[(probes["status"] == "ok") & probes["response"].notna()]
    if ok.empty:
        raise ValidationError("There are no answers to code: no probe is ok.", field="run")
    digests = [hashlib.blake2b(f"{seed}:{probe_id}".encode(), digest_size=8).hexdigest() for probe_id in ok["probe_id"]]
    ranked = ok.assign(_place=digests).sort_values("_place")
    turn = ranked.groupby("config", sort=False).cumcount()
    chosen = ranked.assign(_turn=turn).sort_values(["_turn", "_place"]).head(n)
    return chosen.sort_values("_place").drop(columns=["_place", "_turn"]).reset_index(drop=True)


def hand_codes(annotations: pd.DataFrame, name: str) -> pd.DataFrame:
    """The codes of each person under a name; see :meth:`llmkit.Run.hand_codes`."""
    rows = annotations[annotations["name"] == f"code.{name}"]
    columns = {"value": "category", "actor": "infra_model"}
    return rows.rename(columns=columns)[["probe_id", "category", "infra_model", "at"]].reset_index(drop=True)

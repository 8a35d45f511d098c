"""Answers that people code: which ones, blind and drawn from every configuration alike, and what they were given."""

from __future__ import annotations

import hashlib

import pandas as pd

from llmkit.errors import ValidationError


def blind_sample(probes: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """``n`` answers that are ok, as many of each configuration as there are, in an order that tells nothing.

    Each probe's place is a hash of the seed and its id: the same seed draws the same answers, also when more arrive.

    Raises:
        ValidationError: no answer is ok.
    """
    ok = probes[(probes["status"] == "ok") & probes["response"].notna()]
    if ok.empty:
        raise ValidationError("There are no answers that are ok to code.", field="run")
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

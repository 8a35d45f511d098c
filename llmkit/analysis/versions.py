"""Whether a model was the same all along: one name may be served in several versions during a run. Pure."""

from __future__ import annotations

import pandas as pd


def version_notes(probes: pd.DataFrame, turns: pd.DataFrame) -> list[str]:
    """A sentence for each model whose answers say that they come from more than one version, oldest version first."""
    answered = turns.dropna(subset=["model_version"]).merge(probes[["probe_id", "model"]], on="probe_id")
    notes = []
    for model, answers in answered.groupby("model", sort=False):
        versions = answers.groupby("model_version")["answered_at"].agg(["count", "min", "max"]).sort_values("min")
        if len(versions) > 1:
            listed = "; ".join(
                f"{name} ({row['count']} answers, {row['min']:%Y-%m-%d %H:%M:%S} to {row['max']:%H:%M:%S} UTC)"
                for name, row in versions.iterrows()
            )
            notes.append(f"{model} was served in {len(versions)} versions: {listed}.")
    return notes

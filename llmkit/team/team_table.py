"""The members of the team as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from llmkit.team.roll import Member

_COLUMNS = ("actor", "is_on", "hosts", "runs", "asking", "probes", "spent", "unpriced", "last_seen")


def team_table(members: Sequence[Member], costs: pd.DataFrame) -> pd.DataFrame:
    """One row per person, those online first: see :meth:`llmkit.Kit.team`. ``costs`` has one row per actor."""
    by_actor = costs.set_index("actor")
    names = dict.fromkeys([*(each.actor for each in members), *by_actor.index.dropna()])
    rows = [_row(name, [each for each in members if each.actor == name], by_actor) for name in names]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"last_seen": "datetime64[us, UTC]"})
    return frame.sort_values(["is_on", "actor"], ascending=[False, True], ignore_index=True)


def _row(name: str, members: Sequence[Member], costs: pd.DataFrame) -> tuple[object, ...]:
    on = [each for each in members if each.is_on]
    runs = [run_id for each in on for run_id in each.runs]
    asking = sorted({limit.partition(":")[0] for each in on for limit in each.uses})
    spent = costs.loc[name] if name in costs.index else {"probes": 0, "estimated_cost": 0.0, "unpriced": 0}
    seen = max((each.seen_at for each in members if each.seen_at is not None), default=None)
    hosts = ", ".join(sorted({each.host for each in on or members}))
    return (name, bool(on), hosts, runs, asking, spent["probes"], spent["estimated_cost"], spent["unpriced"], seen)

"""Notes of people about answers and runs: marks, comments, codes, names and tags, journaled with author and time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes, texts
from llmkit.records.user_warnings import warn
from llmkit.store import Store, events, run_rows

_PLACE = re.compile(r"\d{6,12}")


TAG = "tag."


def note(
    store: Store, run_id: str, actor: str, notes: Mapping[str, Any], positions: Sequence[int] = (events.OF_RUN,)
) -> None:
    """Add notes, by name, to the probes at these positions, or by default to the run itself; ``None`` retracts one."""
    if store.is_read_only:
        raise ValidationError(
            "This run is read-only, so no note can be kept: make it in the catalog that the run comes from, or in a "
            "writable copy of that."
        )
    if lines := [
        events.note(run_id=run_id, position=position, name=name, value=value, actor=actor)
        for position in positions
        for name, value in notes.items()
    ]:
        store.append(lines).result()


def tags(names: Sequence[str]) -> list[str]:
    """The names of the notes that hold these tags."""
    return [TAG + texts.text(name, "a tag") for name in names]


def table(store: Store, run_id: str) -> pd.DataFrame:
    """The latest notes of each person; see :attr:`llmkit.Run.annotations`."""
    frame = store.read(lambda c: run_rows.latest_notes(c, run_id))
    ids = pd.Series([events.probe_id(run_id, position) for position in frame.pop("position")], dtype="str")
    frame.insert(0, "probe_id", ids)
    return frame


def point_out_disputes(notes: pd.DataFrame) -> None:
    """Warn where people gave the same answer different codes."""
    counts = notes[notes["name"].str.startswith("code.")].groupby(["name", "probe_id"])["value"].nunique()
    if names := [*dict.fromkeys(name for name, _ in counts[counts > 1].index)]:
        warn(
            f"People coded the same answers differently, of which run.probes shows the latest: {', '.join(names)}. "
            f"run.hand_codes({names[0].removeprefix('code.')!r}) has everybody's, for llmkit.agreement."
        )


def positions(run_id: str, probe_ids: str | Sequence[str], most: int) -> list[int]:
    """The positions of probes of a run of ``most``, by their ids."""
    chosen = shapes.strings([None] if probe_ids is None else probe_ids, "probe_id")
    return [_position(run_id, probe_id, most) for probe_id in dict.fromkeys(chosen)]


def notes(mark: bool | None, comment: str | None, codes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The notes of :meth:`llmkit.Run.annotate`, by name; ``None`` retracts one."""
    notes: dict[str, Any] = {}
    if mark is not None:
        notes["mark"] = texts.flag(mark, "mark") or None
    if comment is not None:
        notes["comment"] = shapes.string(comment, "comment").strip() or None
    for name, value in shapes.mapping(codes, "codes", "{'tone': 'warm'}").items():
        if not isinstance(value, str | int | float | bool | np.generic | None):
            sentence = f"A code is a text, a number, True or False, not {shapes.kind(value)}."
            raise ValidationError(sentence, field="codes")
        code = texts.json_value(value, "codes") if value != "" else None
        notes[f"code.{texts.text(name, 'the name of a code')}"] = code
    return notes


def _position(run_id: str, probe_id: str, most: int) -> int:
    digits = probe_id.removeprefix(f"{run_id}.")
    position = int(digits) if _PLACE.fullmatch(digits) else most
    if position >= most or events.probe_id(run_id, position) != probe_id:
        raise ValidationError(
            f"There is no probe {texts.one_line(probe_id, 100)!r} in this run: take one of run.probes['probe_id'].",
            field="probe_id",
        )
    return position

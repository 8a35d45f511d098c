"""Heads: the lines of runs without their texts, but with all counts, tokens, costs and notes."""

from __future__ import annotations

from llmkit.store.lines import line, loads, verified
from llmkit.store.schema import PIECES

SCENARIO_TEXTS = ("prompt", "system", "followups", "messages")
OUTCOME_TEXTS = ("reply", "response", "response_at", *PIECES)
"""Columns of scenarios and outcomes with texts, or with where a text is."""
TEXTS = (*SCENARIO_TEXTS, *OUTCOME_TEXTS)
_WITH_TEXTS = {"scenarios", "text", "outcome", "answer"}
"""The line types that have any."""


def head(data: bytes) -> bytes:
    """A line without its texts; it stays in its place, and a damaged one as it is."""
    seen = verified(data)
    if seen is None or seen[1] not in _WITH_TEXTS:
        return data
    event = loads(data)
    for part in (event, event.get("answer") or {}, *event.get("scenarios", ())):
        for name in ("crc", "text", *TEXTS):
            part.pop(name, None)
    return line(event, seen[2])[:-1]

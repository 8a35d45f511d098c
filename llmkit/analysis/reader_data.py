"""Answers for the reader (``reader.mjs``): as one packed table, and as a self-contained page."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, Protocol

import pandas as pd

from llmkit.analysis import markdown
from llmkit.analysis.comparison import HasProbes
from llmkit.money.amounts import billed, dollars
from llmkit.records import columns

MODULE = (resources.files(__package__) / "reader.mjs").read_text(encoding="utf-8")

LEFT_OUT = "{:,} more answers are in the catalog: run.view() in a kernel, or run.to_html(path), shows all."

_TOKENS = ("input_tokens", "output_tokens", "reasoning_tokens")
_FIELDS = {"id": "probe_id", "run": "run_id", "model": "model", "status": "status", "code": "error_code",
           "message": "error_message", "latency": "latency_s"}  # fmt: skip
"""Columns of ``run.probes`` by their names in the reader."""
_READ = (*_FIELDS.values(), "scenario_id", "prompt", "system", "followups", "config", "sample", "estimated_cost",
         "cost_source", "maybe_billed")  # fmt: skip
_HEIGHT = 640  # pixels
_THEMES = """<style>
[data-jp-theme-light="true"] .llmkit-answers { color-scheme: light }
[data-jp-theme-light="false"] .llmkit-answers { color-scheme: dark }
</style>"""  # a sandboxed page does not know JupyterLab's theme
_STYLE = """\
body { margin: 0; font-family: system-ui, sans-serif }
main { box-sizing: border-box; height: 100vh; padding: 12px; display: flex; flex-direction: column }
h1 { font-size: 16px; margin: 0 } #reader { flex: 1; min-height: 420px; display: grid }
@media print { /* the whole conversation, and nothing else */
  main { height: auto } #reader, #reader .panes { display: block; border: 0 } #reader :is(.bar, .list) { display: none }
}"""
_BODY = """<main><h1>{title}</h1><div id="reader"></div></main>
<script type="module">
{module}
const bytes = Uint8Array.from(atob("{data}"), (character) => character.charCodeAt(0));
show(document.getElementById("reader"), await unpack(bytes));
</script>"""


class Answered(HasProbes, Protocol):
    """A run with answers."""

    @property
    def id(self) -> str:
        """The run's id."""

    @property
    def turns(self) -> pd.DataFrame:
        """As :attr:`llmkit.Run.turns`."""

    @property
    def earlier_turns(self) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """As :attr:`llmkit.Run.earlier_turns`."""

    @property
    def question_texts(self) -> Mapping[str, str]:
        """As :attr:`llmkit.Run.question_texts`."""

    @property
    def annotations(self) -> pd.DataFrame:
        """As :attr:`llmkit.Run.annotations`."""


def answers(runs: Iterable[Answered]) -> dict[str, Any]:
    """The reader's data, JSON-ready: ``scenarios``, ``systems`` and ``questions`` (each text once), ``probes`` with
    their turns and notes, ``columns`` (names of the researcher's own columns, in the order of each probe's values) and
    ``codes`` (names of codes in use).
    """
    frames = [(run, *_without_notes(run)) for run in runs]
    own = list(dict.fromkeys(str(n) for _, frame, _ in frames for n in frame.columns if n not in columns.PROBES))
    places: dict[tuple[str, str], int] = {}
    scenarios: list[dict[str, Any]] = []
    systems: dict[str | None, int] = {}  # of scenarios or configurations
    questions: dict[str | None, int] = {}  # with their options, in each order in which they were asked
    probes: list[dict[str, Any]] = []
    for run, frame, notes in frames:
        turns, name = _turns(run.turns), f"{given} ({run.id})" if (given := run.name) else run.id
        earlier, asked = run.earlier_turns, run.question_texts
        for row in columns.rows(frame[[name for name in frame if name in _READ or name not in columns.PROBES]]):
            key = (run.id, row["scenario_id"])
            if key not in places:
                places[key] = len(scenarios)
                prompts = [row["prompt"], *(row["followups"] or ())]
                scenarios.append({"earlier": earlier.get(row["scenario_id"], ()), "prompts": prompts})
            probe = {
                "config": row["config"] or row["model"],
                "sample": int(row["sample"]),
                "cost": _cost(row),
                "turns": turns.get(row["probe_id"], []),
                "s": places[key],
                "system": systems.setdefault(row["system"], len(systems)),
                "question": questions.setdefault(asked.get(row["probe_id"]), len(questions)),
                "values": [_plain(row.get(name)) for name in own],
                "notes": notes.get(row["probe_id"], {}),
                "runName": name,
            }
            probes.append({short: row[column] for short, column in _FIELDS.items()} | probe)
    codes = sorted({name.removeprefix("code.") for p in probes for name in p["notes"] if name.startswith("code.")})
    shared = {"scenarios": scenarios, "systems": list(systems), "questions": list(questions)}
    return {"columns": own, "codes": codes, **shared, "probes": probes}


def pack(data: Mapping[str, Any]) -> bytes:
    """The data as compressed JSON, which the module reads."""
    return gzip.compress(json.dumps(data, separators=(",", ":")).encode(), compresslevel=4, mtime=0)


def fitting(data: Mapping[str, Any], most: int) -> tuple[bytes, int]:
    """Pack the data into at most ``most`` bytes; return it and how many of the last probes were left out to fit."""
    probes, packed = data["probes"], pack(data)
    kept = len(probes)
    while len(packed) > most and kept:
        kept = min(kept - 1, int(0.9 * kept * most / len(packed)))
        packed = pack({**data, "probes": probes[:kept], "left_out": LEFT_OUT.format(len(probes) - kept)})
    return packed, len(probes) - kept


def page(title: str, packed: bytes) -> str:
    """A self-contained HTML document that shows packed data."""
    data = base64.b64encode(packed).decode("ascii")
    body = _BODY.format(title=html.escape(title), module=MODULE, data=data)
    return markdown.document(title, _STYLE, body, scripts=True)


def frame(title: str, packed: bytes) -> str:
    """The page as an iframe whose sandbox can reach neither the notebook nor its server."""
    document = html.escape(page(title, packed), quote=True)
    return (
        f'{_THEMES}<iframe class="llmkit-answers" title="{html.escape(title)}" sandbox="allow-scripts" '
        f'srcdoc="{document}" style="width: 100%; height: {_HEIGHT}px; border: 0"></iframe>'
    )


def _without_notes(run: Answered) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """The probes without people's notes, and the notes by probe and name."""
    frame, names = run.probes, run.annotations["name"].unique()
    named = {name: note if (note := f"note.{name}") in frame else name for name in names}
    shown = {name: column for name, column in named.items() if column in frame}
    notes = {
        row["probe_id"]: {
            name: row[column]
            for name, column in shown.items()
            if row[column] is not None
            and (name != "mark" or row[column])  # a code may be false, a mark is there or not
        }
        for row in columns.rows(frame[["probe_id", *shown.values()]])
    }
    return frame.drop(columns=list(shown.values())), notes


def _cost(row: Mapping[str, Any]) -> str | None:
    """The cost in words; ``None`` if nothing was billed."""
    cost, unpriced = row["estimated_cost"], str(row["cost_source"]).endswith("unpriced") + (row["maybe_billed"] or 0)
    return None if cost is None and not unpriced else billed(cost, unpriced)


def _turns(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    turns: dict[str, list[dict[str, Any]]] = {}
    for row in columns.rows(table[["probe_id", "response", "finish_reason", *_TOKENS, "cost", "latency_s"]]):
        turns.setdefault(row["probe_id"], []).append({"response": row["response"], "note": _note(row)})
    return turns


def _note(turn: Mapping[str, Any]) -> str:
    """Tokens, cost, time, and whether the answer was cut off."""
    parts = []
    if turn["output_tokens"] is not None:
        reasoning = f", {int(turn['reasoning_tokens']):,} of them reasoning" if turn["reasoning_tokens"] else ""
        parts.append(f"{int(turn['input_tokens']):,} tokens in, {int(turn['output_tokens']):,} out{reasoning}")
    parts.append(dollars(turn["cost"]))
    if turn["latency_s"] is not None:
        parts.append(f"{turn['latency_s']:.1f} s")
    if turn["finish_reason"] not in ("stop", None):
        parts.append(f"ended by {turn['finish_reason']}")
    return " · ".join(parts)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)

"""The reader for transcripts: find a probe, read what was asked and answered. Answers are text that others wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.money.pricing import dollars
from llmkit.records.checks.texts import one_line
from llmkit.widgets import html
from llmkit.widgets.panel import line
from llmkit.widgets.table import Column, Row, Table

PAGE = 10
_COLUMNS = (
    Column(title="Answer", width="minmax(80px, 1fr)"),
    Column(title="Sample", width="48px", sort="sample", right=True),
    Column(title="Status", width="minmax(70px, 150px)"),
    Column(title="Time", width="58px", sort="time", right=True),
    Column(title="Cost", width="80px", sort="cost", right=True),
)
_STATUSES = tuple((name, name) for name in ("ok", "failed", "cancelled", "skipped", "pending"))
_TONES: dict[str, html.Tone] = {"ok": "good", "failed": "bad", "cancelled": "warn", "skipped": "warn"}
_PREVIEW = 120
_SEARCHED = 2_000
_PRE = (
    f"white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; margin: 2px 0 8px 0; padding: 6px 10px; "
    f"color: {html.TEXT}; {html.CODE}; line-height: 1.5; border: none"
)


class Transcripts:
    """A table of probes with a filter; the selected one's turns below. ``turns`` reads ``run.turns`` when needed."""

    def __init__(self, turns: Callable[[], pd.DataFrame]) -> None:
        self._read_turns = turns
        self._turns: pd.DataFrame | None = None
        self._probes = pd.DataFrame()
        self.table = Table(_COLUMNS, name="Prompt", group="Model", statuses=_STATUSES, page=PAGE)
        self.table.text.placeholder = "words of the prompt or the answer"
        self.reader = ipw.HTML(layout=ipw.Layout(width="auto", margin="0"))
        self.widget = ipw.VBox(
            [line(self.table.filters), self.table.widget, self.reader], layout=ipw.Layout(width="100%")
        )
        self.table.observe(lambda change: self._show(change.new), "selected")

    def update(self, probes: pd.DataFrame) -> None:
        """Show these probes (``run.probes``)."""
        self._probes = probes.set_index("probe_id", drop=False)
        self._turns = None
        ordered = probes.sort_values("model", kind="stable", key=_order(probes["model"]))
        self.table.rows = tuple(map(_row, _records(ordered)))
        self._show(self.table.selected)

    def _show(self, probe_id: str | None) -> None:
        if probe_id is None or probe_id not in self._probes.index:
            self.reader.value = html.quiet("Select a prompt to read the conversation.")
            return
        if self._turns is None:
            self._turns = self._read_turns()
        turns = self._turns[self._turns["probe_id"] == probe_id]
        self.reader.value = transcript(_records(self._probes.loc[[probe_id]])[0], _records(turns))


def transcript(probe: dict[str, Any], turns: list[dict[str, Any]]) -> str:
    """One probe as it was asked and answered, every character as it came."""
    about = [
        html.badge(probe["status"], _TONES.get(probe["status"], "plain")),
        html.muted(f"{probe['model']} · sample {probe['sample']} · {dollars(_known(probe['estimated_cost']))}"),
    ]
    parts = [html.heading("Transcript", *about)]
    if _known(probe["system"]):
        parts.append(_turn("System", probe["system"]))
    for turn in turns:
        parts += [_turn("Prompt", turn["prompt"]), _turn("Answer", turn["response"], _measured(turn), raised=True)]
    asked = [probe["prompt"], *(probe["followups"] or ())]
    if len(turns) < len(asked):
        parts.append(_turn("Prompt", asked[len(turns)], "no answer"))
    if _known(probe["error_code"]):
        parts.append(html.sentence(f"{probe['error_code']}: {probe['error_message']}", "bad").replace("alert", "note"))
    return (
        '<div class="tex2jax_ignore mathjax_ignore" role="region" aria-label="Transcript" tabindex="0" '
        f'style="{html.FONT}; max-height: 480px; overflow: auto; border: 1px solid {html.LINE}; border-radius: 4px; '
        f'padding: 8px 12px; margin-top: 6px">{"".join(parts)}</div>'
    )


def _turn(who: str, text: Any, note: str = "", *, raised: bool = False) -> str:
    background = html.RAISED if raised else "none"
    more = f" {html.muted(note)}" if note else ""
    return (
        f'<div style="font-weight: 600; font-size: 12px; color: {html.TEXT}">{who}'
        f'<span style="font-weight: normal">{more}</span></div>'
        f'<pre style="{_PRE}; background: {background}; border-radius: 4px">{html.esc(text)}</pre>'
    )


def _measured(turn: dict[str, Any]) -> str:
    """Tokens, cost, time, and whether the answer was cut off."""
    parts = []
    if _known(turn["output_tokens"]) is not None:
        reasoning = _known(turn["reasoning_tokens"])
        thought = f", {int(reasoning):,} of them reasoning" if reasoning else ""
        parts.append(f"{int(turn['input_tokens']):,} tokens in, {int(turn['output_tokens']):,} out{thought}")
    parts.append(dollars(_known(turn["cost"])))
    if _known(turn["latency_s"]) is not None:
        parts.append(f"{turn['latency_s']:.1f} s")
    if turn["finish_reason"] not in ("stop", None):
        parts.append(f"ended by {turn['finish_reason']}")
    return " · ".join(parts)


def _row(probe: dict[str, Any]) -> Row:
    prompt, answer = str(probe["prompt"]), str(_known(probe["response"]) or _known(probe["error_message"]) or "")
    spent, time = _known(probe["estimated_cost"]), _known(probe["latency_s"])
    name = one_line(prompt[:_SEARCHED], _PREVIEW)
    status = str(probe["status"])
    words = status if status != "failed" else str(probe["error_code"])
    return Row(
        key=str(probe["probe_id"]),
        name=name,
        cells=(
            html.clipped(one_line(answer[:_SEARCHED], _PREVIEW)),
            html.esc(probe["sample"]),
            html.badge(words, _TONES.get(status, "plain")),
            "" if time is None else html.esc(f"{time:.1f} s"),
            "" if spent is None else html.esc(dollars(spent)),
        ),
        group=str(probe["model"]),
        heading=html.heading(probe["model"]),
        status=status,
        searched=f"{prompt[:_SEARCHED]} {answer[:_SEARCHED]} {probe['error_code']}".lower(),
        tooltip=f"Read: {name}",
        sort={"name": name.lower(), "sample": int(probe["sample"]), "time": time, "cost": spent},
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _known(value: Any) -> Any:
    return None if value is None or (not isinstance(value, str | list) and pd.isna(value)) else value


def _order(models: pd.Series[str]) -> Callable[[pd.Series[str]], pd.Series[int]]:
    places = {model: place for place, model in enumerate(dict.fromkeys(models))}
    return lambda column: column.map(places)

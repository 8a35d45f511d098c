"""The representation of a kit, or its catalog, as the output of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmkit.widgets import html


def card(path: Path, facts: Mapping[str, object]) -> dict[str, str]:
    """The facts as HTML and as plain text, by MIME type."""
    rows = {"path": path, **facts}
    lines = "".join(f"<div>{html.muted(name)} {html.esc(value)}</div>" for name, value in rows.items())
    width = max(map(len, rows))
    return {
        "text/html": html.literal(html.heading("llmkit") + lines, "overflow-wrap: anywhere"),
        "text/plain": "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()),
    }

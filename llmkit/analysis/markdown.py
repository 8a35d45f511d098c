"""Markdown that no text of a model or user can break, and its HTML page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from itertools import starmap

_MARKUP = re.compile(r"([\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_]))")
"""Inline markup; the underscore in a name such as max_tokens is none."""
_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {scripts}style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
{style}
</style>
</head>
<body>
{body}
</body>
</html>
"""
_STYLE = """\
body { margin: 2em auto; max-width: 52em; padding: 0 1em; font-family: system-ui, sans-serif; line-height: 1.5;
  overflow-wrap: break-word }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #8888; padding: 4px 8px; text-align: left }
figure { margin: 1em 0 } figure svg { max-width: 100%; height: auto } figcaption { font-size: smaller }
pre { border: 1px solid #8888; padding: 8px; white-space: pre-wrap; overflow-wrap: anywhere }"""


def document(title: str, style: str, body: str, *, scripts: bool = False) -> str:
    """A self-contained HTML document, which can load nothing; ``scripts`` lets its own ones run."""
    allowed = "script-src 'unsafe-inline'; " if scripts else ""
    return _DOCUMENT.format(title=html.escape(title), scripts=allowed, style=style, body=body)


def plain(text: object) -> str:
    """A text as one line without markup, HTML, links or formulas."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;"))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells are plain texts, empty for ``None``."""
    lines = [head, ["---"] * len(head), *([plain("" if cell is None else cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verbatim(text: str) -> str:
    """A text of several lines, unchanged, in a fenced block."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def page(title: str, text: str, heading: str = "", figures: Iterable[tuple[str, str]] = ()) -> str:
    """A self-contained HTML page without scripts, with ``figures`` (SVG documents and captions) under the heading."""
    from markdown_it import MarkdownIt  # imported only to write a page

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    shown = "".join(starmap(_figure, figures))
    body = body.replace(f"<h2>{heading}</h2>", f"<h2>{heading}</h2>\n{shown}", 1)
    return document(title, _STYLE, f"<main>\n{body}</main>")


def _figure(svg: str, caption: str) -> str:
    words = html.escape(caption)
    drawing = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{words}"', 1)
    return f"<figure>{drawing}<figcaption>{words}</figcaption></figure>\n"

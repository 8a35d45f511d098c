"""Anthropic's marks for what its prompt cache keeps: ``cache_control`` on blocks of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST = 4
"""Maximum number of marks in a request."""
_MARK = {"cache_control": {"type": "ephemeral"}}


def marked(body: Mapping[str, Any], ends: Sequence[int]) -> dict[str, Any]:
    """A body with marks at the ``ends`` of prefixes, in characters of system prompt plus messages. Texts are split into
    blocks there; their content is unchanged.
    """
    system, messages = body.get("system", ""), body["messages"]
    texts = [system, *(message["content"] for message in messages)]
    if "cache_control" in body or not all(isinstance(text, str) for text in texts):
        return dict(body)  # ``extra_body`` has its own marks, or other texts
    contents = list(_contents(texts, sorted(ends)[-MOST:]))
    own = {"system": contents[0]} if system else {}
    turns = [message | {"content": content} for message, content in zip(messages, contents[1:], strict=True)]
    return {**body, **own, "messages": turns}


def _contents(texts: Sequence[str], ends: Sequence[int]) -> Iterator[str | list[dict[str, Any]]]:
    begun = 0
    for text in texts:
        within = [end - begun for end in ends if begun < end <= begun + len(text)]
        yield _blocks(text, within) if within else text
        begun += len(text)


def _blocks(text: str, ends: Sequence[int]) -> list[dict[str, Any]]:
    """The text in blocks that are not blank; all are marked, except for a rest after the last mark."""
    blocks, begun = [], 0
    for end in ends:
        end = _between_words(text, end)
        if text[begun:end].strip() and (text[end:].strip() or end == len(text)):
            blocks.append({"type": "text", "text": text[begun:end], **_MARK})
            begun = end
    return [*blocks, {"type": "text", "text": text[begun:]}] if text[begun:] else blocks


def _between_words(text: str, end: int) -> int:
    """The last place up to ``end`` that does not split a word: splitting a word would change its tokens."""
    if end == len(text) or text[end].isspace():
        return end
    return max(text.rfind(space, 0, end) for space in " \n\t") + 1 or end

"""Requests that differ only in their texts, as JSON encoded once: for looking up answers by the hundred thousand."""

from __future__ import annotations

import re
import secrets
from collections.abc import Hashable
from dataclasses import replace
from typing import NamedTuple, Self

import orjson

from llmkit.providers.wires.base import Wire
from llmkit.records import Call


class BodyTemplate(NamedTuple):
    """A body in pieces. Of ``gaps``, each is the number of a text (0: the system prompt) and the JSON after it."""

    begins: bytes
    gaps: list[tuple[int, bytes]]

    @classmethod
    def of(cls, wire: Wire, call: Call) -> Self:
        """The template of the requests that have as many messages as this one, and all the rest in common with it.

        Wires send texts as they are, perhaps as a part of a longer one, so that unique ones show their places.
        """
        unique = secrets.token_hex(16)
        messages = (replace(each, content=f"{unique}{n}.") for n, each in enumerate(call.messages, 1))
        system = call.system and f"{unique}0."
        body = wire.build(replace(call, system=system, messages=tuple(messages), marks=())).content
        begins, *rest = re.split(rf"{unique}(\d+)\.".encode(), body)
        return cls(begins, [(int(number), piece) for number, piece in zip(rest[::2], rest[1::2], strict=True)])

    def filled(self, call: Call) -> bytes:
        """The body of a call.

        Raises:
            TypeError: a text has a lone surrogate, for which the whole body is encoded differently.
        """
        texts = [orjson.dumps(text)[1:-1] for text in (call.system or "", *(each.content for each in call.messages))]
        return b"".join((self.begins, *(part for number, piece in self.gaps for part in (texts[number], piece))))


class Questions:
    """What requests ask, as JSON to compare them by (see :attr:`llmkit.records.Request.question_json`)."""

    def __init__(self) -> None:
        self._templates: dict[Hashable, BodyTemplate] = {}

    def json(self, wire: Wire, call: Call, alike: Hashable) -> bytes:
        """The question of a call. Calls with the same ``alike`` have everything but texts in common; ``None`` is like
        no other.
        """
        if alike is not None:
            key = alike, bool(call.system), len(call.messages)
            try:
                return self._template(key, wire, call).filled(call)
            except TypeError:
                pass
        return wire.build(call).question_json

    def _template(self, key: Hashable, wire: Wire, call: Call) -> BodyTemplate:
        if (template := self._templates.get(key)) is None:
            template = self._templates[key] = BodyTemplate.of(wire, call)
        return template

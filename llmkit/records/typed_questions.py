"""Typed questions: the text added to the prompt, the schema of the answer, and how to read it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal
from unicodedata import normalize

from llmkit.records.checks.json_text import parse_json
from llmkit.records.rows import Row

Kind = Literal["choice", "likert", "yes_no", "number", "rank", "matrix", "free"]
Order = tuple[int, ...]
"""The indices of the shuffled options or rows, in the order shown."""

_ORNAMENTS = re.compile(r"""^(-\s|[\s"'*`])+|[\s"'*`.]+$""")
_FORM = "Answer with one JSON object and nothing else: {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Row):
    """The form in which a prompt must be answered. Made by :mod:`llmkit.question`.

    ``options`` are the choices, ``rows`` the items of a matrix, ``low`` and ``high`` the bounds of a number.
    ``shuffle`` shows the options (the rows of a matrix) in a different order for each probe; scales are only reversed.
    """

    kind: Kind
    options: tuple[Any, ...] = ()
    rows: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    shuffle: bool = True

    def order(self, seed: str | bytes) -> Order:
        """The order for a probe; the same seed gives the same order."""
        places = tuple(range(len(self.rows or self.options)))
        if not self.shuffle:
            return places
        generator = Random(seed)
        if self.kind == "likert":
            return places if generator.random() < 0.5 else places[::-1]
        return tuple(generator.sample(places, len(places)))

    def text(self, order: Order) -> str:
        """The text that follows the prompt; empty for free answers."""
        if self.kind == "free":
            return ""
        if self.kind == "number":
            return _FORM.format('{"answer": 0}') + self._bounds()
        shown = [(self.rows or self.options)[place] for place in order]
        lines = "\n".join(f"- {each}" for each in shown)
        if self.kind == "matrix":
            scale, form = ", ".join(map(str, self.options)), json.dumps(dict.fromkeys(shown, "..."), ensure_ascii=False)
            return f"Give one of these for each: {scale}\n{lines}\n\n{_FORM.format(form)}"
        if self.kind == "rank":
            return f"Rank all of these, the first first:\n{lines}\n\n" + _FORM.format('{"answer": ["...", "..."]}')
        return f"Choose one of these, word for word:\n{lines}\n\n" + _FORM.format('{"answer": "..."}')

    def schema(self, order: Order) -> dict[str, Any] | None:
        """The JSON schema of the answer; ``None`` for free answers."""
        if self.kind == "free":
            return None
        if self.kind == "number":
            bounds = {"minimum": self.low, "maximum": self.high}
            return object_schema({"answer": {"type": "number"} | {k: v for k, v in bounds.items() if v is not None}})
        if self.kind == "matrix":
            scale = {"type": "string", "enum": list(map(str, self.options))}
            return object_schema({self.rows[place]: scale for place in order})
        choice = {"type": "string", "enum": [str(self.options[place]) for place in order]}
        if self.kind == "rank":
            return object_schema(
                {"answer": {"type": "array", "items": choice, "minItems": len(order), "maxItems": len(order)}}
            )
        return object_schema({"answer": choice})

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that answers fill, as :meth:`read` names them."""
        if self.kind == "matrix":
            return self.rows
        more = {"likert": ("position", "score"), "yes_no": ("position", "score"), "choice": ("position",)}
        ranks = ("position", *map(str, self.options)) if self.kind == "rank" else ()
        return ("", *more.get(self.kind, ranks))

    def read(self, text: str, order: Order) -> dict[str, Any]:
        """Read the answer from a text, as the columns it fills: the empty name is the answer itself.

        ``position`` is the place, from 1, at which the chosen option (the first of a ranking) was shown; ``score`` is
        1, 2, … along a scale, and 1 or 0 for yes or no; ranks are keyed by option, cells by row.

        Raises:
            ValueError: the answer does not have the required form; the message is a sentence.
        """
        if self.kind == "free":
            return {"": text}
        answer = self._parsed(text)
        if self.kind == "number":
            return {"": self._number(answer)}
        if self.kind == "matrix":
            return self._cells(answer)
        if self.kind == "rank":
            return self._ranks(answer, order)
        place = self._place(answer)
        score = {"likert": {"score": place + 1}, "yes_no": {"score": 1 - place}}.get(self.kind, {})
        return {"": self.options[place], "position": order.index(place) + 1, **score}

    def _bounds(self) -> str:
        limits = (("at least", self.low), ("at most", self.high))
        parts = [f"{words} {limit:g}" for words, limit in limits if limit is not None]
        bounds = " and ".join(parts)
        return f"\nThe number is {bounds}." if bounds else ""

    def _parsed(self, text: str) -> Any:
        """The value of ``answer`` in the JSON (for a matrix, all of the JSON), or the text if it is not JSON."""
        try:
            value = parse_json(text)
        except ValueError:
            if self.kind in ("matrix", "rank"):
                raise
            return text
        if self.kind == "matrix" or not isinstance(value, Mapping):
            return value
        if "answer" not in value:
            raise ValueError("The answer has no field 'answer'.")
        return value["answer"]

    def _place(self, value: Any) -> int:
        place = _place_of(value, self.options) if isinstance(value, bool | int | float | str) else None
        if place is not None:
            return place
        listed = ", ".join(map(str, self.options))
        raise ValueError(f"The answer {str(value)[:80]!r} is not one of the options: {listed}.")

    def _number(self, value: Any) -> float | int:
        # models also write **5**, or a typeset minus
        written = value.strip("*`").replace("\u2212", "-") if isinstance(value, str) else value
        try:
            number = float(written) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"The answer {str(value)[:80]!r} is not a number.")
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            raise ValueError(f"The answer {str(value)[:80]} is out of bounds.{self._bounds()}")
        return int(number) if number.is_integer() and abs(number) < 2**53 else number  # beyond, floats skip integers

    def _ranks(self, value: Any, order: Order) -> dict[str, Any]:
        places = [self._place(each) for each in value] if isinstance(value, list) else []
        if sorted(places) != list(range(len(self.options))):
            raise ValueError("The answer does not rank every option once.")
        ranks = {str(option): places.index(place) + 1 for place, option in enumerate(self.options)}
        return {"": [self.options[place] for place in places], "position": order.index(places[0]) + 1, **ranks}

    def _cells(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError("The answer is not a table of rows.")
        names, cells = list(value), list(value.values())
        named = {row: cells[place] for row in self.rows if (place := _place_of(row, names)) is not None}
        if missing := [row for row in self.rows if row not in named]:
            raise ValueError(f"The answer leaves out {', '.join(missing)}.")
        return {row: self.options[self._place(cell)] for row, cell in named.items()}


def _place_of(value: Any, options: Sequence[Any]) -> int | None:
    """The index of a value among the options: as written, else, if unambiguous, without the ornaments that models add.
    A sign and a grade's minus are not ornaments: -1 is not 1, and A- is not A.
    """
    for alike in (bare, lambda value: _ORNAMENTS.sub("", bare(value))):
        places = [place for place, option in enumerate(options) if alike(option) == alike(value)]
        if len(places) == 1:
            return places[0]
    return None


def bare(value: Any) -> str:
    """The text by which values are told apart: neither case nor the form of a character or number tells them."""
    whole = isinstance(value, float) and value.is_integer()
    return normalize("NFKC", str(int(value) if whole else value)).strip().casefold()


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object with exactly these properties, all required; OpenAI's strict mode accepts it."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }

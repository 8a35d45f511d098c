"""The specification of an expansion: requests, schema, and the dimension values of each scenario. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from llmkit.errors import ValidationError
from llmkit.providers.wires.schemas import asks_for_json
from llmkit.records.checks import shapes, texts
from llmkit.records.typed_questions import object_schema
from llmkit.scenarios.carried import check_columns
from llmkit.scenarios.designs import design
from llmkit.scenarios.levels import Dimension, column_values, read_dimensions

Dimensions = Mapping[str, Iterable[Any]] | Sequence[str] | None

_SPARE = 3
_MOST_SHOWN = 100  # existing scenarios listed in a request


@dataclass(frozen=True, slots=True)
class Conditions:
    """The dimension values of one requested scenario, and their wording for the model."""

    values: Mapping[str, Any]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpansionSpec:
    """The scenarios to write. A slot is the number of a requested scenario, from 0; ``conditions`` holds the dimension
    values of each, if any; ``free`` names dimensions whose values the model chooses.
    """

    description: str
    conditions: Sequence[Conditions] = ()
    free: Sequence[str] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of an answer, suitable for OpenAI's strict mode."""
        entry: dict[str, Any] = {"prompt": {"type": "string"}}
        if self.conditions:
            entry = {"id": {"type": "integer"}, **entry}
        if self.free:
            entry["dimensions"] = object_schema({name: {"type": "string"} for name in self.free})
        return object_schema({"scenarios": {"type": "array", "items": object_schema(entry)}})

    @property
    def keys(self) -> str:
        """The keys of an entry, in words."""
        keys = ['"id" (the number of its conditions)'] * bool(self.conditions) + ['"prompt"']
        keys += [f'"dimensions" (an object with {", ".join(repr(name) for name in self.free)})'] * bool(self.free)
        return " and ".join(keys) + "."

    def prompt(self, slots: Sequence[int], part: int, parts: int, existing: Sequence[str] = ()) -> str:
        """Request the scenarios of these slots, plus a few if others exist, since some will repeat those."""
        spare = _SPARE if existing and not self.conditions else 0
        lines = [f"Write exactly {len(slots) + spare} scenarios for this study:", "", self.description]
        if parts > 1:
            lines += ["", f"(Part {part + 1} of {parts}; the other parts are written apart from this one.)"]
        if self.conditions:
            lines += ["", "Each is written for its own conditions:"]
            lines += [f"id={number}: {self.conditions[slot].words}" for number, slot in enumerate(slots, 1)]
        if existing:
            lines += [
                "",
                "These exist already; write others:",
                *(f"- {texts.one_line(text, 150)}" for text in existing[-_MOST_SHOWN:]),
            ]
        return "\n".join(lines)

    def repair(self, slots: Sequence[int], text: str | None, problem: str) -> str:
        """Repeat a request with the problem of the previous answer."""
        lines = [self.prompt(slots, 0, 1), "", f"Your previous answer could not be used: {problem}"]
        if text:
            lines += ["It began:", text[:300]]
        return "\n".join([*lines, "", asks_for_json(self.schema)])

    def dimensions(self, slot: int, entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The dimension values of an entry; ``None`` when the entry lacks one."""
        if self.conditions:
            return self.conditions[slot].values
        chosen = entry.get("dimensions")
        values = {name: chosen.get(name) if isinstance(chosen, Mapping) else None for name in self.free}
        return values if all(isinstance(value, str) and value.strip() for value in values.values()) else None


def read_spec(description: str, n: int, dimensions: Dimensions) -> ExpansionSpec:
    """The spec of ``n`` scenarios.

    With levels, all combinations occur equally often, and the remainder is a balanced choice of them.
    """
    if isinstance(dimensions, Mapping) and dimensions:
        read = read_dimensions(dimensions)
        cells = _cells([len(dimension.levels) for dimension in read], n)
        return ExpansionSpec(description=description, conditions=[_conditions(read, cell) for cell in cells])
    names: tuple[Any, ...] = ()
    if dimensions is not None and not isinstance(dimensions, Mapping):
        kind = "a list of names, or a dict of names and levels"
        names = (dimensions,) if isinstance(dimensions, str) else shapes.several(dimensions, "dimensions", kind)
    check_columns(names, field="dimensions")
    if len(set(names)) < len(names):
        raise ValidationError("A dimension is named twice.", field="dimensions")
    return ExpansionSpec(description=description, free=names)


def _cells(sizes: Sequence[int], n: int) -> list[tuple[int, ...]]:
    whole, rest = divmod(n, prod(sizes))
    cells = design(sizes, "full", None, 0) * whole if whole else []
    return cells + (design(sizes, "balanced", rest, 0) if rest else [])


def _conditions(read: Sequence[Dimension], cell: Sequence[int]) -> Conditions:
    chosen = [(dimension, dimension.levels[index]) for dimension, index in zip(read, cell, strict=True)]
    words = "; ".join(f"{dimension.name} = {level.wordings[0]}" for dimension, level in chosen)
    return Conditions(column_values(chosen), words)

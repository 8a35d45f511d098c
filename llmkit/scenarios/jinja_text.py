"""Jinja2 templates: sandboxed in a separate process, with undefined names as errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records.checks.near_names import unknown_name
from llmkit.scenarios.jinja_process import TemplateProblem, fill
from llmkit.scenarios.levels import Chosen, Dimension

_GLOBALS = frozenset(("cycler", "dict", "joiner", "namespace", "range"))
"""Names that Jinja2 itself provides."""


def _variable(name: str) -> str:
    """The dimension's name as a Jinja2 variable: lower case, with ``_`` for everything but letters and digits."""
    word = re.sub(r"\W+", "_", name.strip()).lower()
    return f"_{word}" if word[:1].isdigit() else word


def _variables(dimensions: Sequence[Dimension]) -> dict[str, str]:
    """The variables of a template, each with the key of its dimension."""
    owners: dict[str, str] = {}
    for dimension in dimensions:
        for suffix in ("", "_label", *(("_score",) if dimension.is_scored else ())):
            name = f"{_variable(dimension.name)}{suffix}"
            if owners.setdefault(name, dimension.key) != dimension.key:
                raise ValidationError(
                    f"Two dimensions become the Jinja2 variable {name!r}: rename one.", field="dimensions"
                )
    return owners


class JinjaText:
    """A Jinja2 text; ``uses`` holds the keys of its dimensions. ``chosen`` is what it will be filled with, in order."""

    def __init__(
        self, source: str, dimensions: Sequence[Dimension], field: str, chosen: Iterable[Sequence[Chosen]]
    ) -> None:
        self._field = field
        self._results = fill(source, map(_values, chosen))
        owners = _variables(dimensions)
        try:
            names = set(next(self._results))
        except TemplateProblem as error:
            raise ValidationError(f"The {field} is not a valid Jinja2 template: {error}", field=field) from None
        for name in sorted(names - owners.keys() - _GLOBALS):
            sentence = f"{name} in {field} is not a dimension. Set other names in the template itself."
            raise unknown_name(name, owners, field, sentence)
        self.uses = frozenset(owners[name] for name in names & owners.keys())

    def fill(self, chosen: Sequence[Chosen]) -> str:
        """The text with the chosen wordings."""
        try:
            return str(next(self._results))
        except TemplateProblem as error:
            levels = {each.dimension.name: each.level.label for each in chosen}
            raise ValidationError(
                f"The {self._field} cannot be filled for {levels}: {error}", field=self._field
            ) from None


def _values(chosen: Sequence[Chosen]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in chosen:
        name = _variable(each.dimension.name)
        values |= {name: each.wording, f"{name}_label": each.level.label, f"{name}_score": each.level.score}
    return values

"""Scenarios from a template and its dimensions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from llmkit.errors import ValidationError
from llmkit.records import Scenario
from llmkit.records.checks import shapes
from llmkit.records.checks.near_names import unknown_name
from llmkit.scenarios.designs import Method, design
from llmkit.scenarios.jinja_process import TemplateProblem, fill
from llmkit.scenarios.levels import (
    Chosen,
    Dimension,
    choose_wording,
    column_values,
    placeholder_key,
    read_dimensions,
)

Engine = Literal["placeholders", "jinja2"]
_Filler: TypeAlias = "_Placeholders | _JinjaText"


def scenarios_from_template(
    template: str,
    dimensions: Mapping[str, Iterable[Any]],
    *,
    system: str | None = None,
    followups: Sequence[str] | str = (),
    n: int | None = None,
    method: Method = "full",
    seed: int = 0,
    engine: Engine = "placeholders",
) -> list[Scenario]:
    """Cross the levels of all dimensions and fill a template with each combination.

    ``[City]`` in ``template``, ``system`` or ``followups`` is replaced by the wording of the dimension ``City``,
    ignoring case and white space; within one scenario always by the same one. ``[[`` and ``]]`` stand for single
    brackets, so that ``[[City]]`` becomes ``[City]``; empty brackets are left alone. Filled-in text is not searched for
    placeholders again.

    A level is text, a number, a :class:`Level`, or a mapping with its fields. A scenario's ``dimensions`` holds
    ``{name: label}``, and ``{name_score: score}`` for a dimension in which any level has a score.

    ``method``: ``"full"`` gives every combination, last dimension fastest; ``"sample"`` gives ``n`` distinct random
    ones; ``"balanced"`` gives ``n`` distinct ones in which a dimension's levels occur equally often, to within one, and
    pairs of levels about equally often. The result depends on ``seed`` alone; the choice among several wordings depends
    on the seed and the scenario's own levels, not on the other scenarios or the order of the dimensions.

    ``engine="jinja2"`` is for templates that need logic: sandboxed, undefined names are errors. A dimension
    ``Job Title`` becomes the variables ``job_title``, ``job_title_label`` and, if scored, ``job_title_score``. A system
    prompt or follow-up that turns out empty is left out.

    Raises:
        ValidationError: an unknown placeholder, an unused dimension, an empty level, equal labels, a reserved or
            duplicate name, ``n`` out of range, or a template that cannot be filled. ``field`` names the argument.
    """
    read = read_dimensions(dimensions)
    texts = _texts(template, system, followups)
    shapes.one_of(engine, Engine, "engine")
    cells = design([len(dimension.levels) for dimension in read], method, n, seed)
    fillers = [
        (field, _filler(engine, source, read, field, (_choose(read, cell, seed) for cell in cells)))
        for field, source in texts
    ]
    _refuse_unused(read, [filler for _, filler in fillers])
    fingerprint = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
    return [_scenario(_choose(read, cell, seed), fillers, fingerprint) for cell in cells]


def _filler(
    engine: Engine, source: str, dimensions: Sequence[Dimension], field: str, chosen: Iterable[Sequence[Chosen]]
) -> _Filler:
    if engine == "placeholders":
        return _Placeholders(source, dimensions, field)
    return _JinjaText(source, dimensions, field, chosen)


def _texts(template: str, system: str | None, followups: Sequence[str] | str) -> list[tuple[str, str]]:
    texts = [("template", template), *([] if system is None else [("system", system)])]
    texts += [("followups", followup) for followup in shapes.strings(followups, "followups")]
    for field, source in texts:
        if not isinstance(source, str) or not source.strip():
            raise ValidationError(f"{field} must be text, and not empty.", field=field)
    return texts


def _refuse_unused(dimensions: Sequence[Dimension], fillers: Sequence[_Filler]) -> None:
    used = frozenset[str]().union(*(filler.uses for filler in fillers))
    for dimension in dimensions:
        if dimension.key not in used:
            raise ValidationError(
                f"The dimension {dimension.name!r} is not in the template: write {fillers[0].place(dimension.name)} "
                "where it belongs, or leave the dimension out.",
                field="dimensions",
            )


def _choose(dimensions: Sequence[Dimension], cell: Sequence[int], seed: int) -> list[Chosen]:
    levels = [(dimension, dimension.levels[index]) for dimension, index in zip(dimensions, cell, strict=True)]
    named = repr(sorted((dimension.key, str(level.label)) for dimension, level in levels))
    return [Chosen(*pair, choose_wording(*pair, named, seed)) for pair in levels]


def _scenario(chosen: Sequence[Chosen], fillers: Sequence[tuple[str, _Filler]], fingerprint: str) -> Scenario:
    filled = [(field, filler.fill(chosen)) for field, filler in fillers]
    return Scenario(
        prompt=filled[0][1],
        system=next((text for field, text in filled if field == "system" and text.strip()), None),
        followups=tuple(text for field, text in filled if field == "followups" and text.strip()),
        dimensions=column_values((each.dimension, each.level) for each in chosen),
        template=fingerprint,
    )


# --- [placeholders] -------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\[\[|\]\]|\[(?P<name>\s*[^\[\]\s][^\[\]]*)\]")


class _Placeholders:
    """A text with ``[Dimension]`` placeholders, split into pieces of text and keys of dimensions; ``uses`` holds those
    that occur.
    """

    def __init__(self, source: str, dimensions: Sequence[Dimension], field: str) -> None:
        names = {dimension.key: dimension.name for dimension in dimensions}
        self._pieces: list[tuple[str, bool]] = []
        end = 0
        for token in _TOKEN.finditer(source):
            self._pieces.append((source[end : token.start()], False))
            end = token.end()
            if (name := token["name"]) is None:
                self._pieces.append((token[0][0], False))
            elif (key := placeholder_key(name)) in names:
                self._pieces.append((key, True))
            else:
                sentence = f"{token[0]} in {field} is not a dimension. Write [{token[0]}] for text in brackets."
                raise unknown_name(name, names.values(), field, sentence)
        self._pieces.append((source[end:], False))
        self.uses = frozenset(piece for piece, is_key in self._pieces if is_key)

    def place(self, name: str) -> str:
        return f"[{name}]"

    def fill(self, chosen: Sequence[Chosen]) -> str:
        wordings = {each.dimension.key: str(each.wording) for each in chosen}
        return "".join(wordings[piece] if is_key else piece for piece, is_key in self._pieces)


# --- Jinja2 ---------------------------------------------------------------------------------------------------------

_GLOBALS = frozenset(("cycler", "dict", "joiner", "namespace", "range"))
"""Names that Jinja2 itself provides."""


class _JinjaText:
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

    def place(self, name: str) -> str:
        return f"{{{{ {_variable(name)} }}}}"

    def fill(self, chosen: Sequence[Chosen]) -> str:
        try:
            return str(next(self._results))
        except TemplateProblem as error:
            levels = {each.dimension.name: each.level.label for each in chosen}
            raise ValidationError(
                f"The {self._field} cannot be filled for {levels}: {error}", field=self._field
            ) from None


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


def _values(chosen: Sequence[Chosen]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in chosen:
        name = _variable(each.dimension.name)
        values |= {name: each.wording, f"{name}_label": each.level.label, f"{name}_score": each.level.score}
    return values

"""Dimensions and their levels, parsed from user input and checked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from numbers import Integral
from typing import Any, cast

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes, texts
from llmkit.scenarios.carried import check_columns, finite, plain

Wording = str | int | float
"""The value that a level fills in. Numbers stay numbers, so that their columns are numeric."""


@dataclass(frozen=True, slots=True)
class Level:
    """One value of a dimension.

    ``label`` is the value in the column of ``run.probes``, by default the (first) wording. ``options`` is one or more
    wordings; of several, each scenario gets one by a seeded choice. ``score`` places the level on a scale; it fills the
    column ``<dimension>_score``.

    Raises:
        ValidationError: neither label nor wording, an empty wording, or a score that is not a finite number.
    """

    label: Wording | None = None
    options: Sequence[Wording] | Wording | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        options = self.label if self.options is None else self.options
        several = [options] if isinstance(options, str | Mapping) or not isinstance(options, Iterable) else options
        wordings = tuple(map(_wording, several))
        if not wordings:
            raise ValidationError("A level is empty: its list of wordings has no entries.", field="dimensions")
        object.__setattr__(self, "options", wordings)
        object.__setattr__(self, "label", wordings[0] if self.label is None else _wording(self.label))
        object.__setattr__(self, "score", None if self.score is None else _number(self.score))

    @property
    def wordings(self) -> tuple[Wording, ...]:
        """The wordings; at least one."""
        return cast(tuple[Wording, ...], self.options)


@dataclass(frozen=True, slots=True)
class Dimension:
    """A named list of levels. ``key`` is the name by which placeholders match: without case and white space."""

    name: str
    levels: tuple[Level, ...]

    @property
    def key(self) -> str:
        """The name without case and white space."""
        return placeholder_key(self.name)

    @property
    def is_scored(self) -> bool:
        """Whether any level has a score; then there is a column ``<name>_score``."""
        return any(level.score is not None for level in self.levels)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that this dimension adds to ``run.probes``."""
        return (self.name, f"{self.name}_score") if self.is_scored else (self.name,)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A dimension's level and wording in one scenario."""

    dimension: Dimension
    level: Level
    wording: Wording


def placeholder_key(name: str) -> str:
    """``name`` without case and white space: ``[Job Title]`` and ``[job  title]`` are the same placeholder."""
    return "".join(name.split()).casefold()


def read_dimensions(dimensions: Mapping[str, Iterable[Any]]) -> tuple[Dimension, ...]:
    """Check the dimensions of a template and normalise their levels."""
    if not isinstance(dimensions, Mapping) or not dimensions:
        raise ValidationError(
            "Give the dimensions as names with their levels, for example {'City': ['Paris', 'Rome']}.",
            field="dimensions",
        )
    read = tuple(Dimension(name, _levels(name, levels)) for name, levels in dimensions.items())
    check_columns((column for dimension in read for column in dimension.columns), field="dimensions")
    _refuse_repeated(read)
    return read


def column_values(chosen: Iterable[tuple[Dimension, Level]]) -> dict[str, Any]:
    """The values of the columns of ``run.probes`` for one level of each dimension."""
    return {
        column: value
        for dimension, level in chosen
        for column, value in zip(dimension.columns, (level.label, level.score), strict=False)
    }


def choose_wording(dimension: Dimension, level: Level, cell: str, seed: int) -> Wording:
    """The wording for one scenario, identified by the text of its levels (``cell``).

    Chosen by a hash rather than a shared generator, so that it depends neither on the order of the dimensions nor on
    the other scenarios.
    """
    if len(level.wordings) == 1:
        return level.wordings[0]
    digest = sha256(f"{seed}\n{dimension.key}\n{cell}".encode()).digest()
    return level.wordings[int.from_bytes(digest[:8]) % len(level.wordings)]


def _refuse_repeated(dimensions: Sequence[Dimension]) -> None:
    owners: dict[str, str] = {}
    for dimension in dimensions:
        for column in dimension.columns:
            if (owner := owners.setdefault(placeholder_key(column), dimension.name)) != dimension.name:
                raise ValidationError(
                    f"The dimensions {owner!r} and {dimension.name!r} both have a column {column!r}: rename one.",
                    field="dimensions",
                )


def _levels(name: str, levels: Iterable[Any]) -> tuple[Level, ...]:
    if not isinstance(levels, Iterable) or isinstance(levels, str | Mapping | set | frozenset):
        raise ValidationError(f"Give the levels of {name!r} as a list, in their order.", field="dimensions")
    read = tuple(_level(name, level) for level in levels)
    if not read:
        raise ValidationError(f"The dimension {name!r} has no levels: give it at least one.", field="dimensions")
    labels = [str(level.label).strip() for level in read]
    for label in labels:
        if labels.count(label) > 1:
            raise ValidationError(f"The dimension {name!r} has two levels labelled {label!r}.", field="dimensions")
    return read


def _level(name: str, level: Any) -> Level:
    try:
        if isinstance(level, Level):
            return level
        if isinstance(level, Mapping):
            texts.known_names(level, Level.__dataclass_fields__, "A level", "dimensions")
            return Level(**level)
        return Level(options=(_wording(level),))
    except ValidationError as error:
        raise ValidationError(f"Dimension {name!r}: {error}", field="dimensions") from None


def _wording(value: Any) -> Wording:
    """Non-empty text, or a number; never a bool, which YAML makes of an unquoted yes or no."""
    if isinstance(value, bool):
        raise ValidationError(f"A level is {value}: put quotes around yes, no, true and false.", field="dimensions")
    if isinstance(value, str):
        if not value.strip():
            raise ValidationError("A level is empty: give it a wording.", field="dimensions")
        return str(plain(value, where="A level"))
    return _number(value)


def _number(value: Any) -> int | float:
    if shapes.is_real(value):
        return int(value) if isinstance(value, Integral) else finite(float(value), where="A level or its score")
    shown = "empty" if value is None else f"{value!r}"
    raise ValidationError(
        f"A level is {shown}: write text, a number, or a mapping with label, score and options.", field="dimensions"
    )

"""Read values from untrusted request bodies; ``Rejected`` for those that the provider would reject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.simulator.questions import Rejected
from llmkit.simulator.schema_answers import is_schema


class Body(dict[str, Any]):
    """An object of a request, at a ``place`` in it: ``text.format``. ``None`` is an empty one."""

    def __init__(self, value: Any, place: str = "") -> None:
        if not isinstance(value, Mapping | None):
            raise Rejected(f"Invalid type for '{place}': expected an object.", place)
        super().__init__(value or {})
        self.place = place

    def _at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def _invalid(self, name: str, expected: str) -> Rejected:
        return Rejected(f"Invalid value for '{self._at(name)}': expected {expected}.", self._at(name))

    def object(self, name: str) -> Body:
        """An object in this one."""
        return Body(self.get(name), self._at(name))

    def objects(self, name: str) -> list[Body]:
        """A list of objects, which is empty if it is missing."""
        values = self.get(name) or []
        if not isinstance(values, list):
            raise self._invalid(name, "a list")
        return [Body(value, self._at(name)) for value in values]

    def integer(self, name: str, *, least: int = 1) -> int | None:
        """A whole number of at least ``least``, or ``None`` if it is missing."""
        value = self.get(name)
        if value is not None and not (type(value) is int and value >= least):
            raise self._invalid(name, f"an integer of at least {least}")
        return value

    def real(self, name: str, *, most: float) -> float | None:
        """A number from 0 to ``most``, or ``None`` if it is missing."""
        value = self.get(name)
        if value is not None and not (type(value) in (int, float) and 0 <= value <= most):
            raise self._invalid(name, f"a number between 0 and {most:g}")
        return value

    def text(self, name: str) -> str | None:
        """A text; ``None`` for anything else."""
        value = self.get(name)
        return value if isinstance(value, str) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """A text, or a list of texts, as a tuple."""
        value = self.get(name)
        values = value if isinstance(value, list) else [value]
        return tuple(each for each in values if isinstance(each, str))

    @property
    def model(self) -> str:
        """The model id."""
        if not (model := self.text("model")):
            raise Rejected("you must provide a model parameter", "model")
        return model


def json_object(body: Any) -> Body:
    """The decoded body of a request, which is an object."""
    if not isinstance(body, Mapping):
        raise Rejected("We could not parse the JSON body of your request: it must be a JSON object.")
    return Body(body)


def schema_of(value: Any, place: str) -> Mapping[str, Any]:
    """A JSON schema, which is empty if it is missing."""
    if value is not None and not is_schema(value):
        raise Rejected(f"Invalid schema for '{place}'.", place)
    return value or {}


def schema_wanted(form: Body, holder: Body) -> Mapping[str, Any] | None:
    """The schema in ``holder`` if a format asks for it, an empty one if it asks for any JSON, ``None`` for prose."""
    if form.get("type") == "json_schema":
        return schema_of(holder.get("schema"), form.place)
    return {} if form.get("type") == "json_object" else None


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    contents = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "".join(text for text in contents if isinstance(text, str))


def messages_of(value: Any, name: str = "messages") -> tuple[tuple[str, str], ...]:
    """A list of ``{role, content}`` as (role, text) pairs; at least one."""
    if not isinstance(value, list) or not value:
        raise Rejected(f"Missing required parameter: '{name}'.", name)
    messages = []
    for index, message in enumerate(value):
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(role, str):
            raise Rejected(f"Missing required parameter: '{name}[{index}].role'.", name)
        messages.append((role, text_of(message.get("content"))))
    return tuple(messages)

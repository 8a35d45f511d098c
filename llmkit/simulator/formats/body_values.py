"""Read values from untrusted request bodies; ``Rejected`` for those that the provider would reject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.simulator.problems import Rejected
from llmkit.simulator.schema_answers import is_schema


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """An object; ``None`` is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Rejected(f"Invalid type for '{name}': expected an object.", name)
    return value


def json_object(body: Any) -> Mapping[str, Any]:
    """The decoded body of a request, which is an object."""
    if not isinstance(body, Mapping):
        raise Rejected("We could not parse the JSON body of your request: it must be a JSON object.")
    return body


def integer(body: Mapping[str, Any], name: str, *, least: int = 1) -> int | None:
    """A whole number of at least ``least``, or ``None`` if it is missing."""
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise Rejected(f"Invalid value for '{name}': expected an integer of at least {least}.", name)
    return value


def schema_of(value: Any, name: str) -> Mapping[str, Any] | None:
    """A JSON schema, or ``None`` if it is missing."""
    if value is not None and not is_schema(value):
        raise Rejected(f"Invalid schema for '{name}'.", name)
    return value  # type: ignore[no-any-return]


def real(body: Mapping[str, Any], name: str, *, most: float) -> float | None:
    """A number from 0 to ``most``, or ``None`` if it is missing."""
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most):
        raise Rejected(f"Invalid value for '{name}': expected a number between 0 and {most:g}.", name)
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A string or a list of strings as a tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def text_or_none(value: Any) -> str | None:
    """A text; ``None`` for anything else."""
    return value if isinstance(value, str) else None


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    contents = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "".join(text for text in contents if isinstance(text, str))


def messages_of(value: Any, name: str = "messages") -> list[tuple[str, str]]:
    """A list of ``{role, content}`` as (role, text) pairs; at least one."""
    if not isinstance(value, list) or not value:
        raise Rejected(f"Missing required parameter: '{name}'.", name)
    messages = []
    for index, message in enumerate(value):
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(role, str):
            raise Rejected(f"Missing required parameter: '{name}[{index}].role'.", name)
        messages.append((role, text_of(message.get("content"))))
    return messages


def model_of(body: Mapping[str, Any]) -> str:
    """The model id."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Rejected("you must provide a model parameter", "model")
    return model

"""API keys that do not reveal themselves, their redaction from texts, and ``.env`` files."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import AnyStr, NoReturn

from llmkit.errors import ValidationError

log = logging.getLogger("llmkit.providers.credentials")

HIDDEN = "[key]"
"""The replacement for a key in a text."""

_SHORTEST_SECRET = 8
_ESCAPABLE = frozenset('"\\/')
"""Characters that JSON may escape with a plain backslash, besides by their number."""


class Key:
    """An API key that does not reveal itself in ``repr`` or a format string, and cannot be pickled or copied."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Key(set)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A key is neither pickled nor copied.")

    @property
    def is_sendable(self) -> bool:
        """Whether it can be sent in a header."""
        return self._secret.isprintable() and self._secret.isascii()

    def reveal(self) -> str:
        """The key itself, for a request header and nothing else."""
        return self._secret


def redact(text: AnyStr, keys: Iterable[Key]) -> AnyStr:
    """The text with every given key replaced by ``[key]``; some providers quote the key in an error.

    A key is recognized whether its characters are plain, escaped as in JSON or encoded as in URLs, even several times
    over, so that no later decoding restores it.

    A "key" of fewer than eight characters (local servers accept any word) is left alone: it is not a secret, and may be
    a word of an answer.
    """
    if isinstance(text, bytes):
        return redact(text.decode("latin-1"), keys).encode("latin-1")
    for key in keys:
        secret = key.reveal()
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
            escape = "\\u00" if _ESCAPABLE.isdisjoint(secret) else "\\"
            if escape in text or "%" in text:  # line by line: other threads can run in between
                text = "".join(_written(secret).sub(HIDDEN, line) for line in text.splitlines(keepends=True))
    return text


@lru_cache(maxsize=64)
def _written(secret: str) -> re.Pattern[str]:
    """A pattern for all ways in which a key may be written."""
    return re.compile("".join(map(_one_written, secret)))


def _one_written(character: str) -> str:
    number = "".join(f"[{digit}{digit.upper()}]" for digit in f"{ord(character):02x}")
    backslashes = r"\\\\{0,7}"  # alternatives that begin with different characters match fast
    encoded = f"(?:25){{0,2}}{number}"
    escapes = f"u00(?:{number}|25{encoded})" + (f"|{re.escape(character)}" if character in _ESCAPABLE else "")
    return f"(?:{re.escape(character)}|{backslashes}(?:{escapes})|%{encoded})"


def checked_key(key: Key, source: str) -> Key:
    """The key, if it is valid. It is passed wrapped, because a traceback may show local variables.

    Raises:
        ValidationError: it cannot be sent in a header. The message names the source, never the text.
    """
    if not key.is_sendable:
        raise ValidationError(
            f"The key in {source} has a line break, a control character or a letter that no key has. Copy it again.",
            field="api_key_env",
        )
    return key


def read_dotenv(path: Path) -> Mapping[str, str | None]:
    """The values of a ``.env`` file, without adding them to the environment; parsed again only if the file changes."""
    try:
        return _parse_dotenv(path, path.stat().st_mtime_ns) if path.is_file() else {}
    except (OSError, UnicodeDecodeError):
        log.warning("unreadable .env file", extra={"path": str(path)})
        return {}


@lru_cache(maxsize=4)
def _parse_dotenv(path: Path, changed_at: int) -> Mapping[str, str | None]:
    import dotenv  # loaded only if there is such a file

    return dotenv.dotenv_values(path, interpolate=False)  # a $ in a key is a $

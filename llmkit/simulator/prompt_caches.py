"""Prompt caches as the providers have them: what begins like an earlier request costs less to read again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from llmkit.simulator.questions import CHARACTERS_PER_TOKEN, Question

_BLOCK = 128  # tokens: what caches count in that keep every beginning on their own
_LOOKBACK = 20  # blocks before a mark that are looked up
_KEPT = 300.0  # seconds since the last use
_SIZE = 200_000  # beginnings remembered


class PromptCaches:
    """What has been read lately. A request is served from what was there when it came: of many that begin alike and
    come at the same moment, each reads everything itself.
    """

    def __init__(self) -> None:
        self._used: dict[str, float] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._used.clear()

    def held(self, question: Question, now: float) -> int:
        """Tokens of its beginning that need not be read again."""
        known = (end for end, key in _beginnings(question, _readable(question)) if now - self._used.get(key, 0) < _KEPT)
        return max(known, default=0) // CHARACTERS_PER_TOKEN

    def keep(self, question: Question, now: float) -> int:
        """Keep what was read; returns the tokens that were written for it."""
        if len(self._used) > _SIZE:
            self._used.clear()
        ends = dict(_beginnings(question, _readable(question) if question.marks is None else question.marks))
        self._used.update(dict.fromkeys(ends.values(), now))
        return max(max(ends, default=0) // CHARACTERS_PER_TOKEN - question.held, 0)


def _readable(question: Question) -> Iterable[int]:
    """Where beginnings may end, in characters: anywhere in whole blocks, or at a mark and the ends of texts before."""
    if question.marks is None:
        size = _BLOCK * CHARACTERS_PER_TOKEN
        return range(size, len(question.characters) + 1, size)
    last = max(question.marks, default=0)
    return [end for end in question.text_ends if end <= last][-_LOOKBACK:]


def _beginnings(question: Question, ends: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Those that are long enough for the provider's cache, each with what it is known by."""
    running, done = hashlib.blake2b(f"{question.provider}\x1f{question.model}\x1f".encode(), digest_size=12), 0
    for end in sorted(ends):
        running.update(question.characters[done:end].encode("utf-8", "surrogatepass"))
        done = end
        if end >= question.least_cached * CHARACTERS_PER_TOKEN:
            yield end, running.hexdigest()

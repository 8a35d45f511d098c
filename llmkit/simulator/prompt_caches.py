"""Prompt caches like the providers': prefixes shared with earlier requests cost less to read again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from llmkit.simulator.questions import CHARACTERS_PER_TOKEN, Question

_BLOCK = 128  # tokens: the granularity of automatic caches
_LOOKBACK = 20  # text ends looked up before a mark
_KEPT = 300.0  # seconds since the last use
_SIZE = 200_000  # prefixes remembered
_LEAST = {  # tokens of the shortest cached prefix, usually 1,024: litellm's prompt_cache_min_tokens
    512: re.compile(r"claude.*(-5-5(-|$)|opus-5$|fable-5|mythos-5)"),
    2_048: re.compile(r"claude-opus-4-7|gemini-2\.5-pro"),
    4_096: re.compile(r"claude-(opus-4-[56]|haiku-4-5)|gemini-(3\.1-pro|3\.[5-9]-flash$|4)"),
}


class PromptCaches:
    """Recently read prefixes. A request only benefits from what was cached when it arrived: of many with a common
    prefix that arrive at the same moment, each reads everything itself.
    """

    def __init__(self) -> None:
        self._used: dict[str, float] = {}

    def held(self, question: Question, now: float) -> int:
        """The number of tokens of its longest cached prefix."""
        cached = (end for end, key in _prefixes(question, _readable(question)) if now - self._used.get(key, 0) < _KEPT)
        return max(cached, default=0) // CHARACTERS_PER_TOKEN

    def keep(self, question: Question, now: float) -> int:
        """Cache the prefixes of a request; return the number of tokens written."""
        if len(self._used) > _SIZE:
            self._used.clear()
        ends = dict(_prefixes(question, _readable(question) if question.marks is None else question.marks))
        self._used.update(dict.fromkeys(ends.values(), now))
        return max(max(ends, default=0) // CHARACTERS_PER_TOKEN - question.held, 0)


def _readable(question: Question) -> Iterable[int]:
    """Where a cached prefix may end, in characters: at any whole block, or at a mark and at ends of texts before it."""
    if question.marks is None:
        size = _BLOCK * CHARACTERS_PER_TOKEN
        return range(size, len(question.characters) + 1, size)
    last = max(question.marks, default=0)
    return [end for end in question.text_ends if end <= last][-_LOOKBACK:]


def _prefixes(question: Question, ends: Iterable[int]) -> Iterator[tuple[int, str]]:
    """The ends of prefixes that are long enough for the provider's cache, each with a digest of the prefix."""
    least = next((tokens for tokens, models in _LEAST.items() if models.search(question.model)), 1_024)
    running, done = hashlib.blake2b(f"{question.provider}\x1f{question.model}\x1f".encode(), digest_size=12), 0
    for end in sorted(ends):
        running.update(question.characters[done:end].encode("utf-8", "surrogatepass"))
        done = end
        if end >= least * CHARACTERS_PER_TOKEN:
            yield end, running.hexdigest()

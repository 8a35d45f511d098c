"""Shared beginnings of scenarios, which a provider's prompt cache can hold for several requests. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

BYTES_PER_TOKEN = 4

Parts = tuple[bytes, ...]
"""The texts of a scenario in the order that a model reads them: system prompt, earlier messages, prompt."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first ``size`` bytes of the text, shared by a number of ``scenarios``; ``first`` is the number of one."""

    size: int
    scenarios: int
    first: int


@dataclass(frozen=True, slots=True)
class Block:
    """Scenarios (numbers) that are asked together, and the beginnings that all of them share, shortest first."""

    scenarios: tuple[int, ...]
    shared: tuple[Beginning, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Divides scenarios into blocks by their shared beginnings.

    Each scenario is asked ``repeats`` times. Scenarios form a block of their own when they share at least ``least``
    bytes more than they do with others; ``before`` bytes, which precede all scenarios, count towards that.
    """

    parts: Sequence[Parts]
    repeats: int
    least: int
    before: int = 0

    def blocks(self, generator: Random) -> list[Block]:
        """The blocks, shuffled so that those with a common beginning stay adjacent."""
        members = sorted(range(len(self.parts)), key=lambda number: self.parts[number])
        return self._divided(members, (), generator)

    def _divided(self, members: Sequence[int], shared: tuple[Beginning, ...], generator: Random) -> list[Block]:
        begun = shared[-1].size if shared else -self.before
        families = [each for each in self._families(members, begun + self.least) if len(each) * self.repeats > 1]
        if not families:
            return [Block(tuple(members), shared)]
        divided = []
        for family in families:
            beginning = Beginning(alike(self.parts[family[0]], self.parts[family[-1]]), len(family), family[0])
            divided.append(self._divided(family, (*shared, beginning), generator))
        others = set(members).difference(*families)
        if others:
            divided.append([Block(tuple(sorted(others)), shared)])
        generator.shuffle(divided)
        return [block for blocks in divided for block in blocks]

    def _families(self, members: Sequence[int], size: int) -> list[list[int]]:
        """Groups of sorted members that share their first ``size`` bytes; a long enough member alone is one, too."""
        families: list[list[int]] = []
        for member in members:
            if families and alike(self.parts[families[-1][-1]], self.parts[member]) >= size:
                families[-1].append(member)
            elif sum(map(len, self.parts[member])) >= size:
                families.append([member])
        return families


def alike(one: Parts, other: Parts) -> int:
    """The number of bytes before two scenarios differ."""
    same = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            return same + _common(left, right)
        same += len(left)
    return same


def _common(one: bytes, other: bytes) -> int:
    """The length of the common beginning, by bisection: comparing slices is much faster than comparing bytes."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

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


def divided(parts: Sequence[Parts], generator: Random, *, repeats: int, least: int, before: int) -> list[Block]:
    """Scenarios in blocks by their shared beginnings, shuffled so that those with a common beginning stay adjacent.

    Each scenario is asked ``repeats`` times. Scenarios form a block of their own when they share at least ``least``
    bytes more than they do with others; ``before`` bytes, which precede all scenarios, count towards that.
    """

    def blocks(members: Sequence[int], shared: tuple[Beginning, ...]) -> list[Block]:
        size = least + (shared[-1].size if shared else -before)
        families = [each for each in _families(parts, members, size) if len(each) * repeats > 1]
        if not families:
            return [Block(tuple(members), shared)]
        parted = []
        for family in families:
            beginning = Beginning(alike(parts[family[0]], parts[family[-1]]), len(family), family[0])
            parted.append(blocks(family, (*shared, beginning)))
        others = set(members).difference(*families)
        if others:
            parted.append([Block(tuple(sorted(others)), shared)])
        generator.shuffle(parted)
        return [block for some in parted for block in some]

    return blocks(sorted(range(len(parts)), key=lambda number: parts[number]), ())


def _families(parts: Sequence[Parts], members: Sequence[int], size: int) -> list[list[int]]:
    """Groups of sorted members that share their first ``size`` bytes; a long enough member alone is one, too."""
    families: list[list[int]] = []
    for member in members:
        if families and alike(parts[families[-1][-1]], parts[member]) >= size:
            families[-1].append(member)
        elif sum(map(len, parts[member])) >= size:
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

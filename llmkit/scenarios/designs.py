"""Choose combinations of levels: all, a random sample, or a balanced fraction. Pure arithmetic on indices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from math import lcm, prod
from numbers import Integral
from random import Random
from typing import Any, Literal

from llmkit.errors import ValidationError
from llmkit.records.checks import numbers, shapes

Method = Literal["full", "sample", "balanced"]
Cell = tuple[int, ...]

MAX_SCENARIOS = 1_000_000
TRIES_PER_ROW = 20
RESTARTS = 5


def design(sizes: Sequence[int], method: Method, n: int | None, seed: int) -> list[Cell]:
    """Combinations of level indices, each at most once, in the order of the full product (last dimension fastest).

    ``sizes`` holds each dimension's number of levels. The same arguments always give the same combinations.
    """
    total = prod(sizes)
    n, seed = _check(method, n, total), numbers.whole(seed, "seed")
    if n is None:
        return list(product(*map(range, sizes)))
    pick = _sample if method == "sample" else _balanced
    if 2 * n > total:  # the complement of a balanced set is balanced too
        left_out = set(pick(sizes, total - n, Random(seed)))
        return [cell for cell in product(*map(range, sizes)) if cell not in left_out]
    return sorted(pick(sizes, n, Random(seed)))


def _check(method: Method, n: Any, total: int) -> int | None:
    shapes.one_of(method, Method, "method")
    if method == "full":
        if n is not None:
            raise ValidationError(
                "n goes with method='sample' or method='balanced'; 'full' means all combinations.", field="n"
            )
        if total > MAX_SCENARIOS:
            raise ValidationError(
                f"The dimensions multiply to {total:,} scenarios, more than {MAX_SCENARIOS:,}: "
                "use method='balanced' (or 'sample') with n.",
                field="dimensions",
            )
        return None
    limit = min(total, MAX_SCENARIOS)
    if not shapes.is_real(n, Integral) or not 1 <= int(n) <= limit:
        raise ValidationError(
            f"n={n!r} is out of range: method={method!r} needs a whole number from 1 to {limit:,} here. "
            "To run the same scenario several times, use samples=... of kit.run.",
            field="n",
        )
    return int(n)


def _sample(sizes: Sequence[int], n: int, rng: Random) -> set[Cell]:
    """``n`` distinct combinations, all equally likely; ``n`` is at most half of the product."""
    cells: set[Cell] = set()
    while len(cells) < n:
        cells.add(tuple(rng.randrange(size) for size in sizes))
    return cells


def _balanced(sizes: Sequence[int], n: int, rng: Random) -> set[Cell]:
    """``n`` distinct combinations in which the levels of a dimension occur equally often (to within one).

    First a few greedy searches that also spread the pairs of levels; if all of them reach a dead end (in small
    products), a rotation that cannot fail.
    """
    tries = (_greedy(sizes, n, rng) for _ in range(RESTARTS))
    return next((cells for cells in tries if cells is not None), None) or _rotation(sizes, n)


def _greedy(sizes: Sequence[int], n: int, rng: Random) -> set[Cell] | None:
    """Row by row, take in each dimension one of the least used levels, so that counts never differ by more than 1.

    Among these, take the level that has met the levels already in the row least often, so that dimensions are not
    confounded. Each retry of a row weighs pairs less. ``None`` when all tries give a combination that is used already.
    """
    used = [Counter(dict.fromkeys(range(size), 0)) for size in sizes]
    met: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    cells: set[Cell] = set()

    def draw(noise: int) -> Cell:
        row: dict[int, int] = {}
        for dimension in rng.sample(range(len(sizes)), len(sizes)):
            least = min(used[dimension].values())
            free = [level for level, count in used[dimension].items() if count == least]
            rng.shuffle(free)
            cost = {
                level: sum(met[_pair((dimension, level), other)] for other in row.items()) + noise * rng.random()
                for level in free
            }
            row[dimension] = min(free, key=cost.__getitem__)
        return tuple(row[dimension] for dimension in range(len(sizes)))

    for _ in range(n):
        cell = next((drawn for noise in range(TRIES_PER_ROW) if (drawn := draw(noise)) not in cells), None)
        if cell is None:
            return None
        cells.add(cell)
        met.update(combinations(enumerate(cell), 2))
        for dimension, level in enumerate(cell):
            used[dimension][level] += 1
    return cells


def _pair(one: tuple[int, int], other: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    return (one, other) if one < other else (other, one)


def _rotation(sizes: Sequence[int], n: int) -> set[Cell]:
    """The first ``n`` combinations of an order in which every prefix is balanced.

    Two dimensions with a and b levels: step t takes level t mod a of the first, and level (t + t // lcm(a, b)) mod b of
    the second. No combination repeats before all have occurred (Chinese remainder theorem, one shift per cycle), and
    both are used evenly. Further dimensions are added one at a time, with the result so far as the first.
    """
    cells: list[Cell] = [()]
    for size in sizes:
        cycle = lcm(len(cells), size)
        steps = range(min(n, len(cells) * size))
        cells = [(*cells[step % len(cells)], (step + step // cycle) % size) for step in steps]
    return set(cells[:n])

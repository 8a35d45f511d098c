"""Full products, samples and balanced fractions."""

from collections import Counter
from itertools import combinations, product
from math import prod

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmkit.errors import ValidationError
from llmkit.scenarios import scenarios_from_template
from llmkit.scenarios.designs import _rotation, design

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def assert_balanced(cells, sizes):
    """In every dimension the levels are used equally often, to within one."""
    for dimension, size in enumerate(sizes):
        counts = Counter(dict.fromkeys(range(size), 0))
        counts.update(cell[dimension] for cell in cells)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_a_fraction_of_50_of_625_is_balanced_in_every_level():
    """Each of the five levels of each of four dimensions is asked ten times; no combination twice."""
    dimensions = {name: [f"{name}{i}" for i in range(5)] for name in "ABCD"}
    scenarios = scenarios_from_template("[A][B][C][D]", dimensions, method="balanced", n=50)
    for name, levels in dimensions.items():
        assert Counter(s.dimensions[name] for s in scenarios) == dict.fromkeys(levels, 10)
    assert len({s.prompt for s in scenarios}) == 50


def test_a_fraction_does_not_confound_two_dimensions():
    """Every pair of levels of any two of four dimensions meets in a fraction of 50 (2 times each would be ideal)."""
    for seed in range(5):
        cells = design([5, 5, 5, 5], "balanced", 50, seed)
        for one, other in combinations(range(4), 2):
            met = Counter((cell[one], cell[other]) for cell in cells)
            assert len(met) >= 24
            assert max(met.values()) <= 4


@given(SIZES, st.data(), st.integers(0, 1000))
def test_any_fraction_is_balanced_without_repeats(sizes, data, seed):
    """Whatever the levels and n: n different combinations, in every dimension counts differ by at most 1."""
    n = data.draw(st.integers(1, prod(sizes)))
    cells = design(sizes, "balanced", n, seed)
    assert len(cells) == len(set(cells)) == n
    assert set(cells) <= set(product(*map(range, sizes)))
    assert_balanced(cells, sizes)
    assert cells == design(sizes, "balanced", n, seed) == sorted(cells)


@given(SIZES, st.data())
def test_the_rotation_is_balanced_at_every_length(sizes, data):
    """The last resort of the search is balanced without repeats too, for every n."""
    n = data.draw(st.integers(0, prod(sizes)))
    cells = _rotation(sizes, n)
    assert len(cells) == n
    assert_balanced(cells, sizes)


@given(SIZES, st.data(), st.integers(0, 1000))
def test_a_sample_has_no_repeats(sizes, data, seed):
    """n different combinations of the product, in its order, the same for the same seed."""
    n = data.draw(st.integers(1, prod(sizes)))
    cells = design(sizes, "sample", n, seed)
    everything = list(product(*map(range, sizes)))
    assert len(set(cells)) == n
    assert cells == [cell for cell in everything if cell in set(cells)]
    assert cells == design(sizes, "sample", n, seed)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_another_seed_gives_another_design(one, other):
    """Samples and fractions of a large product depend on the seed."""
    assume(one != other)
    for method in ("sample", "balanced"):
        assert design([6] * 6, method, 30, one) != design([6] * 6, method, 30, other)


def test_nearly_everything_is_a_choice_too():
    """Which few combinations are left out depends on the seed; nothing degenerates near the full product."""
    for method in ("sample", "balanced"):
        assert len({tuple(design([4, 4, 4], method, 60, seed)) for seed in range(10)}) == 10


def test_a_fraction_of_a_product_too_large_to_list():
    """Thirty dimensions of five levels have 10^20 combinations; a fraction of them is no problem."""
    for method in ("sample", "balanced"):
        cells = design([5] * 30, method, 20, 0)
        assert len(set(cells)) == 20
    assert_balanced(cells, [5] * 30)
    with pytest.raises(ValidationError, match="balanced"):
        design([5] * 30, "full", None, 0)


@pytest.mark.parametrize("method", ["sample", "balanced"])
@pytest.mark.parametrize("n", [0, -1, 7, None, 2.0, True, "3"])
def test_n_out_of_range_is_refused(method, n):
    """n is a whole number from 1 to the product; the error says the range and how to repeat scenarios."""
    with pytest.raises(ValidationError, match=r"1 to 6.*samples=") as error:
        scenarios_from_template("[A][B]", {"A": [1, 2], "B": [1, 2, 3]}, method=method, n=n)
    assert error.value.field == "n"


def test_n_with_the_full_product_is_refused():
    """Asking for n of everything is a misunderstanding worth a sentence."""
    with pytest.raises(ValidationError, match="method='sample'"):
        scenarios_from_template("[A]", {"A": [1, 2]}, n=1)


def test_unknown_method_and_seed_are_refused():
    """The error names the argument."""
    for field, more in {"method": {"method": "random", "n": 1}, "seed": {"seed": "x"}}.items():
        with pytest.raises(ValidationError) as error:
            scenarios_from_template("[A]", {"A": [1, 2]}, **more)
        assert error.value.field == field

"""Intervals hold the truth as often as they say, in simulated studies; naive ones do not."""

import pytest
from studies import World, coverage, family_wise_error

WORLDS = {
    "40 scenarios": World(40),
    "8 scenarios": World(8),
    "6 scenarios": World(6, samples=5),
    "10 scenarios, failures at random": World(10, failures="random"),
    "40 scenarios, hard ones fail": World(40, failures="hard"),
    "shares around 0.5, 40 scenarios": World(40, level=0.0),
    "shares around 0.8, 8 scenarios": World(8, level=1.5),
    "shares around 0.9, 20 scenarios": World(20, level=2.5),
}


def test_intervals_cover_in_few_studies():
    """A glance at what the long test measures: clustered intervals cover, naive ones of means fall short."""
    means, differences = coverage(WORLDS["8 scenarios"], 60)
    assert means > 0.90
    assert differences > 0.90
    assert coverage(WORLDS["8 scenarios"], 20, within=None)[0] < 0.9


@pytest.mark.soak
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_cover_the_truth(name):
    """Of 500 studies, 93 to 97% of the intervals of means and paired differences hold the truth.

    Those of shares near the edge, of few scenarios, may hold it more often. Where hard scenarios fail, the mean of what
    is left is another one: the adjusted mean holds the truth, and paired differences are not misled.
    """
    means, differences = coverage(WORLDS[name], 500)
    naive = coverage(WORLDS[name], 500, within=None)
    print(f"\n{name}: means {means:.1%}, differences {differences:.1%}; naive {naive[0]:.1%}, {naive[1]:.1%}")
    assert 0.93 <= differences <= 0.97
    assert 0.93 <= means <= (0.97 if WORLDS[name].level is None else 0.99)
    assert naive[0] < means - 0.02


@pytest.mark.soak
def test_holms_correction_keeps_the_family_wise_error():
    """Of 500 studies of five configurations that are alike, at most 6% find a difference; uncorrected, far more do."""
    corrected, uncorrected = family_wise_error(World(10), 500)
    print(f"\nfamily-wise error {corrected:.1%}; uncorrected {uncorrected:.1%}")
    assert corrected <= 0.06 < uncorrected

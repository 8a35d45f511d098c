"""Agreement of coders: equal to krippendorff and statsmodels on published examples, and the same every time."""

from decimal import Decimal

import krippendorff
import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

import llmkit

NONE = np.nan
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example C; alphas as published there.
FOUR_OBSERVERS = {
    "A": [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    "B": [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    "C": [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    "D": [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
}


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_alpha_is_the_published_one(level, published):
    """Krippendorff's own example, and the krippendorff package to the last digit."""
    result = llmkit.agreement(FOUR_OBSERVERS, level)
    assert round(result.alpha, 3) == published
    expected = krippendorff.alpha(list(FOUR_OBSERVERS.values()), level_of_measurement=level)
    assert result.alpha == pytest.approx(expected, abs=1e-8)
    assert result.low < result.alpha < result.high <= 1
    assert result.kappa is None
    assert f"Krippendorff's alpha {published:.3f} (95%: " in repr(result)
    assert result.table.index.tolist() == [1, 5, 7]


def test_words_in_an_order_are_ordinal_codes():
    """Ordered categoricals give the alpha of their ranks; words without an order are refused."""
    words = {1: "very low", 2: "low", 3: "middle", 4: "high", 5: "very high"}
    table = pd.DataFrame(FOUR_OBSERVERS).replace(words)
    ordered = table.astype(pd.CategoricalDtype(list(words.values()), ordered=True))
    assert llmkit.agreement(ordered, "ordinal").alpha == pytest.approx(
        llmkit.agreement(FOUR_OBSERVERS, "ordinal").alpha, abs=1e-12
    )
    with pytest.raises(llmkit.ValidationError, match="ordered categoricals"):
        llmkit.agreement(table, "ordinal")


def test_kappa_of_two_coders_is_that_of_statsmodels():
    """Cohen's kappa counts what both have coded; what they disagree on is listed."""
    ann = ["yes"] * 25 + ["no"] * 25 + [None]
    ben = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15 + ["no"]
    result = llmkit.agreement({"Ann": ann, "Ben": ben})
    assert result.kappa == pytest.approx(0.4, abs=1e-12)  # 20, 5, 10, 15: the example of many textbooks
    assert result.kappa == pytest.approx(cohens_kappa([[20, 5], [10, 15]]).kappa, abs=1e-8)
    assert len(result.table) == 15
    assert repr(result).endswith("kappa 0.400; 15 disputed items>")


def test_the_interval_is_the_same_every_time():
    """The bootstrap has a fixed seed."""
    assert llmkit.agreement(FOUR_OBSERVERS).low == llmkit.agreement(FOUR_OBSERVERS).low


def test_one_code_everywhere_says_nothing():
    """Alpha and kappa are unknown, not 1, when coders never used a second code."""
    result = llmkit.agreement({"Ann": ["a"] * 5, "Ben": ["a"] * 5})
    assert np.isnan([result.alpha, result.low, result.high, result.kappa]).all()


def test_perfect_agreement_is_one():
    """Also by every resample of its interval."""
    result = llmkit.agreement({"Ann": list("abab"), "Ben": list("abab")})
    assert [result.alpha, result.low, result.high, result.kappa] == [1, 1, 1, 1]


def test_decimals_are_numbers():
    """Codes that are money agree as floats do."""
    codes = {"Ann": [1, 2, 3, 3], "Ben": [1, 2, 2, 3]}
    as_money = {coder: list(map(Decimal, numbers)) for coder, numbers in codes.items()}
    assert llmkit.agreement(as_money, "interval").alpha == llmkit.agreement(codes, "interval").alpha


@pytest.mark.parametrize(
    ("codes", "level", "sentence"),
    [
        ({"Ann": ["a"]}, "nominal", "two coders"),
        ({"Ann": ["a"], "Ben": ["a", "b"]}, "nominal", "a code for each item"),
        ({"Ann": ["a", None], "Ben": [None, "b"]}, "nominal", "nothing to compare"),
        ({"Ann": [["a"]], "Ben": [["b"]]}, "nominal", "not a list"),
        ({"Ann": [-1, 1], "Ben": [1, 2]}, "ratio", "not below 0"),
        ({"Ann": [1, 2], "Ben": [1, np.inf]}, "interval", "are numbers"),
        ({"Ann": [1, 2], "Ben": [1, 10**400]}, "interval", "are numbers"),
        ({"Ann": ["a"], "Ben": ["b"]}, "metric", "level is one of"),
        ({"Ann": ["a"], "Ben": ["b"]}, pd.DataFrame({"category": ["a"]}), "ratio, not DataFrame.$"),
        ("codes", "nominal", "two coders"),
        (
            pd.DataFrame({"probe_id": ["1", "1", "1"], "infra_model": ["m", "m", "n"], "category": ["a", "b", "a"]}),
            "nominal",
            "no second one",
        ),
    ],
)
def test_codes_that_cannot_be_compared_are_refused(codes, level, sentence):
    """The error says what is needed."""
    with pytest.raises(llmkit.ValidationError, match=sentence):
        llmkit.agreement(codes, level)

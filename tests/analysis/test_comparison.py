"""Levels compared: equal to statsmodels and scipy, nothing dropped silently, clear about what cannot be computed."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

import llmkit


def _study(seed=1, scenarios=9, samples=3):
    generator = np.random.default_rng(seed)
    rows = [
        {"config": config, "scenario_id": f"s{number}", "score": level + shift + generator.normal()}
        for number, level in enumerate(generator.normal(size=scenarios))
        for config, shift in {"terse": 0.0, "wordy": 0.8, "plain": 0.1}.items()
        for _ in range(samples)
    ]
    return pd.DataFrame(rows)


def _approx(values):
    return pytest.approx(values, abs=1e-8)


def test_means_have_the_clustered_standard_errors_of_statsmodels():
    """Each level's interval is that of a regression with errors clustered by scenario; missing answers are counted."""
    frame = _study()
    frame.loc[[0, 1, 30], "score"] = np.nan
    levels = llmkit.compare(frame, "score", "config", within="scenario_id").levels.set_index("by")
    for config, rows in frame.dropna().groupby("config"):
        fit = smf.ols("score ~ 1", rows).fit(
            cov_type="cluster", cov_kwds={"groups": rows["scenario_id"].str[1:].astype(int)}, use_t=True
        )
        row = levels.loc[config]
        assert [row["mean"], row["low"], row["high"]] == _approx([fit.params.iloc[0], *fit.conf_int().iloc[0]])
    assert list(levels["n"] + levels["missing"]) == [27, 27, 27]
    assert levels["missing"].sum() == 3


def test_a_level_without_the_hard_scenarios_gets_a_mean_over_all_of_them():
    """Answers of "wordy" to the three highest scenarios failed: its mean falls, its adjusted mean keeps the distance
    to the levels that answered all; the others need no adjustment, and a study without gaps has no such columns."""
    frame = _study(scenarios=12)
    by_scenario = frame.groupby("scenario_id")["score"].mean()
    hard = frame["scenario_id"].isin(by_scenario.nlargest(3).index) & (frame["config"] == "wordy")
    levels = llmkit.compare(
        frame.assign(score=frame["score"].mask(hard)), "score", "config", "scenario_id"
    ).levels.set_index("by")
    means = frame[~hard].groupby(["scenario_id", "config"])["score"].mean().unstack()
    others = means[["terse", "plain"]].mean(axis=1)
    wordy = levels.loc["wordy"]
    assert wordy["adjusted_mean"] == _approx(others.mean() + (means["wordy"] - others).mean())
    assert wordy["adjusted_low"] < frame.loc[frame["config"] == "wordy", "score"].mean() < wordy["adjusted_high"]
    assert wordy["mean"] < wordy["adjusted_mean"]
    assert levels.loc[["terse", "plain"], "adjusted_mean"].isna().all()
    assert "adjusted_mean" not in llmkit.compare(frame, "score", "config", "scenario_id").levels


def test_differences_are_paired_by_cluster_and_corrected_after_holm():
    """Differences are those of a paired t test over the means of scenarios; p values are corrected for all pairs."""
    frame = _study()
    table = llmkit.compare(frame, "score", "config", within="scenario_id").differences
    means = frame.groupby(["scenario_id", "config"])["score"].mean().unstack()
    for row in table.to_dict("records"):
        result = stats.ttest_rel(means[row["a"]], means[row["b"]])
        assert [row["low"], row["high"]] == _approx(list(result.confidence_interval(0.95)))
        assert row["p"] == _approx(result.pvalue)
        a, b = (frame.loc[frame["config"] == row[side], "score"] for side in "ab")
        assert row["effect"] == _approx((a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2))
    assert list(table["p_holm"]) == _approx(list(multipletests(table["p"], method="holm")[1]))
    assert list(zip(table["a"], table["b"], strict=True)) == [
        ("terse", "wordy"), ("terse", "plain"), ("wordy", "plain"),
    ]  # fmt: skip


def test_what_is_asked_of_different_scenarios_is_not_paired():
    """A dimension that differs between scenarios is compared over the means of scenarios, after Welch."""
    frame = _study()
    frame["city"] = np.where(frame["scenario_id"] < "s4", "Rome", "Oslo")
    row = llmkit.compare(frame, "score", "city", within="scenario_id").differences.iloc[0]
    means = frame.groupby(["city", "scenario_id"])["score"].mean()
    result = stats.ttest_ind(means[row["a"]], means[row["b"]], equal_var=False)
    assert [row["low"], row["high"], row["p"]] == _approx([*result.confidence_interval(), result.pvalue])


def test_every_table_says_how_many_answers_it_rests_on_how_and_at_what_cost():
    """Counted by hand: answers that count, and the cost of all rows, of both levels in differences; no cost without."""
    frame = _study().assign(estimated_cost=0.25)
    frame.loc[frame["config"] == "wordy", "estimated_cost"] = 0.5
    frame.loc[frame.index[frame["config"] == "terse"][:2], "score"] = np.nan
    rows, counts = frame.groupby("config").size(), frame.groupby("config")["score"].count()
    costs = frame.groupby("config")["estimated_cost"].sum()
    comparison = llmkit.compare(frame, "score", "config", within="scenario_id")
    for table in (comparison.levels, comparison.variance):
        assert table["n"].tolist() == [counts[by] for by in table["by"]]
        assert table["cost"].tolist() == [costs[by] for by in table["by"]]
    pairs = comparison.differences
    assert pairs["n"].tolist() == [counts[a] + counts[b] for a, b in zip(pairs["a"], pairs["b"], strict=True)]
    assert pairs["cost"].tolist() == [costs[a] + costs[b] for a, b in zip(pairs["a"], pairs["b"], strict=True)]
    assert (rows > counts).tolist() == [config == "terse" for config in rows.index]
    assert all(table["method"].all() for table in (comparison.levels, pairs, comparison.variance))
    without = llmkit.compare(_study(), "score", "config", within="scenario_id")
    assert not any("cost" in table for table in (without.levels, without.differences, without.variance))


def test_variance_components_are_those_of_the_analysis_of_variance():
    """Variance between scenarios and within them, and their intraclass correlation, as by statsmodels' ANOVA table."""
    frame = _study()
    table = llmkit.compare(frame, "score", "config", within="scenario_id").variance.set_index("by")
    for config, rows in frame.groupby("config"):
        squares = anova_lm(smf.ols("score ~ C(scenario_id)", rows).fit())["mean_sq"]
        between = (squares["C(scenario_id)"] - squares["Residual"]) / 3
        row = table.loc[config]
        assert [row["between"], row["within"]] == _approx([between, squares["Residual"]])
        assert row["icc"] == _approx(between / (between + squares["Residual"]))


def test_shares_without_clusters_are_wilsons():
    """True and false are compared as shares; the intervals are those of statsmodels, never outside 0 to 1."""
    frame = pd.DataFrame({"model": ["a"] * 20 + ["b"] * 20, "right": [True] * 20 + [True] * 5 + [False] * 15})
    comparison = llmkit.compare(frame, "right", "model")
    for row, count in zip(comparison.levels.to_dict("records"), (20, 5), strict=True):
        assert [row["low"], row["high"]] == _approx(list(proportion_confint(count, 20, method="wilson")))
        assert row["method"] == "Wilson"
    assert comparison.differences.loc[0, "difference"] == 0.75
    assert comparison.differences.loc[0, "low"] > 0.4


def test_clustered_shares_allow_for_answers_that_are_alike():
    """Ten answers to each of six scenarios that all say the same are worth six answers, not sixty."""
    frame = pd.DataFrame(
        {"scenario": np.repeat(range(6), 10), "model": "a", "right": np.repeat([1, 1, 1, 0, 0, 1], 10)}
    )
    clustered = llmkit.compare(frame, "right", "model", "scenario").levels.loc[0]
    naive = llmkit.compare(frame, "right", "model").levels.loc[0]
    assert clustered["high"] - clustered["low"] > 2 * (naive["high"] - naive["low"])
    assert clustered["n_clusters"] == 6
    perfect = llmkit.compare(frame.assign(right=True), "right", "model", "scenario").levels.loc[0]
    assert perfect["mean"] == perfect["high"] == 1
    assert perfect["low"] < 0.7


def test_failed_answers_are_missing_whatever_stands_in_their_row():
    """A probe that is not ok does not count, though a column of the user's own has a value for it; it is not hidden,
    and is told from an answer without a value, as to a question that has no score.
    """
    frame = _study().assign(status="ok", estimated_cost=0.01)
    frame.loc[4, "score"] = None
    frame.loc[:3, "status"] = "failed"
    frame.loc[:3, "estimated_cost"] = None
    levels = llmkit.compare(frame, "score", "config").levels
    assert levels["missing"].tolist() == [3, 2, 0]
    assert levels["failed"].tolist() == [3, 1, 0]
    assert levels["n"].tolist() == [24, 25, 27]
    assert levels["cost"].tolist() == pytest.approx([0.24, 0.26, 0.27])


def test_a_level_without_answers_is_shown_with_all_that_is_missing():
    """A model that failed everywhere has a row, no mean, and differences that are unknown to Holm's correction too."""
    frame = _study()
    frame.loc[frame["config"] == "plain", "score"] = None
    comparison = llmkit.compare(frame, "score", "config", "scenario_id")
    assert comparison.levels.set_index("by").loc["plain", ["n", "missing", "method"]].tolist() == [0, 27, "no answers"]
    table = comparison.differences.set_index(["a", "b"])
    assert table["p"].isna().tolist() == [False, True, True]
    assert table.loc[("terse", "wordy"), "p"] == table.loc[("terse", "wordy"), "p_holm"]


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([Decimal("1.5"), None, Decimal("2.5"), Decimal(3)], 7 / 3),
        (pd.Categorical(["low", "high", None, "high"], ["low", "middle", "high"], ordered=True), 7 / 3),
        (pd.Categorical([5, 3, 3, None]), 11 / 3),
        (pd.array([True, None, False, True], "boolean"), 2 / 3),
        ([4, 4, 4, 4], 4),
    ],
)
def test_numbers_of_every_kind_have_a_mean(values, mean):
    """Decimals, ranks of ordered categories, numbers as categories, true and false, and values that do not vary."""
    levels = llmkit.compare(pd.DataFrame({"model": "a", "value": values}), "value", "model").levels
    assert levels.loc[0, "mean"] == pytest.approx(mean)
    assert levels.loc[0, "low"] <= levels.loc[0, "mean"] <= levels.loc[0, "high"]


def test_one_cluster_gives_no_interval_and_says_so():
    """Without a second scenario nothing is known about how scenarios differ."""
    comparison = llmkit.compare(_study(scenarios=1), "score", "config", "scenario_id")
    assert comparison.levels[["low", "high"]].isna().all(axis=None)
    assert set(comparison.levels["method"]) == {"one cluster: no interval"}
    assert comparison.differences["p_holm"].isna().all()
    assert comparison.plot().get_xlabel() == "score, with 95% intervals"


@pytest.mark.parametrize(("other", "p"), [(3, 1.0), (4, 0.0)])
def test_thousands_of_answers_that_never_vary_are_compared_at_once(other, p):
    """A test of ranks that counted all orders of 20,000 answers would take hours."""
    frame = pd.DataFrame({"m": np.repeat(["a", "b"], 10_000), "x": np.repeat([3, other], 10_000)})
    assert llmkit.compare(frame, "x", "m").differences["p"].tolist() == [p]


def test_answers_that_never_vary_are_compared_without_a_warning(recwarn):
    """Equal constants do not differ; constants that do, do, by no number of standard deviations, and as surely as their
    number allows; and scipy has nothing to complain about, neither there nor where one level alone varies."""
    frame = pd.DataFrame({"s": [1, 2, 3] * 3, "m": np.repeat(["a", "b", "c"], 3), "x": np.repeat([0.1, 0.1, 7], 3)})
    comparison = llmkit.compare(frame, "x", "m", "s")
    assert set(comparison.levels["method"]) == {"answers do not vary"}
    table = comparison.differences
    assert table["p"].tolist() == [1, 0.25, 0.25]  # three signs that agree: 2 / 2³
    assert llmkit.compare(frame, "x", "m").differences["p"].tolist() == _approx([1, 0.1, 0.1])  # 2 of 20 orders
    assert table["effect"].isna().all()
    assert table["low"].tolist() == table["high"].tolist() == table["difference"].tolist()
    frame.loc[frame["m"] == "c", "x"] = [5, 6, 8]
    assert (llmkit.compare(frame, "x", "m").differences["p"][1:] < 0.03).all()
    assert not len(recwarn)


@pytest.mark.parametrize("within", [None, "s"])
def test_answers_that_never_vary_show_no_rounding(within):
    """The mean and both bounds are the answer, a difference is exactly 0, and no variance is split into shares."""
    frame = pd.DataFrame({"m": ["a"] * 13 + ["b"] * 29, "x": 6.7}).assign(s=lambda rows: rows.index % 5)
    comparison = llmkit.compare(frame, "x", "m", within)
    assert comparison.levels[["mean", "low", "high"]].eq(6.7).all(axis=None)
    assert comparison.differences[["difference", "low", "high"]].eq(0).all(axis=None)
    assert comparison.variance["icc"].isna().all()


@pytest.mark.parametrize("within", [None, "scenario_id"])
def test_a_comparison_does_not_depend_on_the_unit(within):
    """Millionths of a cent are compared as dollars are: p values and effects stay, intervals shrink with the values."""
    frame = _study()
    one, other = (
        llmkit.compare(frame.assign(score=frame["score"] * unit), "score", "config", within).differences
        for unit in (1, 1e-14)
    )
    assert other[["p", "p_holm", "effect"]].to_numpy() == _approx(one[["p", "p_holm", "effect"]].to_numpy())
    bounds = ["difference", "low", "high"]
    assert (other[bounds] * 1e14).to_numpy() == _approx(one[bounds].to_numpy())


def test_differences_of_shares_are_shares_without_a_warning(recwarn):
    """No interval goes beyond 1, and answers that are all true have a p as well."""
    frame = pd.DataFrame({"m": np.repeat(["a", "b", "c"], 40), "x": np.repeat([1, 1, 0], 40)})
    table = llmkit.compare(frame, "x", "m").differences
    assert (table["p"].tolist()[0], table["high"].max()) == (1, 1)
    assert not len(recwarn)


def test_costs_that_are_no_numbers_are_unknown():
    """A column of the user's own that is called as ours is no reason to fail."""
    levels = llmkit.compare(_study().assign(estimated_cost="?"), "score", "config").levels
    assert levels["cost"].isna().all()


@pytest.mark.parametrize("name", ["score", "config"])
def test_a_name_of_two_columns_is_refused(name):
    """The error says so, where pandas would hand over a table."""
    frame = _study()
    with pytest.raises(llmkit.ValidationError, match=f"2 columns are called '{name}'"):
        llmkit.compare(pd.concat([frame, frame[[name]]], axis=1), "score", "config")


def test_levels_stand_in_the_order_of_their_categories():
    """Categories that do not occur have no row."""
    frame = _study()
    frame["config"] = pd.Categorical(frame["config"], ["wordy", "unused", "terse", "plain"])
    assert llmkit.compare(frame, "score", "config").levels["by"].tolist() == ["wordy", "terse", "plain"]


def test_several_columns_make_a_level():
    """Levels of several columns are named by all of them."""
    frame = _study().assign(city="Rome")
    assert llmkit.compare(frame, "score", ["city", "config"]).levels.loc[0, "by"] == "Rome · terse"


@pytest.mark.parametrize(
    ("change", "arguments", "sentence"),
    [
        ({}, ("points", "config"), "no column 'points'"),
        ({}, ("score", "model"), "no column 'model'"),
        ({}, ("score", []), "by names no column"),
        (
            {"score": "good"},
            ("score", "config"),
            "'good', which is not a usable number: compare numbers, such as 'answer.score' of",
        ),
        ({"score": np.inf}, ("score", "config"), "not a usable number"),
        ({"score": 1e200}, ("score", "config"), "not a usable number"),
        ({"score": 10**400}, ("score", "config"), "not a usable number"),
        ({"score": pd.Timestamp("2026-11-01")}, ("score", "config"), "not a usable number"),
        (
            {"scenario_id": None},
            ("score", "config", "scenario_id"),
            "81 rows have no value in the column 'scenario_id'",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(change, arguments, sentence):
    """The error names the column and what to do."""
    with pytest.raises(llmkit.ValidationError, match=sentence):
        llmkit.compare(_study().assign(**change), *arguments)


def test_only_runs_and_tables_with_rows_are_compared():
    """Anything else is refused with what to hand over."""
    for nothing in (None, [], "run_1", pd.DataFrame({"a": []})):
        with pytest.raises(llmkit.ValidationError, match="ompare"):
            llmkit.compare(nothing, "a", "a")


def test_a_comparison_is_text_and_html():
    """It prints without a notebook, and what answers say is escaped in one."""
    frame = _study().replace({"config": {"terse": "<b>terse</b>"}})
    comparison = llmkit.compare(frame, "score", "config", "scenario_id")
    assert "t of paired clusters" in repr(comparison)
    assert "&lt;b&gt;terse" in comparison._repr_html_()
    assert "<b>terse" not in comparison._repr_html_()


def test_the_forest_plots_show_an_interval_for_each_row():
    """Levels and differences are drawn in the order of their tables, the first on top."""
    comparison = llmkit.compare(_study(), "score", "config", "scenario_id")
    labels = [text.get_text() for text in comparison.plot().get_yticklabels()]
    assert labels == ["plain (n = 27)", "wordy (n = 27)", "terse (n = 27)"]
    axes = comparison.plot(of="differences")
    assert [text.get_text() for text in axes.get_yticklabels()][-1] == "terse − wordy"
    with pytest.raises(llmkit.ValidationError):
        comparison.plot(of="both")


@pytest.mark.parametrize("n", [7, 20, 37, 158])
def test_an_interval_of_a_share_of_none_or_all_holds_it(n):
    """Rounding does not leave the share a hair outside of its own interval."""
    frame = pd.DataFrame({"config": ["all"] * n + ["none"] * n, "yes": [1] * n + [0] * n})
    levels = llmkit.compare(frame, "yes", "config").levels.set_index("by")
    assert levels.loc["all", "high"] == 1
    assert levels.loc["none", "low"] == 0

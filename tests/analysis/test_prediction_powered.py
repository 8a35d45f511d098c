"""Shares of a model's codes, corrected by hand: as ppi_py computes them, and true as often as they say."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import llmkit
from llmkit.analysis.prediction_powered import corrected_mean, corrected_shares, next_purchase

MODELS = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]


def _reference(hand, model, rest, alpha=0.05):
    """``ppi_mean_ci`` of ppi_py 0.2 with its own λ, written down line by line from its source."""
    n, others = len(hand), len(rest)
    covariance = (1 / n) * 2 * ((hand - hand.mean()) @ (model - model.mean()))
    variance = np.cov(np.concatenate([model, rest]))
    lam = np.clip(covariance / (2 * (1 + n / others) * variance), 0, 1)
    imputed, rectifier = (lam * rest).std() / np.sqrt(others), (hand - lam * model).std() / np.sqrt(n)
    estimate = (lam * rest).mean() + (hand - lam * model).mean()
    half = stats.norm.ppf(1 - alpha / 2) * np.sqrt(imputed**2 + rectifier**2)
    return estimate - half, estimate + half


def test_it_is_what_ppi_py_computes():
    """To the tenth digit, for numbers and for shares."""
    generator = np.random.default_rng(1)
    for share in (False, True):
        truth = generator.normal(2, 1, 1000) if not share else (generator.random(1000) < 0.3).astype(float)
        guess = (
            truth + generator.normal(0.3, 0.5, 1000) if not share else np.abs(truth - (generator.random(1000) < 0.2))
        )
        ours = corrected_mean(truth[:80], guess[:80], guess[80:])
        low, high = _reference(truth[:80], guess[:80], guess[80:])
        half = ours.quantile * ours.variance**0.5
        assert ours.estimate - half == pytest.approx(low, abs=1e-10)
        assert ours.estimate + half == pytest.approx(high, abs=1e-10)


def _study(generator, scenarios, labels, *, sd=1.0, wrong=0.15, samples=3):
    """Answers of one category or not, and a model that takes a share of either for the other."""
    chance = 1 / (1 + np.exp(-(-0.5 + generator.normal(0, sd, scenarios))))
    ids = np.repeat(np.arange(scenarios), samples)
    truth = generator.random(len(ids)) < chance[ids]
    model = np.where(generator.random(len(ids)) < np.where(truth, wrong, wrong / 3), ~truth, truth)
    table = pd.DataFrame({"category": np.where(model, "yes", "no"), "scenario_id": ids, "hand": None}, dtype=object)
    chosen = generator.permutation(len(ids))[:labels]
    table.loc[chosen, "hand"] = np.where(truth, "yes", "no")[chosen]
    return table


def _coverage(scenarios, labels, studies, **how):
    """How often intervals hold the truth: corrected, and of the model's codes alone; and the width against
    that of labels alone."""
    places = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000) * how.get("sd", 1.0)
    truth = (1 / (1 + np.exp(-(-0.5 + places)))).mean()
    generator, hits, naive, widths = np.random.default_rng(7), 0, 0, []
    for _ in range(studies):
        table = _study(generator, scenarios, labels, **how)
        row = corrected_shares(table, None, "scenario_id").set_index("category").loc["yes"]
        hits += row["low"] <= truth <= row["high"]
        half = 1.96 * np.sqrt(row["share_model"] * (1 - row["share_model"]) / len(table))
        naive += abs(row["share_model"] - truth) <= half
        hand = 2 * 1.96 * np.sqrt(row["share_hand"] * (1 - row["share_hand"]) / labels)
        widths.append((row["high"] - row["low"]) / hand)
    return hits / studies, naive / studies, float(np.mean(widths))


def test_corrected_shares_cover_in_few_studies():
    """A glance at what the long test measures; they are narrower than labels alone, where the model is good."""
    covered, _, width = _coverage(200, 100, 40)
    assert covered >= 0.85
    assert width < 0.85


@pytest.mark.parametrize(("within", "answers"), [(None, 10), ("scenario_id", 5)])
def test_hand_codes_that_are_all_the_same_leave_an_interval(within, answers):
    """Ten times "yes", whatever the model said, is Wilson's interval of ten answers, or of as many clusters."""
    table = pd.DataFrame({"category": ["yes", "no"] * 10, "hand": ["yes"] * 10 + [None] * 10})
    rows = corrected_shares(table.assign(scenario_id=np.arange(20) // 2), None, within).set_index("category")
    quantile = stats.norm.ppf(0.975) if within is None else stats.t.ppf(0.975, answers - 1)
    least = answers / (answers + quantile**2)
    assert rows.loc["yes", ["low", "share", "high"]].tolist() == pytest.approx([least, 1, 1])
    assert rows.loc["no", ["low", "share", "high"]].tolist() == pytest.approx([0, 0, 1 - least])


@pytest.mark.soak
@pytest.mark.parametrize(
    ("scenarios", "labels", "how"),
    [(300, 100, {}), (300, 60, {"wrong": 0.3}), (100, 60, {"sd": 0.5}), (60, 80, {"sd": 1.5})],
)
def test_corrected_shares_cover_the_truth(scenarios, labels, how):
    """Of 1000 studies, 93 to 97% of the intervals hold the truth; those of the model's codes alone do not."""
    covered, naive, width = _coverage(scenarios, labels, 1000, **how)
    print(f"\n{scenarios} scenarios, {labels} labels: {covered:.1%}, {width:.2f} as wide; naive {naive:.1%}")
    assert 0.93 <= covered <= 0.97
    assert naive < covered


@pytest.mark.parametrize("name", ["weight", "n", "share"])
def test_levels_may_have_the_name_of_a_column_of_ours(name):
    """Each level keeps its own rows and values, and our column gets another name."""
    table = _study(np.random.default_rng(3), 60, 60)
    table[name] = np.where(table["scenario_id"] < 30, "light", "heavy")
    corrected, plain = (corrected_shares(table.rename(columns={name: by}), by, None) for by in (name, "config"))
    assert set(corrected[name]) == {"light", "heavy"}
    assert corrected.rename(columns={name: "config", f"corrected_{name}": name}).equals(plain)


def test_more_labels_or_more_answers():
    """Labels, where the model is often wrong and many answers are there; answers, where it is never wrong."""
    generator = np.random.default_rng(3)
    poor, good = _study(generator, 600, 60, wrong=0.45), _study(generator, 40, 60, wrong=0.0)
    assert set(next_purchase(poor, 40, 300.0, "scenario_id")["better"]) == {"labels"}
    table = next_purchase(good, 40, 3000.0, None)
    assert set(table["better"]) == {"answers"}
    assert (table["with_answers"] < table["half_width"]).all()


def test_a_run_is_corrected_by_what_was_coded_in_the_form(kit):
    """From the form to the table, by configuration too; where model and hand always agree an interval is left."""
    run = kit.run([f"Question {n}?" for n in range(20)], MODELS, samples=2).result()
    codes = kit.code(run, ["warm", "cold"]).result()
    with pytest.raises(llmkit.ValidationError, match="coding_form"):
        run.corrected_shares(codes)
    form, given = kit.coding_form(run, ["warm", "cold"], n=30), codes.set_index("probe_id")["category"]
    for place, probe_id in enumerate(form.df["probe_id"]):
        form.code(place, given[probe_id])
    table = run.corrected_shares(codes)
    assert table["share"].sum() == pytest.approx(1)
    assert (table["low"] <= table["share"]).all()
    assert (table["low"] < table["high"]).all()
    assert (table["n_hand"] == 30).all()
    by_config = run.corrected_shares(codes, by="config")
    assert by_config.groupby("config")["n"].first().to_dict() == dict.fromkeys(MODELS, 40)
    purchase = run.next_purchase(codes, labels=40, dollars="0.01")
    assert purchase.attrs["answers"] > 0
    assert (purchase["with_labels"] <= purchase["half_width"]).all()
    assert list(purchase["half_width"]) == pytest.approx(list((table["high"] - table["low"]) / 2))
    with pytest.raises(llmkit.ValidationError, match="one coder"):
        run.corrected_shares(pd.concat([codes, codes]))
    with pytest.raises(llmkit.ValidationError, match="the codes themselves"):
        run.corrected_shares(codes, by="category")
    with pytest.raises(llmkit.ValidationError, match="Did you mean 'config'"):
        run.corrected_shares(codes, by="confg")
    with pytest.raises(llmkit.ValidationError, match="Did you mean 'scenario_id'"):
        run.next_purchase(codes, within="scenario")

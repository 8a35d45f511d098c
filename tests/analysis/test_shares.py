"""Shares of answers: counted exactly, with intervals, and drawn with what is unknown left unknown."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.figure import Figure

import llmkit
from llmkit.analysis import charts
from llmkit.analysis.shares import OTHER, categories, share_table

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string", "enum": ["yes", "no", "unsure"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}


def table(**columns):
    """Answered probes with these columns."""
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"status": ["ok"] * size, "probe_id": [str(n) for n in range(size)], **columns})


def words(ax):
    """All words of a figure, after it was really drawn."""
    ax.figure.canvas.draw()
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize(
    ("count", "of", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)]
)
def test_intervals_of_answers_to_one_scenario_are_wilsons(count, of, low, high):
    """Against published values of the formula."""
    answers = table(model=["m"] * (of + 1), scenario_id="s", code=["yes"] * count + ["no"] * (of - count) + [None])
    shares = share_table(answers, "code", ["model"], most=7).set_index("value")
    value, expected = ("yes", (low, high)) if count else ("no", (1 - high, 1 - low))
    assert tuple(shares.loc[value, ["low", "high"]]) == pytest.approx(expected, abs=5e-5)


def test_intervals_over_scenarios_are_those_of_a_comparison():
    """Thirty answers to each of four scenarios that always say the same are four answers, not a hundred and twenty."""
    answers = table(model=["m"] * 120, scenario_id=[*"abcd"] * 30, code=["yes", "yes", "no", "yes"] * 30)
    [yes] = share_table(answers, "code", ["model"], most=7).query("value == 'yes'").to_dict("records")
    compared = llmkit.compare(answers.assign(yes=answers["code"] == "yes"), "yes", "model", "scenario_id").levels.loc[0]
    assert [yes["share"], yes["low"], yes["high"]] == pytest.approx(list(compared[["mean", "low", "high"]]))
    assert yes["high"] - yes["low"] > 0.5


@given(of=st.integers(1, 300), data=st.data())
def test_an_interval_holds_its_share(of, data):
    """Never outside 0 to 1, whatever was counted of however many scenarios."""
    count, scenarios = data.draw(st.integers(0, of)), data.draw(st.integers(1, of))
    answers = table(
        model=["m"] * of,
        scenario_id=[number % scenarios for number in range(of)],
        code=["yes"] * count + ["no"] * (of - count),
    )
    for row in share_table(answers, "code", ["model"], most=7).to_dict("records"):
        assert 0 <= row["low"] <= row["share"] + 1e-12
        assert row["share"] - 1e-12 <= row["high"] <= 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([*"uvwxyz", None])), min_size=1, max_size=60))
def test_shares_of_a_group_add_up_to_one(rows):
    """Each answer counts once; answers without a value not at all; the rarest values together."""
    answers = table(model=[model for model, _ in rows], code=[code for _, code in rows])
    shares = share_table(answers, "code", ["model"], most=3)
    assert set(shares["value"]) <= {*"uvwxyz", OTHER}
    assert shares.groupby("model")["value"].size().le(3).all()
    for model, group in shares.groupby("model"):
        assert math.isclose(group["share"].sum(), 1)
        assert group["count"].sum() == sum(code is not None for name, code in rows if name == model)


def test_a_run_of_choices_is_drawn_by_model_and_dimension(tmp_path):
    """The field of a structured answer is found by itself; a group is named by its columns and counts answers."""
    scenarios = llmkit.scenarios_from_template("Is [topic] fair?", {"topic": ["rent", "tax"]})
    models = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"]
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        run = kit.run(scenarios, models, samples=2, schema=SCHEMA).result(60)
        ax = run.plot_shares(by=["model", "topic"], ax=Figure().subplots())
        labels = {text.get_text() for text in ax.get_yticklabels()}
        assert labels == {f"{model} · {topic} (n = 2)" for model in models for topic in ("rent", "tax")}
        assert ax.get_xlabel() == "Share of answers (%)"
        seen = {text.get_text() for text in ax.get_legend().get_texts()}
        assert seen == set(run.probes["answer.verdict"])
        for draw in (run.plot_costs, run.plot_latency, run.plot_lengths, run.plot_cost_and_latency):
            assert draw(ax=Figure().subplots(), by=["model", "topic"]).figure
        for draw in (run.plot_costs, run.plot_latency, run.plot_lengths, run.plot_cost_and_latency, run.plot_shares):
            for nothing in ("nothing", [], None):
                with pytest.raises(llmkit.ValidationError):
                    draw(by=nothing)


def test_answers_to_questions_are_counted_in_the_order_of_their_scale(tmp_path):
    """What was answered counts, not where the chosen option stood; the legend follows the scale, in the picture."""
    questions = [llmkit.question.likert(f"Law {number} is a good idea.") for number in range(8)]
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        kit.catalog.update_provider("mistral", max_parallel_requests=20, requests_per_minute=6000)
        run = kit.run(questions, "mistral:mistral-small-2603", samples=2).result(60)
        legend = run.plot_shares().get_legend()
    legend.figure.savefig(tmp_path / "shares.png")
    assert legend.get_window_extent().x1 <= legend.figure.bbox.x1
    pyplot.close(legend.figure)
    assert [text.get_text() for text in legend.get_texts()] == [
        option for option in questions[0].question.options if option in set(run.probes["answer"])
    ]
    assert [*dict.fromkeys(share_table(run.probes, "answer.score", ["model"], most=3)["value"])][-1] == OTHER


def test_options_that_nobody_chose_are_not_counted():
    """Their scale still orders the others."""
    answer = pd.Categorical(["often", "never", "often"], ["never", "seldom", "often"], ordered=True)
    shares = share_table(table(answer=answer, model=["a"] * 3), "answer", ["model"], most=7)
    assert shares[["value", "count"]].values.tolist() == [["never", 1], ["often", 2]]


def test_codes_are_counted_from_their_own_table():
    """The table of kit.code is joined by probe; what was not coded does not count."""
    probes = table(model=["m", "m", "n"])
    codes = pd.DataFrame({"probe_id": ["0", "2"], "category": ["cost", "caution"]})
    joined, column = categories(probes, codes)
    shares = share_table(joined, column, ["model"], most=7)
    assert shares.set_index(["model", "value"])["count"].to_dict() == {
        ("m", "cost"): 1, ("m", "caution"): 0, ("n", "cost"): 0, ("n", "caution"): 1,
    }  # fmt: skip


def test_nothing_to_count_is_explained():
    """A run of plain answers says what to do for shares."""
    with pytest.raises(llmkit.ValidationError, match=r"kit\.code"):
        categories(table(model=["m"], response=["hello"]), None)
    with pytest.raises(llmkit.ValidationError, match=r"kit\.code"):
        categories(table(model=["m"], answer=["In my view, it depends on who pays for it, and on how much."]), None)


def test_unknown_costs_have_no_bar_and_no_axis():
    """Where no price is known there is no zero to be read, neither as a bar nor on the axis."""
    costs = pd.DataFrame({"model": ["a", "b"], "estimated_cost": [float("nan")] * 2, "wasted_cost": 0.0})
    ax = charts.plot_costs(costs)
    assert words(ax) == ["unpriced", "unpriced"]
    assert not ax.patches
    assert not list(ax.get_xticks())


def test_an_unknown_cost_is_no_point_at_zero():
    """Against latency, a model without a price is hollow and says that it is unpriced."""
    probes = table(model=["a", "b"], latency_s=[1.0, 2.0], estimated_cost=[0.5, float("nan")])
    ax = charts.plot_cost_and_latency(probes)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b (unpriced)"]
    assert [line.get_markerfacecolor() == "none" for line in ax.lines] == [False, True]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_labels_of_wide_letters_leave_room_for_the_chart():
    """A long name in Chinese is cut like one in English, so that neither it nor another name is off the picture."""
    ax = charts.plot_latency(table(model=["漢字" * 40, "b" * 80], latency_s=[1.0, 2.0]))
    ax.figure.draw_without_rendering()
    names = ax.get_yticklabels()
    assert all(name.get_window_extent().x0 >= 0 for name in names)
    assert sorted(name.get_text() for name in names) == ["b" * 47 + "… (n = 1)", "漢字" * 11 + "漢… (n = 1)"]


def test_every_model_has_a_point_of_its_own():
    """However many are shown, no two have the same colour and shape."""
    models = [f"p:m{number}" for number in range(charts.MOST)]
    ax = charts.plot_cost_and_latency(table(model=models, latency_s=[2.0] * len(models), estimated_cost=0.5))
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == charts.MOST


def test_points_of_nearly_one_time_are_whole():
    """Models that take about as long as each other are drawn away from the right edge of the chart."""
    ax = charts.plot_cost_and_latency(table(model=["a", "b"], latency_s=[9.99, 10.0], estimated_cost=[0.5, 0.51]))
    assert ax.get_xlim()[1] > 10.5
    assert ax.get_ylim()[1] > 0.55


def test_names_that_begin_with_an_underscore_are_in_the_legend():
    """A label like ``_base`` is a name like any other, of a configuration or of a code."""
    points = charts.plot_cost_and_latency(table(model=["_base", "b"], latency_s=[1.0, 2.0], estimated_cost=0.5))
    shares = charts.plot_shares(table(model=["m", "m"], code=["_none", "yes"]), "code")
    assert [text.get_text() for text in points.get_legend().get_texts()] == ["_base", "b"]
    assert sorted(text.get_text() for text in shares.get_legend().get_texts()) == ["_none", "yes"]


def test_one_answer_is_a_chart_too():
    """As many rows as columns to group by confuse nothing."""
    ax = charts.plot_shares(table(model=["m"], code=["cost"]), "code")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["m (n = 1)"]

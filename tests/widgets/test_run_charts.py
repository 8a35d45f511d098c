import pandas as pd
import pytest
from matplotlib.figure import Figure
from runs import TWO, rehearsing

from llmkit.analysis import charts
from llmkit.analysis.timeline import plot_timeline


def costs(**by_model):
    """A cost table with these costs."""
    return pd.DataFrame({"model": list(by_model), "estimated_cost": list(by_model.values()), "wasted_cost": 0.0})


def labels(ax):
    """The names beside the bars, from the top."""
    return [text.get_text() for text in ax.get_yticklabels()][::-1]


def drawn(ax):
    """All words of a figure, after it was really drawn."""
    ax.figure.canvas.draw()
    return [text.get_text() for text in ax.texts]


def test_costs_are_sorted_and_have_their_unit():
    """The dearest model is on top; the axis says US dollars; each bar has its amount."""
    ax = charts.plot_costs(costs(cheap=0.02, dear=3.5, middle=0.5))
    assert labels(ax) == ["dear", "middle", "cheap"]
    assert ax.get_xlabel() == "Cost (US dollars)"
    assert set(drawn(ax)) == {"$3.50", "$0.50", "$0.02"}
    assert [patch.get_width() for patch in ax.patches] == [0.02, 0.5, 3.5]


def test_an_unknown_price_is_not_drawn_as_nothing():
    """A model without a price says so instead of having a bar of zero."""
    ax = charts.plot_costs(costs(known=1.0, unknown=float("nan")))
    assert labels(ax) == ["known", "unknown"]
    assert "unpriced" in drawn(ax)


def test_what_was_wasted_is_set_apart():
    """The part that bought no answer has a colour and a name of its own, and the bar's length stays the whole."""
    table = costs(one=1.0).assign(wasted_cost=0.25)
    ax = charts.plot_costs(table)
    assert [patch.get_width() for patch in ax.patches] == [0.75, 0.25]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["answers", "wasted"]


def test_names_are_taken_literally():
    """Dollar signs in a name are no formula, and broken TeX breaks nothing."""
    names = {"p:$\\frac{$": 1.0, "p:<b>$x$</b>": 2.0}
    ax = charts.plot_costs(costs(**names))
    drawn(ax)
    assert set(labels(ax)) == set(names)


def test_scripts_without_glyphs_here_are_left_to_the_browser(recwarn):
    """A chart in a view keeps such names as text, and warns nobody of matplotlib's fonts."""
    assert "漢字" in charts.svg(lambda ax: charts.plot_costs(costs(**{"p:漢字": 1.0}), ax=ax), 1)
    assert not recwarn.list


def test_of_many_models_the_dearest_are_shown():
    """A figure stays readable with a thousand models, and says that it leaves some out."""
    ax = charts.plot_costs(costs(**{f"m{n}": float(n) for n in range(100)}))
    assert len(labels(ax)) == charts.MOST
    assert labels(ax)[0] == "m99"
    probes = pd.DataFrame({"model": [f"m{n}" for n in range(100)], "status": "ok", "latency_s": 1, "estimated_cost": 1})
    points = charts.plot_cost_and_latency(probes)
    assert len(points.lines) == charts.MOST
    assert {each.get_title(loc="right") for each in (ax, points)} == {"30 of 100 shown"}


def test_latencies_are_sorted_and_count_their_answers():
    """The slowest median is on top; only answered probes count; the axis says seconds."""
    probes = pd.DataFrame(
        {"model": ["a", "a", "b", "b"], "status": ["ok", "ok", "ok", "failed"], "latency_s": [3.0, 5.0, 1.0, 99.0]}
    )
    ax = charts.plot_latency(probes)
    assert labels(ax) == ["a (n = 2)", "b (n = 1)"]
    assert ax.get_xlabel() == "Time to answer (s)"
    assert ax.get_xlim()[0] == 0


def test_names_that_begin_alike_are_told_apart():
    """Two models whose names are cut to the same words have a box each, not one of them for both."""
    names = [f"openrouter:{'a-long-name-' * 5}{end}" for end in "xy"]
    probes = pd.DataFrame({"model": names, "status": "ok", "latency_s": [1.0, 2.0]})
    assert len(labels(charts.plot_latency(probes))) == 2


@pytest.mark.parametrize("name", ["place", "length", "value", "share", "n"])
def test_a_column_of_ones_own_may_have_the_name_of_one_of_ours(name):
    """Levels keep their names in every chart, whatever a table made for it is made of."""
    probes = pd.DataFrame({name: ["Rome", "Oslo"], "status": "ok", "latency_s": [2.0, 1.0], "answer": ["yes", "no"]})
    probes = probes.assign(scenario_id="s", output_tokens=[9, 5], reasoning_tokens=0)
    of_costs = costs(one=2.0, other=1.0).rename(columns={"model": name})
    axes = Figure().subplots(4)
    assert labels(charts.plot_costs(of_costs, axes[0], by=name)) == ["one", "other"]
    charts.plot_latency(probes, axes[1], by=name)
    charts.plot_lengths(probes, axes[2], by=name)
    charts.plot_shares(probes, "answer", axes[3], by=name)
    assert [labels(ax) for ax in axes[1:]] == [["Rome (n = 1)", "Oslo (n = 1)"]] * 3


def test_nothing_to_show_is_said():
    """A run without an answer gives an empty figure with words, not an error."""
    ax = charts.plot_latency(pd.DataFrame({"model": [], "status": [], "latency_s": []}))
    assert "nothing to show yet" in drawn(ax)


def test_charts_go_where_they_are_told(kit):
    """With axes of one's own, in a figure for a paper; without, a new figure."""
    with rehearsing(kit):
        run = kit.run(["a", "b"], TWO, max_tokens=30).result(30)
    own = Figure().subplots(1, 2)
    assert run.plot_costs(ax=own[0]) is own[0]
    assert run.plot_latency(ax=own[1]) is own[1]
    assert run.plot_costs() is not own[0]
    widths = {patch.get_width() for patch in own[0].patches}
    assert sum(widths) == pytest.approx(float(run.total_cost))


def attempts(*rows):
    """A table of attempts: model, second of the start, seconds of waiting before, latency, status, code."""
    names = ["model", "at", "waited_s", "latency_s", "status_code", "error_code"]
    table = pd.DataFrame(rows, columns=names).astype({"status_code": "Int64", "latency_s": "float64"})
    return table.assign(started_at=pd.Timestamp("2026-11-27", tz="UTC") + pd.to_timedelta(table["at"], unit="s"))


def test_the_timeline_tells_waits_refusals_and_the_unknown_apart():
    """A lane for each provider in the order of their first request; what has no outcome is hollow and has no length."""
    table = attempts(
        ("a:x", 0.0, 0.0, 2.0, 200, None),
        ("b:y", 1.0, 0.5, 1.0, 429, "RATE_LIMITED"),
        ("b:y", 5.0, 4.0, None, None, None),
        ("a:x", 2.0, 0.0, 1.0, 500, "SERVER_ERROR"),
    )
    ax = charts_of(table)
    assert labels(ax) == ["a", "b"]
    waits, flights = (
        sorted(tuple(map(float, path.vertices[:, 0])) for path in lines.get_paths()) for lines in ax.collections
    )
    assert waits == [(0.0, 0.0), (0.5, 1.0), (1.0, 5.0), (2.0, 2.0)]
    assert sorted(sorted(ends) for ends in flights) == [[0.0, 2.0], [1.0, 2.0], [2.0, 3.0]]
    marks = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert marks == {"rate limited (429)": [2.0], "other failures": [3.0], "outcome unknown": [5.0]}
    hollow = next(line for line in ax.lines if line.get_label() == "outcome unknown")
    assert hollow.get_markerfacecolor() == "none"


def charts_of(table):
    """The timeline in a figure of its own."""
    return plot_timeline(table, Figure().add_subplot())


def test_a_timeline_of_a_run_and_of_nothing(kit):
    """It takes what a run has, into axes that are handed in, and says when there is nothing."""
    with rehearsing(kit):
        run = kit.run("a", TWO, max_tokens=20).result(60)
    ax = Figure().add_subplot()
    assert run.plot_timeline(ax) is ax
    assert set(labels(ax)) == {"openai", "mistral"}
    assert drawn(charts_of(run.attempts.iloc[:0])) == ["nothing to show yet"]

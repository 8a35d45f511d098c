import pandas as pd
import pytest
from matplotlib.figure import Figure
from runs import TWO, rehearsing

from llmkit.analysis import charts


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


def test_of_many_models_the_dearest_are_shown():
    """A figure stays readable with a thousand models, and says that it leaves some out."""
    ax = charts.plot_costs(costs(**{f"m{n}": float(n) for n in range(100)}))
    assert len(labels(ax)) == charts.MOST
    assert labels(ax)[0] == "m99"
    assert ax.get_title(loc="right") == "30 of 100 models"


def test_latencies_are_sorted_and_count_their_answers():
    """The slowest median is on top; only answered probes count; the axis says seconds."""
    probes = pd.DataFrame(
        {"model": ["a", "a", "b", "b"], "status": ["ok", "ok", "ok", "failed"], "latency_s": [3.0, 5.0, 1.0, 99.0]}
    )
    ax = charts.plot_latency(probes)
    assert labels(ax) == ["a (n = 2)", "b (n = 1)"]
    assert ax.get_xlabel() == "Time to answer (s)"
    assert ax.get_xlim()[0] == 0


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

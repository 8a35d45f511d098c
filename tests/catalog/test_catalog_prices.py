"""Dated prices: appended, in force from their day, taken back."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from llmkit.errors import EditConflict, ValidationError
from llmkit.records import price_on


def cost(catalog, ref="alpha:one"):
    """The model's input price now."""
    return catalog.model(ref).cost_input_per_million


def entries(bench, ref="alpha:one"):
    """The model's price history as (valid from, input price, source)."""
    return [
        (entry.valid_from, entry.price.cost_input_per_million, entry.source)
        for entry in bench.catalog.state().prices[ref]
    ]


def test_a_price_change_is_appended(bench):
    """The new price holds from now on, and the old one stays in the history."""
    bench.catalog.update_model("alpha:one", cost_input_per_million="2.25", source="https://alpha.example/prices")
    assert cost(bench.catalog) == Decimal("2.25")
    assert bench.catalog.model("alpha:one").cost_output_per_million == 6
    (_, old, _), (since, new, source) = entries(bench)
    assert (old, new, source) == (Decimal("1.5"), Decimal("2.25"), "https://alpha.example/prices")
    assert abs(since - bench.now) < timedelta(seconds=1)


def test_a_future_price_takes_effect_on_its_day(bench):
    """Announced, it changes nothing; when its day has come, readers see it and the table gets it, once."""
    catalog = bench.catalog
    catalog.update_model("alpha:one", cost_input_per_million=3, valid_from="2026-12-01")
    assert cost(catalog) == Decimal("1.5")
    assert catalog.apply_due_prices() == []
    bench.now = datetime(2026, 12, 1, tzinfo=UTC)
    assert cost(catalog) == 3
    assert catalog.models().set_index("model").loc["alpha:one", "cost_input_per_million"] == 3.0
    in_table = "SELECT cost_input_per_million FROM llm_models WHERE model_id = 'one'"
    assert bench.store.query(in_table).iloc[0, 0] == 1.5
    assert [model.reference for model in catalog.apply_due_prices()] == ["alpha:one"]
    assert bench.store.query(in_table).iloc[0, 0] == 3.0
    assert catalog.apply_due_prices() == []
    assert catalog.history("alpha:one").iloc[-1][["actor", "action"]].tolist() == ["system", "apply_due_price"]


def test_an_edit_after_the_day_keeps_the_announced_price(bench):
    """A kernel that was open over the change of price does not write the old one back with its next edit."""
    catalog = bench.catalog
    catalog.update_model("alpha:one", cost_input_per_million=3, valid_from="2026-12-01")
    bench.now = datetime(2026, 12, 2, tzinfo=UTC)
    catalog.update_model("alpha:one", display_name="Uno", cost_output_per_million=7)
    model = catalog.model("alpha:one")
    assert (model.display_name, model.cost_input_per_million, model.cost_output_per_million) == ("Uno", 3, 7)
    catalog.set_default_model("alpha:one")
    assert catalog.history("alpha:one")["actor"].tolist().count("system") == 1
    in_table = bench.store.query("SELECT cost_input_per_million FROM llm_models WHERE model_id = 'one'")
    assert in_table.iloc[0, 0] == 3.0


def test_a_price_that_another_will_replace_warns(bench):
    """A user's price does not silently give way to an announced one: the warning says when, and how to keep it."""
    catalog = bench.catalog
    catalog.update_model("alpha:one", cost_input_per_million=3, valid_from="2026-12-01", source="the price page")
    with pytest.warns(UserWarning, match=r"2026-12-01.*the price page.*valid_from='2026-12-01'"):
        catalog.update_model("alpha:one", cost_input_per_million=1)
    assert cost(catalog) == 1
    catalog.update_model("alpha:one", cost_input_per_million=1, valid_from="2026-12-01")
    bench.now = datetime(2026, 12, 5, tzinfo=UTC)
    assert cost(catalog) == 1


def test_a_price_of_the_past_fills_the_history_only(bench):
    """An entry before the present one changes what holds then, not now."""
    bench.catalog.update_model("alpha:one", cost_input_per_million=2, valid_from="2026-06-01")
    bench.catalog.update_model("alpha:one", cost_input_per_million=9, valid_from="2026-01-01")
    assert cost(bench.catalog) == 2
    assert [price for _, price, _ in entries(bench)] == [Decimal("1.5"), 9, 2]


def test_a_new_model_can_have_a_first_day(bench):
    """Priced from a future day on, a model is unpriced until then."""
    bench.catalog.add_model("alpha:new", cost_input_per_million=2, cost_output_per_million=4, valid_from="2027-01-01")
    assert cost(bench.catalog, "alpha:new") is None
    bench.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert cost(bench.catalog, "alpha:new") == 2


def test_a_shipped_announcement_takes_effect(shipped):
    """Gemini 4 Argon doubles on 1 December 2026, Gemini 3.6 Flash on 1 January 2027."""
    argon, flash = "google:gemini-4-argon", "google:gemini-3.6-flash"
    assert (cost(shipped.catalog, argon), cost(shipped.catalog, flash)) == (2, Decimal("0.75"))
    shipped.now = datetime(2026, 12, 1, tzinfo=UTC)
    assert (cost(shipped.catalog, argon), cost(shipped.catalog, flash)) == (4, Decimal("0.75"))
    shipped.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert (cost(shipped.catalog, argon), cost(shipped.catalog, flash)) == (4, Decimal("1.5"))


def test_undo_restores_the_price_and_the_model(bench):
    """Taking an edit back restores every value it changed, and the history keeps both."""
    catalog = bench.catalog
    before = catalog.model("alpha:one")
    catalog.update_model("alpha:one", cost_input_per_million=5, display_name="Uno")
    assert catalog.undo() == ("alpha:one",)
    after = catalog.model("alpha:one")
    assert (after.price, after.display_name) == (before.price, before.display_name)
    assert [price for _, price, _ in entries(bench)] == [Decimal("1.5"), 5, Decimal("1.5")]
    bench.now += timedelta(days=400)
    assert cost(catalog) == Decimal("1.5")


def test_undo_takes_back_one_edit_after_the_other(catalog):
    """Undoing twice takes back the last two edits; then there is nothing more."""
    catalog.update_model("alpha:one", display_name="Uno")
    catalog.set_default_model("alpha:two")
    catalog.set_setting("theme", "dark")
    assert catalog.undo() == ("theme",)
    assert catalog.get_setting("theme") is None
    assert set(catalog.undo()) == {"alpha:one", "alpha:two"}
    assert catalog.defaults()["alpha"].reference == "alpha:one"
    catalog.update_provider("alpha", max_parallel_requests=7)
    catalog.undo()
    assert catalog.provider("alpha").max_parallel_requests == 1
    assert catalog.undo() == ("alpha:one",)
    assert catalog.model("alpha:one").display_name == "one"
    with pytest.raises(ValidationError, match="no change"):
        catalog.undo()


def test_undo_of_a_deprecation_restores_the_default(catalog):
    """The model is active and default again, and its successor is not."""
    catalog.deprecate_model("alpha:one")
    catalog.undo()
    assert catalog.model("alpha:one").is_active
    assert catalog.defaults()["alpha"].reference == "alpha:one"
    assert not catalog.model("alpha:two").is_default


def test_undo_of_an_announcement_cancels_it(bench):
    """A future price that was taken back does not come."""
    bench.catalog.update_model("alpha:one", cost_input_per_million=3, valid_from="2026-12-01")
    bench.catalog.undo()
    bench.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert cost(bench.catalog) == Decimal("1.5")


def test_undo_leaves_what_was_changed_since(catalog):
    """A change by somebody else on top is not lost: undo refuses."""
    catalog.update_model("alpha:one", display_name="Uno")
    catalog.learn_rejected("alpha:one", "seed")
    with pytest.raises(EditConflict):
        catalog.undo()
    assert catalog.model("alpha:one").display_name == "Uno"


def test_undo_of_a_balance_keeps_what_was_spent(bench):
    """Taking a top-up back takes the top-up off, not what runs have spent since."""
    catalog = bench.catalog
    catalog.set_balance("alpha", 10)
    catalog.set_balance("alpha", 30)
    with bench.store.edit(actor="system") as edit:
        edit.set_balance("alpha", Decimal("28.5"), "spent")
    catalog.undo()
    assert catalog.provider("alpha").balance == Decimal("8.5")


@pytest.mark.filterwarnings("error")
def test_the_last_price_holds_even_if_the_clock_is_set_back(bench):
    """The one before it neither stays for an hour nor returns after it; an announced price still waits for its day."""
    bench.now = datetime.now(UTC)
    catalog = bench.catalog
    catalog.update_model("alpha:one", cost_input_per_million=5)
    bench.now -= timedelta(hours=1)
    assert cost(catalog) == 5
    catalog.update_model("alpha:one", cost_input_per_million=7)
    catalog.update_model("alpha:two", cost_input_per_million=9, valid_from=bench.now + timedelta(hours=3))
    for hours, announced in ((0, "1.5"), (2, "1.5"), (2, "9")):
        bench.now += timedelta(hours=hours)
        prices = catalog.models().set_index("model")["cost_input_per_million"]
        assert prices["alpha:one"] == cost(catalog) == 7
        assert prices["alpha:two"] == float(announced)


@pytest.mark.filterwarnings("ignore:.*the catalog has another price")
def test_undoing_price_changes_one_by_one_restores_each_price_before(bench):
    """Now and for the days to come, whether a price took effect at once, was announced or was entered late."""
    catalog, told = bench.catalog, []

    def prices():
        then = [price_on(catalog.state().prices["alpha:one"], bench.now + timedelta(days=days)) for days in (0, 4, 7)]
        return [cost(catalog), *(entry.price.cost_input_per_million for entry in then)]

    for days, price in ((0, 2), (6, 3), (-5, 4), (3, 5), (6, 6), (0, 7), (0, 8)):
        told.append(prices())
        when = {"valid_from": bench.now + timedelta(days=days)} if days else {}
        catalog.update_model("alpha:one", cost_input_per_million=price, **when)
    while told:
        assert catalog.undo() == ("alpha:one",)
        assert prices() == told.pop()
    with pytest.raises(ValidationError, match="no change"):
        catalog.undo()

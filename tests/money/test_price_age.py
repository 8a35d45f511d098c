"""Prices that were read long ago: one sentence in a session, in the warning of a paid run, the panel and the form."""

import warnings
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from local_provider import LOCAL

import llmkit
from llmkit.records import DatedPrice, Price
from llmkit.widgets.models_panel import ModelsPanel
from llmkit.widgets.run_form import RunForm


def read(kit, day, *references):
    """Enter prices that were read on that day."""
    price = Price(cost_input_per_million=Decimal(1), cost_output_per_million=Decimal(4))
    told = {"valid_from": datetime.now(UTC), "price": price, "source": "a page", "read_on": day}
    with kit._store.edit(actor="user") as edit:
        for reference in references:
            edit.add_price(DatedPrice(reference=reference, **told), "update_model")


def said(kit, **how):
    """What a run warns of old prices."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kit.run("a question", LOCAL, **how).result(30)
    return [str(each.message) for each in caught if "were read" in str(each.message)]


def test_old_prices_are_said_once_in_a_session(paying, database):
    """At the first run that is paid and asks such a model; a new session says it again."""
    assert said(paying) == []
    read(paying, date(2026, 1, 1), LOCAL)
    (words,) = said(paying)
    assert "on 2026-01-01" in words
    assert "check_prices(fresh=True)" in words
    assert said(paying) == []
    with llmkit.open(database) as again:
        assert len(said(again)) == 1


def test_a_rehearsal_and_a_recent_price_are_nothing_to_warn_of(paying, sim):
    """Nothing is paid in the one; the other is 30 days old at most."""
    read(paying, datetime.now(UTC).date() - timedelta(days=30), LOCAL)
    assert said(paying) == []
    read(paying, date(2026, 1, 1), LOCAL)
    paying.use_simulator(sim)
    assert said(paying) == []


def test_the_panel_the_form_and_the_doctor_say_it_until_prices_were_compared(paying, pages):
    """Of any active model. The remedy that is named helps; installed data may be as old as the prices."""
    read(paying, datetime.now(UTC).date(), *paying.catalog.models(status="ACTIVE")["model"])
    panel, form = ModelsPanel(paying), RunForm(paying, "a question")
    assert panel._old_prices.text == form._old_prices.text == ""
    read(paying, date(2026, 1, 1), LOCAL)
    paying.catalog.check_prices()
    for each in (panel, form):
        each.refresh()
        assert "on 2026-01-01: kit.catalog.check_prices(fresh=True)" in each._old_prices.text
    assert paying.doctor().set_index("about").loc["prices", "health"] == "look"
    pages["/data.json"] = []
    paying.catalog.check_prices(fresh=pages.url + "/data.json")
    for each in (panel, form):
        each.refresh()
        assert each._old_prices.text == ""
    assert paying.doctor().set_index("about").loc["prices", "health"] == "ok"
    assert said(paying) == []

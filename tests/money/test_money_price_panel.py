"""The button "Check prices" of the models panel, and what it offers."""

import pytest
from local_provider import LOCAL

import llmkit
from llmkit.widgets.models_panel import ModelsPanel

HAIKU = "anthropic:claude-haiku-5-5"


def checked(panel):
    """Click, and wait for what comes."""
    panel.prices.check_button.click()
    panel.prices.checking.join(30)
    return panel.prices


def offered(check):
    """What the tick boxes say."""
    return [box.description for box in check.boxes]


def test_up_to_date_prices_are_said_to_be(kit):
    """One sentence, nothing to tick."""
    check = checked(ModelsPanel(kit))
    assert check.result.text.startswith("Every price is as in genai-prices ")
    assert offered(check) == []


def test_only_what_is_ticked_is_taken_over(kit):
    """Each difference has its line; the button does what kit.catalog.apply_prices does, and can be undone."""
    kit.catalog.update_model(HAIKU, cost_input_per_million=7, cost_output_per_million=3)
    panel = ModelsPanel(kit)
    check = checked(panel)
    lines = offered(check)
    assert [line.partition(" (")[0] for line in lines] == [
        f"{HAIKU}: input price: $7.00 → $0.10", f"{HAIKU}: output price: $3.00 → $0.50"
    ]  # fmt: skip
    check.boxes[0].value = False
    check.apply_button.click()
    assert panel.notice.text == f"Changed {HAIKU}."
    model = kit.catalog.model(HAIKU)
    assert (model.cost_input_per_million, float(model.cost_output_per_million)) == (7, 0.5)
    assert offered(check) == []
    panel.undo_button.click()
    assert kit.catalog.model(HAIKU).cost_output_per_million == 3


def test_parts_of_a_price_are_told_by_their_rates(kit):
    """A tier by its rate of input, a variant by its factor, and none where there are none."""
    kit.catalog.update_model(HAIKU, price_tiers=[])
    kit.catalog.update_model("anthropic:claude-fable-5", price_variants=[])
    lines = [line.partition(" (")[0] for line in offered(checked(ModelsPanel(kit)))]
    assert lines == [
        "anthropic:claude-fable-5: price variants: none → 1 with all rates × 0.5",
        f"{HAIKU}: price tiers: none → 1 with $0.50 in",
    ]


def test_many_differences_come_in_portions(kit):
    """A limited number of boxes, however many models differ."""
    for reference in kit.catalog.models("openai", "ACTIVE")["model"].head(15):
        kit.catalog.update_model(reference, cost_input_per_million=777, cost_output_per_million=777)
    check = checked(ModelsPanel(kit))
    assert check.result.text.startswith("30 differences; the first 25")
    check.apply_button.click()
    assert len(offered(check)) == 5
    check.apply_button.click()
    assert kit.catalog.check_prices().empty


def test_hostile_names_stay_text_and_silence_is_told(paying, pages):
    """A list of models is somebody else's text; a provider that does not answer is named."""
    paying.catalog.update_provider("local", base_url=pages.url)
    pages["/models"] = {"data": [{"id": "gpt-6-luna"}, {"id": "<img/src=x>", "name": "<script>alert(1)</script>"}]}
    check = checked(ModelsPanel(paying))
    assert len(offered(check)) == 1
    assert not check.boxes[0].description_allow_html
    del pages["/models"]
    with pytest.warns(UserWarning, match="local"):
        check = checked(ModelsPanel(paying))
    assert "local did not answer" in check.result.text
    assert paying.catalog.model(LOCAL).is_active


def test_without_genai_prices_the_panel_says_what_to_install(kit, monkeypatch):
    """The sentence of the error, in its place."""
    import sys

    monkeypatch.setitem(sys.modules, "genai_prices", None)
    check = checked(ModelsPanel(kit))
    assert "pip install 'llmkit[prices]'" in check.result.text
    assert llmkit.ValidationError.__name__ not in check.result.text

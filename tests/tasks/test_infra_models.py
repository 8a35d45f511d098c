"""Which model does an internal task: the one that is set; else the cheapest that can, and it is said."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from llmkit.catalog import Access
from llmkit.catalog.infra_models import choose, takes_schema
from llmkit.catalog.purposes import PURPOSES, Purpose
from llmkit.errors import MissingApiKey, ModelDeprecated, ModelNotFound
from llmkit.records import Model, Price, Provider
from llmkit.store import CatalogState


def provider(name, **more):
    """An endpoint in OpenAI's format."""
    return Provider(
        name=name,
        display_name=name,
        wire="openai_chat",
        base_url="http://localhost/v1",
        api_key_env=f"{name}_KEY",
        **more,
    )


def model(reference, cost="1", **more):
    """A model with one price for input and output."""
    name, model_id = reference.split(":")
    price = Price(cost_input_per_million=cost and Decimal(cost), cost_output_per_million=cost and Decimal(cost))
    return Model(provider=name, model_id=model_id, display_name=model_id, price=price, **more)


def state(*models, configured="a:set", **changes):
    """A catalog with providers a and b."""
    providers = {name: provider(name, **changes.get(name, {})) for name in ("a", "b")}
    settings = {"infra_model_summarization": configured} if configured else {}
    return CatalogState(providers=providers, models={m.reference: m for m in models}, settings=settings, prices={})


def chosen(catalog, keys=("a", "b"), **options):
    """The choice for summarization, with keys for some providers."""
    return choose(Access(catalog, lambda p: p.name in keys, date(2026, 11, 26)), "summarization", **options)


def test_the_configured_model_is_used_whatever_is_cheaper():
    """A dear model that is set is asked, without a note, though the run itself asked it."""
    choice = chosen(state(model("a:set", "9"), model("b:cheap", "0.1")), avoid={"a:set"})
    assert (choice.model.reference, choice.note) == ("a:set", None)


@pytest.mark.parametrize(
    ("catalog", "keys", "error", "says"),
    [
        (state(model("a:set", status="DEPRECATED"), model("b:x")), ("a", "b"), ModelDeprecated, "deprecated"),
        (state(model("a:set"), model("b:x"), a={"is_enabled": False}), ("a", "b"), ModelDeprecated, "disabled"),
        (state(model("a:set"), model("b:x")), ("b",), MissingApiKey, "a_KEY"),
        (state(model("b:x"), configured=None), ("b",), ModelNotFound, "No model is set"),
        (state(model("b:x")), ("b",), ModelNotFound, "not in the catalog"),
    ],
)
def test_a_stand_in_is_said_and_strict_refuses_it(catalog, keys, error, says):
    """Whatever keeps the configured model from being asked, the note says so and names who is used instead."""
    choice = chosen(catalog, keys)
    assert choice.model.reference == "b:x"
    assert says in choice.note
    assert "b:x is used instead" in choice.note
    with pytest.raises(error, match=says):
        chosen(catalog, keys, strict=True)


def test_the_stand_in_is_the_cheapest_that_can_do_the_task():
    """Deprecated, keyless, schemaless and small models and those of the run are passed over; unpriced ones come late,
    and later still those that are retired or soon will be.
    """
    catalog = state(
        model("b:old", "0.1", status="DEPRECATED"),
        model("a:keyless", "0.2"),
        model("b:plain", "0.3", api_config={"structured": None}),
        model("b:small", "0.4", context_window=1_000),
        model("b:subject", "0.5"),
        model("b:gone", "0.6", retires_on=date(2026, 11, 25)),
        model("b:going", "0.7", retires_on=date(2026, 12, 26)),
        model("b:unpriced", None),
        model("b:dear", "3"),
        model("b:right", "2"),
    )
    options = {"keys": ("b",), "structured": True, "context": 5_000, "avoid": {"b:subject"}}
    assert chosen(catalog, **options).model.reference == "b:right"
    unpriced = replace(catalog, models={name: catalog.models[name] for name in ("b:gone", "b:going", "b:unpriced")})
    assert chosen(unpriced, **options).model.reference == "b:unpriced"
    only = replace(catalog, models={"b:gone": catalog.models["b:gone"]})
    assert chosen(only, **options).model.reference == "b:gone"


def test_output_tokens_count_less_than_input_tokens():
    """A model that is cheap to read with wins over one that is cheap to write with."""
    reader = replace(
        model("b:reader"), price=Price(cost_input_per_million=Decimal(1), cost_output_per_million=Decimal(4))
    )
    writer = replace(
        model("b:writer"), price=Price(cost_input_per_million=Decimal(3), cost_output_per_million=Decimal(1))
    )
    assert chosen(state(writer, reader)).model.reference == "b:reader"


def test_without_any_usable_model_the_error_says_what_to_do():
    """Never a model of the run, not even when there is no other."""
    with pytest.raises(MissingApiKey, match="set_infra_model"):
        chosen(state(model("a:set"), model("b:subject")), keys=("b",), avoid={"b:subject"})


def test_whether_a_schema_has_an_effect_is_known_from_the_wire():
    """A model that once refused a schema is not asked for one again."""
    catalog = state(model("a:set"))
    assert takes_schema(catalog, model("a:set"))
    assert not takes_schema(catalog, model("a:set", api_config={"learned_rejects": ["schema"]}))


def test_a_purpose_is_one_row(kit, monkeypatch):
    """A task that registers one has a model of its own in the catalog, and a dropdown in the panel."""
    monkeypatch.setitem(PURPOSES, "poetry", Purpose("poetry", "Poetry", "Writes verse.", fallback="judge"))
    assert kit.catalog.infra_model("poetry") == kit.catalog.infra_model("summarization")
    kit.catalog.set_infra_model("poetry", "mistral:mistral-small-2603")
    row = kit.infra_panel().df.set_index("purpose").loc["poetry"]
    assert (row["model"], row["used_now"]) == ("mistral:mistral-small-2603", "mistral:mistral-small-2603")

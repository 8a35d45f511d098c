"""Finding providers and models, and the sentence when there is none."""

import pytest

from llmkit.catalog import load_seed
from llmkit.errors import ModelNotFound, UnsupportedProvider, ValidationError


def test_model_is_found_by_its_reference_and_by_itself(catalog):
    """A reference, also with colons in the model id, and a Model both name a model."""
    model = catalog.model("local:llama3:8b")
    assert (model.provider, model.model_id, model.reference) == ("local", "llama3:8b", "local:llama3:8b")
    assert catalog.model(model) == model


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("openai:gpt-6-lunna", "openai:gpt-6-luna"),
        ("gpt-6-luna", "openai:gpt-6-luna"),
        ("OpenAI:GPT-6-Luna", "openai:gpt-6-luna"),
        ("google:claude-haiku-5-5", "anthropic:claude-haiku-5-5"),
        ("mistral-smal-2603", "mistral:mistral-small-2603"),
    ],
)
def test_unknown_model_names_the_nearest(shipped, wrong, meant):
    """A misspelt model, one without its provider, and one at the wrong provider lead to the right reference."""
    with pytest.raises(ModelNotFound) as caught:
        shipped.catalog.model(wrong)
    assert caught.value.suggestions[0] == meant
    assert meant in str(caught.value)
    assert caught.value.code == "MODEL_NOT_FOUND"


def test_model_id_with_a_colon_is_not_taken_for_a_provider(catalog):
    """``llama3:8b`` is a model id whose provider was forgotten, not an unknown provider."""
    with pytest.raises(ModelNotFound) as caught:
        catalog.model("llama3:8b")
    assert caught.value.suggestions == ("local:llama3:8b",)


def test_unknown_provider_names_the_nearest(catalog):
    """An unknown provider is its own error, with what there is."""
    with pytest.raises(UnsupportedProvider) as caught:
        catalog.provider("alfa")
    assert caught.value.suggestions == ("alpha",)
    for ask in (
        lambda: catalog.model("nowhere:x"),
        lambda: catalog.models("nowhere"),
        lambda: catalog.add_model("nowhere:x", cost_input_per_million=1, cost_output_per_million=1),
        lambda: catalog.set_balance("nowhere", 1),
    ):
        with pytest.raises(UnsupportedProvider, match="no provider 'nowhere'"):
            ask()


def test_entries_are_short_in_a_notebook(catalog):
    """A cell that ends with a model or a provider shows on one line what tells it from others, and no balance."""
    catalog.set_balance("alpha", 41)
    catalog.update_provider("alpha", is_enabled=False, max_parallel_requests=3, requests_per_minute=1200)
    provider = catalog.provider("alpha")
    assert repr(provider) == (
        f"<Provider 'alpha' at {provider.base_url!r}: requests at most 3 at once, 1,200 a minute; "
        f"key in {provider.api_key_env}; disabled>"
    )
    catalog.add_model("alpha:new", cost_input_per_million="1.20", cost_output_per_million=None, context_window=400_000)
    assert repr(catalog.update_model("alpha:new", retires_on="2027-01-14")) == (
        "<Model 'alpha:new': 1.2 in, unknown out (US dollars per million tokens), 400,000 tokens of context, "
        "retires on 2027-01-14>"
    )
    catalog.set_default_model("alpha:new")
    assert repr(catalog.model("alpha:new")).endswith(", default>")


@pytest.mark.parametrize("junk", [None, 7, ["openai:gpt-6-luna"]])
def test_what_is_no_reference_is_refused(catalog, junk):
    """Something that is not text gets the sentence about references."""
    with pytest.raises(ValidationError, match="reference"):
        catalog.model(junk)


def test_defaults_are_those_of_enabled_providers(shipped):
    """A disabled provider has no default for new runs, and its models are not available."""
    shipped.catalog.update_provider("xai", is_enabled=False)
    assert set(shipped.catalog.defaults()) == set(load_seed().providers) - {"xai"}
    assert not shipped.catalog.models("xai")["is_available"].any()


def test_availability_follows_the_key(bench):
    """A provider that needs no key is available; another one is as soon as its key is set, and while it is enabled."""
    assert bench.catalog.providers().set_index("name")["is_available"].to_dict() == {"alpha": False, "local": True}
    assert bench.catalog.models(available_only=True)["model"].tolist() == ["local:llama3:8b"]
    bench.keys.add("ALPHA_KEY")
    assert bench.catalog.providers().set_index("name")["key_status"].to_dict() == {
        "alpha": "set",
        "local": "not needed",
    }
    bench.catalog.deprecate_model("alpha:two")
    assert bench.catalog.models("alpha", available_only=True)["model_id"].tolist() == ["one", "three"]


def test_models_can_be_filtered(catalog):
    """By provider and by status; a status that does not exist is refused."""
    catalog.deprecate_model("alpha:two")
    assert catalog.models(status="DEPRECATED")["model"].tolist() == ["alpha:two"]
    assert catalog.models("alpha", "ACTIVE")["model_id"].tolist() == ["one", "three"]
    with pytest.raises(ValidationError, match="ACTIVE"):
        catalog.models(status="retired")

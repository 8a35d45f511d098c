"""Adding, changing, deprecating models; the one default of a provider; settings."""

from datetime import timedelta
from decimal import Decimal

import pytest

from llmkit.catalog.lifecycle import family
from llmkit.catalog.obstacles import is_retiring
from llmkit.errors import EditConflict, ModelDeprecated, ModelNotFound, ValidationError
from llmkit.money.pricing import blended


def defaults(catalog, provider="alpha"):
    """The model ids that are marked as the provider's default."""
    models = catalog.models(provider)
    return models.loc[models["is_default"], "model_id"].tolist()


def test_an_added_model_is_there_as_it_was_given(catalog):
    """Everything that was said is read back, exactly."""
    added = catalog.add_model(
        "alpha:four/large:v2",
        display_name="Four",
        cost_input_per_million="0.1",
        cost_output_per_million=0.4,
        cost_cached_input_per_million="0.025",
        cost_cache_write_per_million="0.125",
        cost_cache_write_1h_per_million="0.2",
        price_tiers=[{"above": 200_000, "cost_input_per_million": "0.2"}],
        batch_discount="0.5",
        context_window=1_000_000,
        max_output_tokens=64_000,
        retires_on="2027-04-01",
        api_config={"sampling": False},
        source="https://alpha.example/prices",
    )
    assert added == catalog.model("alpha:four/large:v2")
    assert added.cost_input_per_million == Decimal("0.1")
    assert added.cost_output_per_million == Decimal("0.4")
    assert added.price.cost_cache_write_1h_per_million == Decimal("0.2")
    assert added.price_tiers[0].cost_input_per_million == Decimal("0.2")
    assert added.batch_discount == Decimal("0.5")
    assert added.is_active
    assert not added.is_default


def test_a_model_becomes_default_only_when_asked(catalog):
    """Adding leaves the default alone, also where there is none; asked for, the new model takes it over."""
    catalog.add_model("local:second", cost_input_per_million=0, cost_output_per_million=0)
    assert defaults(catalog, "local") == []
    assert "local" not in catalog.defaults()
    added = catalog.add_model("alpha:four", cost_input_per_million=1, cost_output_per_million=1, set_as_default=True)
    assert added.is_default
    assert defaults(catalog) == ["four"]
    assert catalog.update_model("alpha:two", set_as_default=True).is_default
    assert defaults(catalog) == ["two"]


def test_a_reference_that_cannot_be_is_refused(catalog, n_events, subtests):
    """A second model of one reference, and ids that would break, leave nothing behind."""
    before = n_events()
    for ref in ("alpha:one", "alpha:has space", "alpha:a\tb", "alpha", ":x", ""):
        with subtests.test(ref=ref):
            with pytest.raises(ValidationError) as caught:
                catalog.add_model(ref, cost_input_per_million=1, cost_output_per_million=1)
            assert caught.value.field == "ref"
    assert n_events() == before


BAD_CONFIGS = (
    {"limits": 5}, {"limits": {"rpm": 5}}, {"limits": {"requests_per_minute": "5"}},
    {"limits": {"tokens_per_minute": 0}}, {"limits": {"max_parallel_requests": None}},
    {"seed_param": ["x"]}, {"learned_rejects": 5}, {"rejects": "seed"}, {"reasoning_efforts": [1]},
    {"sampling": "sometimes"}, {"sampling": 1}, {"structured": "xml"}, {"reasoning": "yes"},
    {"wire": "carrier pigeon"}, {"cache_min_tokens": 1.5},
)  # fmt: skip
BAD_VALUES = (
    ("cost_input_per_million", -1), ("cost_output_per_million", "free"), ("cost_input_per_million", float("nan")),
    ("cost_cached_input_per_million", True), ("batch_discount", 1.5), ("context_window", 0),
    ("max_output_tokens", "many"), ("retires_on", "soon"), ("display_name", "two\nlines"), ("display_name", ""),
    ("api_config", "none"), ("api_config", {"a": object()}), ("price_tiers", "none"), ("valid_from", "tomorrow"),
    ("set_as_default", "yes"), ("source", 5), ("status", "gone"), ("is_default", "yes"),
    *(("api_config", config) for config in BAD_CONFIGS),
)  # fmt: skip


def test_bad_values_name_their_field(catalog, n_events, subtests):
    """Each bad value is refused by add and by update alike, with the field at fault, and nothing is written."""
    before = n_events()
    for field, value in BAD_VALUES:
        with subtests.test(field=field, value=value):
            with pytest.raises(ValidationError) as caught:
                catalog.update_model("alpha:one", **{field: value})
            assert caught.value.field.split(".")[0] == field
            new = {"cost_input_per_million": 1, "cost_output_per_million": 1, field: value}
            with pytest.raises(ValidationError) as caught:
                catalog.add_model("alpha:new", **new)
            assert caught.value.field.split(".")[0] == field
    assert n_events() == before


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"provider": "local"}, "another provider"),
        ({"model_id": "uno"}, "never changes"),
        ({"cost_input": 5}, "cost_input_per_million"),
    ],
)
def test_what_update_does_not_change_says_what_does(catalog, change, hint):
    """A model's identity is fixed, and a typo lists what there is."""
    with pytest.raises(ValidationError, match=hint) as caught:
        catalog.update_model("alpha:one", **change)
    assert caught.value.field == next(iter(change))


def test_deprecating_the_default_promotes_the_next_and_says_which(catalog):
    """The next active model in the catalog's order takes over, after the last the first; in the end there is none."""
    catalog.set_default_model("alpha:two")
    first = catalog.deprecate_model("alpha:two")
    assert (first.model.status, first.model.is_default) == ("DEPRECATED", False)
    assert first.new_default == catalog.model("alpha:three")
    assert defaults(catalog) == ["three"]
    assert catalog.deprecate_model("alpha:three").new_default.reference == "alpha:one"
    last = catalog.deprecate_model("alpha:one")
    assert last.new_default is None
    assert defaults(catalog) == []
    assert catalog.providers().set_index("name").loc["alpha", "n_active_models"] == 0


def test_a_deprecated_default_is_followed_by_the_nearest_in_price(shipped):
    """Never by one 80 times dearer: its family comes first, both prices are said, and a warning where it is dear."""
    catalog = shipped.catalog
    with pytest.warns(UserWarning, match=r"\$0\.50"):
        done = catalog.deprecate_model("anthropic:claude-haiku-5-5")
    assert done.new_default.reference == "anthropic:claude-haiku-4-5"
    assert (done.price.cost_input_per_million, done.new_price.cost_input_per_million) == (Decimal("0.1"), Decimal(1))
    assert "$1.00 in, $5.00 out" in str(done)


def test_every_shipped_default_is_followed_at_a_price_near_its_own(shipped, recwarn):
    """Of all that a provider offers nothing active that stays is nearer, unless a relative at up to twice the price
    is; a provider of one model has nothing to follow it.
    """
    catalog = shipped.catalog
    for name, model in catalog.defaults().items():
        heir = catalog.deprecate_model(model.reference).new_default
        offered = [other for other in catalog.state().models.values() if other.provider == name]
        others = [other for other in offered if other.is_active and not is_retiring(other, shipped.now.date())]
        assert (heir is None) == (not others), name
        if heir is None:
            continue
        distances = {other.reference: distance(model, other) for other in others}
        relative = family(heir) == family(model) and distance(model, heir) <= 2
        assert relative or distances[heir.reference] == min(distances.values()), heir


def distance(model, other):
    """How many times dearer or cheaper, at three input tokens for each of output."""
    ratio = blended(other.price) / blended(model.price)
    return max(ratio, 1 / ratio)


PRICED = ("alpha:base-2", "alpha:base-1", "alpha:other", "alpha:unknown")


@pytest.mark.parametrize(
    ("default", "prices", "heir"),
    [
        ("alpha:base-2", (1, 2, 1, None), "alpha:base-1"),  # a relative at twice the price
        ("alpha:base-2", (1, 3, 1, None), "alpha:other"),  # a relative that is dearer than that
        ("alpha:base-2", (1, None, 9, None), "alpha:other"),  # what is unknown comes last
        ("alpha:other", (4, 3, None, None), "alpha:base-1"),  # nothing to compare with: the cheapest
        ("alpha:base-2", (0, 5, 0, None), "alpha:other"),  # free stays free
        ("alpha:base-2", (1, None, None, None), "alpha:base-1"),  # all unknown: the relative
    ],
)
@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_who_follows_by_family_and_price(catalog, default, prices, heir):
    """Family up to twice the price, then the nearest price, unknown prices last."""
    for reference in ("alpha:one", "alpha:two", "alpha:three"):
        catalog.deprecate_model(reference)
    for reference, price in zip(PRICED, prices, strict=True):
        catalog.add_model(reference, cost_input_per_million=price, cost_output_per_million=price)
    catalog.set_default_model(default)
    assert catalog.deprecate_model(default).new_default.reference == heir


def test_what_retires_follows_last(bench):
    """Not the next one, which is retired or will be within a month, unless there is no other."""
    catalog = bench.catalog
    for days in (-1, 30):
        catalog.update_model("alpha:two", retires_on=bench.now.date() + timedelta(days))
        assert catalog.heir("alpha:one").reference == "alpha:three"
    assert catalog.deprecate_model("alpha:one").new_default.reference == "alpha:three"
    assert catalog.update_model("alpha:three", status="DEPRECATED").status == "DEPRECATED"
    assert defaults(catalog) == ["two"]


def test_status_and_default_change_with_the_other_fields(catalog):
    """Update does what the methods do: a deprecated default is followed, a deprecated model cannot be one."""
    changed = catalog.update_model("alpha:one", status="DEPRECATED", display_name="Uno")
    assert (changed.status, changed.is_default, changed.display_name) == ("DEPRECATED", False, "Uno")
    assert defaults(catalog) == ["two"]
    with pytest.raises(ModelDeprecated):
        catalog.update_model("alpha:one", is_default=True, display_name="One")
    assert catalog.model("alpha:one").display_name == "Uno"
    assert catalog.update_model("alpha:one", status="ACTIVE", is_default=True).is_default
    assert defaults(catalog) == ["one"]
    catalog.update_model("alpha:one", is_default=False)
    assert defaults(catalog) == []


def test_deprecating_another_model_leaves_the_default(catalog):
    """Nothing is promoted, and doing it twice changes nothing more."""
    assert catalog.deprecate_model("alpha:two").new_default is None
    assert defaults(catalog) == ["one"]
    n = len(catalog.history("alpha:two"))
    assert catalog.deprecate_model("alpha:two").new_default is None
    assert len(catalog.history("alpha:two")) == n


def test_a_deprecated_model_can_come_back_but_not_as_default(catalog):
    """Reactivated, it is active; its former role stays with its successor."""
    catalog.deprecate_model("alpha:one")
    with pytest.raises(ModelDeprecated, match="reactivate_model"):
        catalog.set_default_model("alpha:one")
    with pytest.raises(ModelDeprecated):
        catalog.update_model("alpha:one", set_as_default=True, display_name="Uno")
    assert catalog.model("alpha:one").display_name == "one"
    assert catalog.reactivate_model("alpha:one").is_active
    assert defaults(catalog) == ["two"]


def test_setting_the_default_says_what_it_replaces(catalog):
    """The change names both; setting the same one again changes nothing."""
    change = catalog.set_default_model("alpha:three")
    assert change.model.reference == "alpha:three"
    assert change.previous_default.reference == "alpha:one"
    assert defaults(catalog) == ["three"]
    assert catalog.set_default_model("local:llama3:8b").previous_default is None


def test_a_stale_edit_is_refused(catalog):
    """A form that read the model before somebody changed it does not overwrite that change."""
    read = catalog.models().set_index("model").loc["alpha:one", "updated_at"]
    catalog.update_model("alpha:one", display_name="Uno", expected_updated_at=read)
    with pytest.raises(EditConflict, match="alpha:one"):
        catalog.update_model("alpha:one", display_name="Un", expected_updated_at=read)
    assert catalog.model("alpha:one").display_name == "Uno"


def test_a_rejected_parameter_is_remembered_once(catalog):
    """What an API taught is kept in the model's api_config, and not as the user's own edit."""
    catalog.learn_rejected("alpha:one", "temperature")
    catalog.learn_rejected("alpha:one", "seed")
    catalog.learn_rejected("alpha:one", "seed")
    assert catalog.model("alpha:one").api_config["learned_rejects"] == ["seed", "temperature"]
    assert catalog.history("alpha:one")["actor"].tolist().count("system") == 2


def test_infra_models_are_checked(catalog):
    """An internal task takes an active model that exists, however it is set; without one the error says how."""
    with pytest.raises(ModelNotFound, match="set_infra_model"):
        catalog.infra_model("summarization")
    assert catalog.set_infra_model("summarization", "alpha:one") == catalog.infra_model("summarization")
    catalog.set_setting("infra_model_scenario_expansion", "local:llama3:8b")
    assert catalog.infra_model("scenario_expansion").reference == "local:llama3:8b"
    for ask in (
        lambda: catalog.set_infra_model("poetry", "alpha:one"),
        lambda: catalog.set_setting("infra_model_poetry", "alpha:one"),
        lambda: catalog.infra_model("poetry"),
        lambda: catalog.set_setting("infra_model_summarization", 5),
    ):
        with pytest.raises(ValidationError):
            ask()
    with pytest.raises(ModelNotFound):
        catalog.set_setting("infra_model_summarization", "alpha:four")
    gone = catalog.deprecate_model("alpha:one")
    assert gone.infra_purposes == ("summarization",)
    with pytest.raises(ModelDeprecated):
        catalog.set_infra_model("summarization", "alpha:one")
    assert catalog.infra_model("summarization").status == "DEPRECATED"


def test_settings_are_kept_and_listed(catalog):
    """A value comes back as it was; one that is not set is None, and not listed; llmkit's own are not for users."""
    catalog.set_setting("theme", {"dark": True, "sizes": [1, 2]})
    assert catalog.get_setting("theme") == {"dark": True, "sizes": [1, 2]}
    assert catalog.get_setting("nothing") is None
    assert catalog.settings().set_index("key")["value"].to_dict() == {"theme": {"dark": True, "sizes": [1, 2]}}
    for key in ("_seed_fingerprint", "", "two words", None, "x" * 101):
        with pytest.raises(ValidationError) as caught:
            catalog.set_setting(key, 1)
        assert caught.value.field == "key"
    with pytest.raises(ValidationError):
        catalog.set_setting("theme", object())
    catalog.set_setting("theme", None)
    assert catalog.settings().empty


@pytest.mark.parametrize(("first", "second"), [(0, False), (1, 1.0), ([1], [True])])
def test_a_setting_that_python_calls_equal_is_still_stored(catalog, first, second):
    """0 becomes False, and 1 becomes 1.0, when that is what is set; the same value again is no change."""
    catalog.set_setting("theme", first)
    catalog.set_setting("theme", second)
    assert repr(catalog.get_setting("theme")) == repr(second)
    catalog.set_setting("theme", second)
    assert len(catalog.history("theme")) == 2
    assert catalog.last_change() == "theme: changed"
    catalog.undo()
    assert repr(catalog.get_setting("theme")) == repr(first)


def test_every_change_is_an_event_with_before_and_after(catalog):
    """The history of an entry tells who changed what, from what to what."""
    catalog.update_model("alpha:one", display_name="Uno")
    event = catalog.history("alpha:one").iloc[-1]
    assert (event["actor"], event["action"], event["entity"]) == ("user", "update_model", "model")
    assert (event["before"]["display_name"], event["after"]["display_name"]) == ("one", "Uno")
    assert set(catalog.history("alpha")["entity"]) == {"provider"}
    catalog.set_setting("theme", "dark")
    assert catalog.history("theme").iloc[-1]["after"]["value"] == "dark"
    with pytest.raises(ModelNotFound):
        catalog.history("alpha:nothing")

"""May this model be asked? What blocks it, what only warns, and that one account of it serves all callers."""

from datetime import date

import pytest

from llmkit.catalog import Access, ObstacleKind
from llmkit.errors import MissingApiKey, ModelDeprecated
from llmkit.records import Model, Provider
from llmkit.store import CatalogState

TODAY = date(2026, 11, 26)


def kinds(*, has_key=True, enabled=True, **model):
    """The obstacles of a model of one provider."""
    provider = Provider(
        name="a", display_name="A", wire="gemini", base_url="https://a.org", api_key_env="A_KEY", is_enabled=enabled
    )
    entry = Model(provider="a", model_id="m", display_name="M", **model)
    access = Access(CatalogState(providers={"a": provider}), lambda _: has_key, TODAY)
    return access.obstacles(entry), access.blocking(entry)


@pytest.mark.parametrize(
    ("options", "kind", "error", "says"),
    [
        ({"status": "DEPRECATED"}, ObstacleKind.DEPRECATED, ModelDeprecated, "reactivate_model('a:m')"),
        ({"enabled": False}, ObstacleKind.PROVIDER_DISABLED, ModelDeprecated, "is_enabled=True"),
        ({"has_key": False}, ObstacleKind.NO_KEY, MissingApiKey, "A_KEY"),
    ],
)
def test_what_blocks_a_model_names_the_remedy(options, kind, error, says):
    """Each obstacle that blocks has its own error, whose sentence says what to do."""
    [obstacle], first = kinds(**options)
    assert (obstacle.kind, first) == (kind, obstacle)
    assert isinstance(obstacle.error(), error)
    assert says in obstacle.sentence


@pytest.mark.parametrize(
    ("day", "kind", "label"),
    [
        (date(2026, 11, 25), ObstacleKind.RETIRED, "retired 2026-11-25"),
        (date(2026, 11, 26), ObstacleKind.RETIRES_SOON, "retires 2026-11-26"),
        (date(2026, 12, 26), ObstacleKind.RETIRES_SOON, "retires 2026-12-26"),
    ],
)
def test_retirement_warns_and_does_not_block(day, kind, label):
    """A provider may go on serving a model past its day, so the day is said and the model may be asked."""
    [obstacle], first = kinds(retires_on=day)
    assert (obstacle.kind, obstacle.label, first) == (kind, label, None)


def test_nothing_stands_before_a_model_that_retires_much_later():
    """More than 30 days ahead nothing is said."""
    assert kinds(retires_on=date(2026, 12, 27)) == ((), None)


def test_all_obstacles_are_told_what_blocks_first():
    """A deprecated, retired model of a disabled provider without a key has four, in the order in which they matter."""
    told, first = kinds(has_key=False, enabled=False, status="DEPRECATED", retires_on=date(2026, 1, 1))
    assert [obstacle.kind for obstacle in told] == [
        ObstacleKind.DEPRECATED,
        ObstacleKind.PROVIDER_DISABLED,
        ObstacleKind.NO_KEY,
        ObstacleKind.RETIRED,
    ]
    assert first == told[0]


def test_the_catalog_tells_the_obstacles_of_a_model_as_it_stands(catalog):
    """The obstacles and ``is_available`` agree, and follow an edit."""
    model = catalog.update_model("alpha:two", retires_on=date(2020, 1, 1))
    before = catalog.access().obstacles(model)
    after = catalog.access().obstacles(catalog.deprecate_model(model.reference).model)
    assert before[-1].kind is ObstacleKind.RETIRED
    assert after[0].kind is ObstacleKind.DEPRECATED
    assert not catalog.models().set_index("model").loc[model.reference, "is_available"]

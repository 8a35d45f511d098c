"""The standing of models: active or deprecated, the default of their provider or not, and who succeeds a default."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from llmkit.catalog import rules
from llmkit.catalog.obstacles import is_retiring
from llmkit.errors import ModelDeprecated
from llmkit.money.amounts import in_words
from llmkit.money.pricing import blended
from llmkit.records import Model, Price
from llmkit.records.user_warnings import warn
from llmkit.store import CatalogState, Edit

_INFINITE = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Deprecation:
    """The result of deprecating a model: the model, the new default (``None`` when it was not the default, or no other
    model is active), and the internal tasks that still use it and need another model. ``str()`` gives a sentence with
    both prices.
    """

    model: Model
    new_default: Model | None
    infra_purposes: tuple[str, ...] = ()

    @property
    def price(self) -> Price:
        """The price of the deprecated model, in US dollars per million tokens."""
        return self.model.price

    @property
    def new_price(self) -> Price | None:
        """The price of the new default, if there is one."""
        return self.new_default.price if self.new_default else None

    def __str__(self) -> str:
        if self.new_default is None:
            return f"{self.model.reference} is deprecated."
        return (
            f"{self.model.reference} is deprecated. The default is now {self.new_default.reference}, at "
            f"{in_words(self.new_default.price)} per million tokens instead of {in_words(self.model.price)}."
        )


@dataclass(frozen=True, slots=True)
class DefaultChange:
    """The result of setting a default: the new default, and the previous one (``None`` when there was none)."""

    model: Model
    previous_default: Model | None


def apply_standing(edit: Edit, model: Model, status: str | None, is_default: bool | None, today: date) -> Model:
    """Apply a status and a default flag to a model; ``None`` leaves either unchanged."""
    if status is not None:
        model = reactivate(edit, model) if status == "ACTIVE" else deprecate(edit, model, today).model
    if is_default:
        return make_default(edit, model).model
    if is_default is False and model.is_default:
        return edit.put_model(replace(model, is_default=False), "set_default_model")
    return model


def deprecate(edit: Edit, model: Model, today: date) -> Deprecation:
    """Deprecate a model; if it was the default, its successor becomes that."""
    used_for = rules.purposes_of(edit.state, model.reference)
    if not model.is_active:
        return Deprecation(model, None, used_for)
    heir = successor(edit.state, model, today) if model.is_default else None
    deprecated = edit.put_model(replace(model, status="DEPRECATED", is_default=False), "deprecate_model")
    promoted = edit.put_model(replace(heir, is_default=True), "set_default_model") if heir else None
    result = Deprecation(deprecated, promoted, used_for)
    if promoted and (_times_dearer(model, promoted) or 0) > 2:
        warn(f"{result} Choose another with set_default_model().")
    return result


def reactivate(edit: Edit, model: Model) -> Model:
    """Allow a deprecated model in new runs again."""
    return model if model.is_active else edit.put_model(replace(model, status="ACTIVE"), "reactivate_model")


def make_default(edit: Edit, model: Model) -> DefaultChange:
    """Make an active model its provider's default instead of the previous one."""
    defaults = {each.provider: each for each in edit.state.models.values() if each.is_default}
    previous = defaults.get(active(model).provider)
    if previous is not None and previous.reference == model.reference:
        return DefaultChange(model, previous)
    if previous is not None:
        edit.put_model(replace(previous, is_default=False), "set_default_model")
    return DefaultChange(edit.put_model(replace(model, is_default=True), "set_default_model"), previous)


def active(model: Model) -> Model:
    """The model, unless it is deprecated."""
    if not model.is_active:
        raise ModelDeprecated(f"{model.reference} is deprecated. Call reactivate_model({model.reference!r}) first.")
    return model


def successor(state: CatalogState, model: Model, today: date) -> Model | None:
    """The active model of the same provider that succeeds a deprecated default; ``None`` when there is none.

    Preferably one of the same family at half to twice the price; else the nearest in price (by the ratio of blended
    prices). If the model itself is unpriced, the cheapest succeeds it. Among equals, the next in the catalog. Then come
    unpriced models, and last what is retired or soon will be.
    """
    siblings = [other for other in state.models.values() if other.provider == model.provider]
    place = next(i for i, other in enumerate(siblings) if other.reference == model.reference)
    candidates = [other for other in (*siblings[place + 1 :], *siblings[:place]) if other.is_active]

    def order(other: Model) -> tuple[bool, bool, bool, Decimal]:
        price, ratio = blended(other.price), _times_dearer(model, other)
        distance = (price or Decimal(0)) if ratio is None else max(ratio, 1 / ratio if ratio else _INFINITE)
        is_far = ratio is not None and distance > 2
        return is_retiring(other, today), price is None, is_far or family(other) != family(model), distance

    return min(candidates, key=order, default=None)


def _times_dearer(old: Model, new: Model) -> Decimal | None:
    """The ratio of the new model's blended price to the old one's; ``None`` if either is unknown."""
    before, after = blended(old.price), blended(new.price)
    if before is None or after is None:
        return None
    return after / before if before else Decimal(1) if not after else _INFINITE


def family(model: Model) -> frozenset[str]:
    """The words of a model's id without versions and dates: equal for ``claude-haiku-5-5`` and ``claude-haiku-4-5``."""
    words = re.split(r"[^a-z0-9]+", model.model_id.lower())
    return frozenset(word for word in words if word.isalpha()) - {"latest", "preview"}

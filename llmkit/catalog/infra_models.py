"""Choose the model for an internal task: the configured one, or else the cheapest suitable one. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from llmkit.catalog import rules
from llmkit.catalog.obstacles import Access, is_retiring
from llmkit.catalog.purposes import PURPOSES
from llmkit.errors import LlmkitError, ModelNotFound
from llmkit.money.pricing import price_order
from llmkit.providers.wires import wire_for
from llmkit.records import Call, Message, Model, Params
from llmkit.records.checks import texts
from llmkit.records.typed_questions import object_schema
from llmkit.store import CatalogState

_CHOOSE = "Choose one with kit.catalog.set_infra_model('{}', 'provider:model_id')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The model for an internal task. ``note`` says why it is not the ``configured`` one, if it is not."""

    purpose: str
    model: Model
    configured: str | None
    takes_schema: bool
    note: str | None = None


def choose(
    access: Access,
    purpose: str,
    *,
    avoid: Collection[str] = (),
    structured: bool = True,
    context: int = 0,
    strict: bool = False,
) -> Choice:
    """The model configured for a purpose; if it cannot be used, the cheapest active model that can do the task
    and stays, or else one that retires.

    ``avoid`` holds references not to fall back on: a run's own models. ``structured``: the fallback must support JSON
    schemas or JSON mode; ``context``: input tokens that it must accept. If ``strict``, or if there is no other, it
    raises the error why the configured model cannot be used.
    """
    texts.flag(strict, "strict")
    state = access.state
    configured = rules.infra_reference(state, purpose)
    problem = _problem(access, purpose, configured)
    if problem is None:
        return _choice(state, purpose, state.models[configured], configured)
    if strict:
        raise type(problem)(f"{problem} {_CHOOSE.format(purpose)}, or pass strict=False to allow another model.")
    able = [
        other
        for other in state.models.values()
        if access.blocking(other) is None
        and other.reference not in avoid
        and (not structured or takes_schema(state, other))
        and (other.context_window is None or other.context_window >= context)
    ]
    if not able:
        raise type(problem)(
            f"{problem} No other available model can do it either. {_CHOOSE.format(purpose)}, or set a provider's key."
        )
    model = min(able, key=lambda other: (is_retiring(other, access.today), *price_order(other)))
    note = f"{problem} {model.reference} is used instead, the cheapest available model that can do it."
    return _choice(state, purpose, model, configured, note)


def named(access: Access, purpose: str, reference: str) -> Choice:
    """The model that the user chose for one task; raises the error why it cannot be used, if it cannot."""
    model = rules.find_model(access.state, reference)
    if (obstacle := access.blocking(model)) is not None:
        raise obstacle.error()
    return _choice(access.state, purpose, model, model.reference)


def _choice(state: CatalogState, purpose: str, model: Model, configured: str | None, note: str | None = None) -> Choice:
    able = takes_schema(state, model)
    return Choice(purpose=purpose, model=model, configured=configured, takes_schema=able, note=note)


def takes_schema(state: CatalogState, model: Model) -> bool:
    """Whether the model's API accepts a JSON schema: as a strict schema, or at least as JSON mode."""
    call = Call(model=model, messages=(Message("user", "?"),), params=Params(schema=object_schema({})))
    return "schema" not in wire_for(state.providers[model.provider], model).build(call).left_out


def _problem(access: Access, purpose: str, configured: str | None) -> LlmkitError | None:
    """Why the configured model of a purpose cannot be used, as an error, if it cannot."""
    task = PURPOSES[purpose].title.lower()
    if configured is None:
        return ModelNotFound(f"No model is set for {task}.")
    model = access.state.models.get(configured)
    if model is None:
        return ModelNotFound(f"The model set for {task}, {configured}, is not in the catalog.")
    obstacle = access.blocking(model)
    if obstacle is None:
        return None
    return obstacle.error(f"The model set for {task}, {configured}, {obstacle.reason}.")

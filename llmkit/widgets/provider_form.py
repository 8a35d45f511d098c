"""The form to add a provider, or to edit its limits and address. Its name never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmkit.records import DIALECTS, Provider
from llmkit.widgets.form import (
    PRICES_ARE,
    Field,
    Form,
    Values,
    choice_field,
    name_field,
    price_field,
    text_field,
    tick_field,
    whole_field,
)


def add_form(submit: Callable[[], Any], cancel: Callable[[], Any]) -> Form:
    """A form with the default limits of a new provider."""
    identity = [
        text_field("name", "Name", hint="my-ollama", needed=True),
        text_field("api_key_env", "Key variable", hint="none needed"),
    ]
    form = Form(
        [*identity, *_fields("by its address", base_url_hint="http://localhost:11434/v1")],
        label="Add provider",
        submit=submit,
        cancel=cancel,
        hint=PRICES_ARE,
    )
    form.show({"max_parallel_requests": 1, "requests_per_minute": 60, "is_enabled": True})
    return form


def edit_form(provider: Provider, submit: Callable[[], Any], reread: Callable[[], Any]) -> Form:
    """A form filled with a provider."""
    fields = _fields("standard", provider.dialect, name=provider.name)
    form = Form(fields, label="Save", submit=submit, reread=reread, hint=PRICES_ARE)
    form.show({name: getattr(provider, name) for name in form.fields})
    return form


def new_provider(form: Form) -> tuple[str, Values]:
    """The name and the keyword arguments for :meth:`Catalog.add_provider`."""
    typed = form.values()
    name = typed.pop("name")
    return name, {key: value for key, value in typed.items() if value is not None}


def _fields(
    no_dialect: str, dialect: str | None = None, *, name: str | None = None, base_url_hint: str = ""
) -> list[Field]:
    dialects = [(no_dialect, None), *((name, name) for name in sorted({*DIALECTS, *filter(None, [dialect])}))]
    return [
        name_field("the name", name),
        text_field("base_url", "Base URL", hint=base_url_hint, needed=True),
        choice_field("dialect", "Dialect", dialects),
        whole_field("max_parallel_requests", "Parallel requests", needed=True),
        whole_field("requests_per_minute", "Requests per minute", needed=True),
        whole_field("tokens_per_minute", "Tokens per minute", hint="no such limit"),
        price_field("default_cost_input_per_million", "Default input price"),
        price_field("default_cost_output_per_million", "Default output price"),
        tick_field("is_enabled", "Enabled"),
    ]

"""Models as rows of the table: cells, sorting and search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

from llmkit.catalog import Access
from llmkit.catalog.obstacles import SOON
from llmkit.money.amounts import dollars
from llmkit.records import DatedPrice, Model, Provider
from llmkit.widgets import html
from llmkit.widgets.protocols import HasCatalog
from llmkit.widgets.table import Column, Row

_UNIT = "US dollars per million tokens"
COLUMNS = (
    Column(title="Model id", width="minmax(80px, 3fr)"),
    Column(title="Input $/M", width="72px", sort="input", right=True, words=f"input price, {_UNIT}"),
    Column(title="Output $/M", width="80px", sort="output", right=True, words=f"output price, {_UNIT}"),
    Column(title="Context", width="52px", right=True),
    Column(title="Status", width="minmax(118px, 2fr)"),
)
SIMULATED = "simulated"
STATUSES = (("active", "ACTIVE"), ("deprecated", "DEPRECATED"))


def rows(access: Access, key_status: Mapping[str, str]) -> tuple[Row, ...]:
    """One row per model, grouped by provider, in the order of the catalog."""
    models, providers = access.state.models.values(), access.state.providers
    active = Counter(model.provider for model in models if model.is_active)
    headings = {name: _heading(provider, key_status[name], active[name]) for name, provider in providers.items()}
    return tuple(_row(model, providers[model.provider], headings[model.provider], access.today) for model in models)


def _row(model: Model, provider: Provider, heading: str, today: date) -> Row:
    prices = [dollars(price, exact=True) for price in (model.cost_input_per_million, model.cost_output_per_million)]
    return Row(
        key=model.reference,
        name=model.display_name,
        cells=(
            identity(model),
            *(html.muted(price) if price == "unpriced" else html.esc(price) for price in prices),
            html.esc(html.tokens(model.context_window)),
            badges(model, today),
        ),
        group=provider.display_name,
        heading=heading,
        status=model.status,
        searched=f"{model.display_name} {model.reference}".lower(),
        tooltip=f"{model.display_name}: {model.reference}",
        sort={"input": model.cost_input_per_million, "output": model.cost_output_per_million},
    )


def identity(model: Model, *badges: str) -> str:
    """A model's id, which wraps because long ones differ at their ends, and badges."""
    return (
        f'<div style="display: flex; flex-wrap: wrap; gap: 2px 6px; min-width: 0"><span style="{html.CODE}; '
        f'color: {html.QUIET}; overflow-wrap: anywhere">{html.esc(model.model_id)}</span>{"".join(badges)}</div>'
    )


def badges(model: Model, today: date) -> str:
    """Badges for status, default and retirement date."""
    labels = [html.badge("Active", "good") if model.is_active else html.badge("Deprecated")]
    if model.is_default:
        labels.insert(0, html.badge("Default", "accent"))
    if model.retires_on is not None:
        word = "retires" if model.retires_on >= today else "retired"
        tone: html.Tone = "bad" if model.retires_on - today <= SOON else "warn"
        labels.append(html.badge(f"{word} {model.retires_on.isoformat()}", tone))
    return f'<span style="display: flex; flex-wrap: wrap; gap: 2px 4px; padding: 3px 0">{"".join(labels)}</span>'


def both_prices(model: Model, *, unknown: str = "unpriced") -> str:
    """US dollars per million tokens, input / output."""
    rates = (model.cost_input_per_million, model.cost_output_per_million)
    return " / ".join(dollars(rate, exact=True, unknown=unknown) for rate in rates)


def key_states(kit: HasCatalog, providers: Mapping[str, Provider]) -> dict[str, str]:
    """The status of each provider's key: as in the catalog, or ``simulated`` when requests go to a simulator."""
    states = {name: kit.catalog.key_status(provider) for name, provider in providers.items()}
    return {name: SIMULATED if kit.simulated and state == "set" else state for name, state in states.items()}


def key_badge(provider: Provider, key_status: str) -> str:
    """The status of the key and its environment variable; never the key itself."""
    if key_status == "not needed":
        return html.badge("no key needed", "good")
    if key_status == SIMULATED:
        return html.badge(f"{SIMULATED}: {provider.api_key_env}", "accent")
    return html.badge(f"key {key_status}: {provider.api_key_env}", "good" if key_status == "set" else "warn")


def price_history(entries: Sequence[DatedPrice]) -> str:
    """A model's prices, the newest first, announced ones included."""
    if not entries:
        return html.quiet("No price was ever entered for this model.")
    return html.table(
        ("From", "Input $/M", "Output $/M", "Cached $/M", "Tiers", "Source"),
        [
            (
                entry.valid_from.date().isoformat() if entry.valid_from else "the beginning",
                dollars(entry.price.cost_input_per_million, exact=True),
                dollars(entry.price.cost_output_per_million, exact=True),
                dollars(entry.price.cost_cached_input_per_million, exact=True, unknown="as input"),
                len(entry.price.price_tiers) or "",
                entry.source or "",
            )
            for entry in reversed(entries)
        ],
        right=("Input $/M", "Output $/M", "Cached $/M", "Tiers"),
    )


def _heading(provider: Provider, key_status: str, active: int) -> str:
    more = [key_badge(provider, key_status), html.muted(f"{active} active")]
    if not provider.is_enabled:
        more.insert(0, html.badge("disabled", "bad"))
    return html.heading(provider.display_name, *more)

"""Read the shipped files: ``data/catalog/*.toml`` as records, ``data/prompts/*.toml`` as scenarios.

A catalog file holds one provider, its models, and for each model its dated prices in dollars per million tokens. The
files are in ``llmkit/data`` of an installed package, and in ``data/`` next to the package in a checkout.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from llmkit.catalog import changes, rules
from llmkit.catalog.purposes import PURPOSES
from llmkit.errors import ValidationError
from llmkit.records import PRICE_COLUMNS, DatedPrice, Model, Price, Provider, Scenario
from llmkit.records.checks import addresses, texts

PROVIDER_FIELDS = (
    "display_name", "wire", "dialect", "base_url", "api_key_env", "max_parallel_requests", "requests_per_minute",
    "tokens_per_minute",
)  # fmt: skip
MODEL_FIELDS = (
    "display_name", "batch_discount", "status", "context_window", "max_output_tokens", "retires_on", "api_config",
)  # fmt: skip
"""The fields of a provider, and of a model apart from its prices, in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """The shipped catalog. ``prices`` are keyed by reference, oldest first; ``origins`` by provider, as is
    ``left_out``: patterns of model ids that the files omit on purpose, although the price list has them.
    """

    providers: Mapping[str, Provider]
    unpriced_models: Mapping[str, Model]
    prices: Mapping[str, tuple[DatedPrice, ...]]
    settings: Mapping[str, Any]
    origins: Mapping[str, frozenset[str]]
    left_out: Mapping[str, tuple[str, ...]]
    fingerprint: str

    def models(self, at: datetime) -> dict[str, Model]:
        """The shipped models by reference, each with its price in force at ``at``."""
        return {ref: rules.priced(model, self.prices[ref], at) for ref, model in self.unpriced_models.items()}


def shipped_origins(provider: str) -> frozenset[str]:
    """The origins of a provider; none if it was not shipped."""
    return load_seed().origins.get(provider, frozenset())


def shipped_fingerprint() -> str:
    """A digest of the shipped files and the fields read from them. Parsing the files takes ten times as long."""
    digest = hashlib.sha256(repr((PROVIDER_FIELDS, MODEL_FIELDS, PRICE_COLUMNS)).encode())
    for file in _files("catalog"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def load_seed() -> Seed:
    """The shipped catalog, read once."""
    providers, models, prices, settings, origins, left_out = {}, {}, {}, {}, {}, {}
    for file in _files("catalog"):
        content = _toml(file)
        if "provider" not in content:
            settings = {PURPOSES[purpose].key: ref for purpose, ref in content["infra"].items()}
            continue
        try:
            provider = _provider(content)
            origins[provider.name] = frozenset(map(addresses.base_url, content["provider"]["origins"]))
            for model, entries in _models(content):
                models[model.reference], prices[model.reference] = model, entries
        except (ValidationError, KeyError, TypeError) as error:
            raise ValidationError(f"{file.name}: {error}") from error
        providers[provider.name] = provider
        left_out[provider.name] = tuple(content["provider"].get("left_out", ()))
    return Seed(
        providers=providers,
        unpriced_models=models,
        prices=prices,
        settings=settings,
        origins=origins,
        left_out=left_out,
        fingerprint=shipped_fingerprint(),
    )


def sample_scenarios(name: str = "quickstart") -> list[Scenario]:
    """A shipped set of sample prompts; other keys of an entry become dimensions.

    Raises:
        ValidationError: there is no set of that name.
    """
    files = {file.name.removesuffix(".toml"): file for file in _files("prompts")}
    texts.known_names([name], files, "Sample prompts")
    fields = ("prompt", "system", "followups", "scenario_id")
    return [
        Scenario(
            **{key: value for key, value in row.items() if key in fields},
            dimensions={key: value for key, value in row.items() if key not in fields},
        )
        for row in _toml(files[name])["scenarios"]
    ]


def _files(folder: str) -> list[Traversable]:
    package = resources.files("llmkit")
    installed = package / "data" / folder
    source = installed if installed.is_dir() else package / ".." / "data" / folder  # a checkout, or an editable install
    return sorted((file for file in source.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)


def _toml(file: Traversable) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)


def _provider(content: Mapping[str, Any]) -> Provider:
    row = content["provider"]
    texts.known_names(row, ("name", *PROVIDER_FIELDS, "origins", "default_model", "left_out"), "provider")
    values = changes.provider_changes({name: row[name] for name in PROVIDER_FIELDS if name in row})
    provider = Provider(name=texts.provider_name(row["name"]), **values)
    if addresses.origin_of(provider.base_url) not in row["origins"]:
        raise ValidationError(f"{provider.base_url} is not within the provider's own origins.", field="origins")
    if row["default_model"] not in [model["model_id"] for model in content["models"]]:
        raise ValidationError(f"the default {row['default_model']!r} is not among the models.", field="default_model")
    return provider


def _models(content: Mapping[str, Any]) -> Iterator[tuple[Model, tuple[DatedPrice, ...]]]:
    provider = content["provider"]
    for row in content["models"]:
        texts.known_names(row, ("model_id", "prices", *MODEL_FIELDS), row["model_id"])
        values = {name: row[name] for name in MODEL_FIELDS if name in row and name != "status"}
        model = Model(
            provider=provider["name"],
            model_id=texts.model_id(row["model_id"]),
            status=row.get("status", "ACTIVE"),
            is_default=row["model_id"] == provider["default_model"],
            **changes.model_changes(values),
        )
        if model.status not in ("ACTIVE", "DEPRECATED") or (model.is_default and not model.is_active):
            raise ValidationError(f"{model.reference} has an invalid status.", field="status")
        yield model, tuple(_price(model.reference, entry) for entry in row["prices"])


def _price(reference: str, row: Mapping[str, Any]) -> DatedPrice:
    texts.known_names(row, (*PRICE_COLUMNS, "valid_from", "source", "read_on"), reference)
    values = {name: row[name] for name in PRICE_COLUMNS if name in row}
    return DatedPrice(
        reference=reference,
        valid_from=texts.moment(row["valid_from"], "valid_from") if "valid_from" in row else None,
        price=Price(**changes.model_changes(values)),
        source=texts.text(row["source"], "source"),
        read_on=texts.day(row["read_on"], "read_on"),
    )

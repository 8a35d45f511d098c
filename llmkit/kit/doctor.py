"""What may be wrong with a catalog on this machine, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import pandas as pd

from llmkit.catalog import Access, ObstacleKind, price_checks
from llmkit.catalog.rules import purposes_of
from llmkit.errors import LlmkitError
from llmkit.kit.connections import Connections
from llmkit.records import Provider
from llmkit.records.checks import near_names, texts
from llmkit.store import Store, damage, project, queries
from llmkit.widgets import html

Health = Literal["ok", "look", "bad"]

PACKAGES = ("llmkit", "duckdb", "httpx", "aiohttp", "pandas", "ipywidgets", "anywidget", "jupyterlab")
LITTLE_SPACE = 1 << 30
"""Free disk space in bytes below which the doctor warns."""

_NEAR = 0.8
"""Minimum similarity, of 1, of two variable names for one to be a likely misspelling of the other."""

_TONES: dict[Health, html.Tone] = {"ok": "good", "look": "warn", "bad": "bad"}


class Findings(pd.DataFrame):
    """A DataFrame that is shown in full, one finding per line with its remedy below."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        return "\n".join(
            f"{health:<4}  {about}: {finding}" + (f"\n      -> {remedy}" if remedy else "")
            for about, health, finding, remedy in self.itertuples(index=False, name=None)
        )

    def _repr_html_(self) -> str:
        rows = [
            (html.badge(row["health"], _TONES[row["health"]]), row["about"], row["finding"], row["remedy"])
            for row in self.to_dict("records")
        ]
        widths = {"health": "4em", "about": "12em", "finding": "auto", "what to do": "auto"}
        return html.literal(html.table(widths, rows, markup=["health"]))


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: ``health`` is ``ok``, ``look`` (worth a look) or ``bad``."""

    about: str
    health: Health
    finding: str
    remedy: str = ""


def examine(store: Store, connections: Connections, *, online: bool) -> Iterator[Finding]:
    """Run all checks; ``online`` also asks each provider that has a key for its models."""
    yield from examine_place(store.path)
    for look in (_journal, _database, _runs, _models, _prices):
        yield from _tried(look.__name__.strip("_"), partial(look, store))
    providers = store.catalog().providers.values()
    variables = {provider.api_key_env for provider in providers}
    for provider in providers:
        yield from _tried(f"key of {provider.name}", partial(_key, connections, provider, variables))
        if online and provider.is_enabled and connections.has_key(provider):
            yield from _tried(f"address of {provider.name}", partial(_reached, connections, provider))


def examine_place(path: Path) -> Iterator[Finding]:
    """Run the checks that do not need the catalog to be open."""
    yield Finding("versions", "ok", ", ".join([f"Python {platform.python_version()}", *map(_version, PACKAGES)]))
    yield _folder(path)
    yield _disk(path)


def to_frame(findings: Iterable[Finding]) -> Findings:
    """The findings as rows: about, health, finding, remedy."""
    return Findings(list(findings), columns=["about", "health", "finding", "remedy"])


def _tried(about: str, look: Callable[[], Finding]) -> Iterator[Finding]:
    """A finding, or the error that prevented it; its sentence says what to do."""
    try:
        yield look()
    except LlmkitError as error:
        yield Finding(about, "bad", f"{error.code}: {error}")


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _place(path: Path) -> Path:
    """The folder of a file, or its nearest parent that exists."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def _folder(path: Path) -> Finding:
    if not os.access(_place(path), os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        return Finding("folder", "bad", f"{path} cannot be written.", "Change its permissions, or name another file.")
    if path.exists() and path.stat().st_mode & 0o077:
        return Finding("folder", "look", f"{path} can be read by other users.", f"chmod 600 {path}")
    return Finding("folder", "ok", str(path))


def _disk(path: Path) -> Finding:
    free = shutil.disk_usage(_place(path)).free
    words = f"{free / 2**30:.1f} GiB free"
    return Finding("disk", "ok", words) if free > LITTLE_SPACE else Finding("disk", "look", words, "Free some space.")


def _database(store: Store) -> Finding:
    store.sync()
    sizes = store.journal.sizes()
    size = sum(sizes.values()) / 2**20
    segments = texts.counted(len(sizes), "segment")
    return Finding("database", "ok", f"up to date with {segments} of its journal, {size:.1f} MiB")


def _journal(store: Store) -> Finding:
    sizes = store.journal.sizes()
    if not sizes:
        return Finding("journal", "bad", f"{store.journal.directory} has no journal.", "llmkit restore FILE")
    told = store.read(lambda connection: damage.faults(connection, store.journal, store.path))
    if told:
        return Finding("journal", "bad", *map(" ".join, zip(*told, strict=True)))
    aside = store.read(project.set_aside)
    if aside:
        return Finding("journal", "look", damage.aside(store.path, aside), "Upgrade llmkit, or inspect them.")
    return Finding("journal", "ok", "complete")


def _runs(store: Store) -> Finding:
    frame = store.read(queries.runs)
    running = frame.loc[frame["status"] == "running", "run_id"]
    lost = [run_id for run_id in running if not store.is_live(run_id)]
    if lost:
        were = "was" if len(lost) == 1 else "were"
        return Finding("runs", "look", f"{len(lost)} of {len(frame)} {were} interrupted", f"kit.resume({lost[0]!r})")
    return Finding("runs", "ok", f"{len(frame)}, {len(running)} of them running")


def _models(store: Store) -> Finding:
    state = store.catalog()
    access = Access(state, lambda _: True, datetime.now(UTC).date())
    told = [
        f"{each.reference} {each.reason}."
        for reference, model in state.models.items()
        if model.is_default or purposes_of(state, reference)
        for each in access.obstacles(model)
        if each.kind is not ObstacleKind.PROVIDER_DISABLED
    ]
    if told:
        remedy = "Choose another: kit.catalog.set_default_model(ref), or set_infra_model(purpose, ref) for a task."
        return Finding("models", "look", " ".join(told), remedy)
    return Finding("models", "ok", "no default or infrastructure model is retired")


def _prices(store: Store) -> Finding:
    state, now = store.catalog(), datetime.now(UTC)
    active = [reference for reference, model in state.models.items() if model.is_active]
    day = price_checks.read_on(state, active, now)
    words = f"read on {day}" if day else "The catalog does not say when they were read."
    is_old = day is None or price_checks.old_prices(state, active, now)
    return Finding("prices", *(("look", words, price_checks.REMEDY) if is_old else ("ok", words)))


def _key(connections: Connections, provider: Provider, others: Collection[str | None]) -> Finding:
    about = f"key of {provider.name}"
    if not provider.is_enabled:
        return Finding(about, "ok", "The provider is disabled.")
    if provider.api_key_env is None:
        return Finding(about, "ok", "The provider needs none.")
    connections.credentials.check(provider)
    if connections.credentials.key(provider) is None:
        set_here = [name for name in os.environ if "KEY" in name and name not in others]
        near = near_names.near(provider.api_key_env, set_here, 1, _NEAR)
        instead = f", but {near[0]} is: is that the one?" if near else "."
        return Finding(
            about, "look", f"{provider.api_key_env} is not set{instead}", f"export {provider.api_key_env}=..."
        )
    return Finding(about, "ok", f"{provider.api_key_env} is set.")


def _reached(connections: Connections, provider: Provider) -> Finding:
    models = texts.counted(len(connections.list_models(provider).result()), "model")
    return Finding(f"address of {provider.name}", "ok", f"{provider.base_url} answers with {models}.")

"""A study as one file that opens anywhere, offline, and reports when any byte of it has changed.

A ZIP archive: ``journal/`` (the run's original lines), ``catalog.json`` (its providers, models and prices),
``parquet/`` (the same data as tables, for other tools), optionally a notebook, and ``capsule.json`` about it. The
archive's comment is the SHA-256 of everything before it. It contains no keys, balances or other runs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from llmkit.analysis import archived_runs
from llmkit.errors import ValidationError
from llmkit.records import DatedPrice, Model, Provider
from llmkit.records.checks import shapes
from llmkit.store import CatalogState, Store
from llmkit.store.segments import is_copy, segment

FORMAT = 1
_EMPTY = b"0" * 64


def export(store: Store, run_id: str, file: Path, notebook: Path | None = None) -> None:
    """Write the capsule of a run that has ended."""
    run, names = store.run(run_id), store.journal.sizes()
    sizes = {name: size for name, size in names.items() if segment(name).about == run_id and not is_copy(name)}
    if not sizes:
        raise ValidationError(
            "This run was recorded by an earlier version of llmkit, whose journal mixes the lines of several runs: "
            "share it with run.archive(folder) instead.",
            field="run",
        )
    about = {"format": FORMAT, "run_id": run_id, "name": run["name"], "ended_at": str(run["ended_at"])}
    if notebook is not None and not notebook.is_file():
        raise ValidationError(f"There is no notebook {notebook}.", field="notebook")
    with TemporaryDirectory() as folder, shapes.reaching(file, "written"):
        archived_runs.write(store, run_id, str(Path(folder, "parquet")))
        if file.exists():
            raise ValidationError(f"{file} exists already: name a new file.", field="path")
        unfinished = Path(folder, "capsule.zip")
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = _EMPTY
            archive.writestr("capsule.json", json.dumps(about, indent=1))
            archive.writestr("catalog.json", json.dumps(_snapshot(store.catalog(), run["models"]), indent=1))
            for name, size in sizes.items():
                archive.writestr(f"journal/{name}", store.journal.read(name, 0, size))
            for table in sorted(Path(folder).rglob("*.parquet")):
                archive.write(table, table.relative_to(folder).as_posix())
            if notebook is not None:
                archive.write(notebook, f"notebook/{notebook.name}")
        with open(unfinished, "rb+") as written:
            digest = _digest(written.read())
            written.seek(-len(_EMPTY), 2)
            written.write(digest)
        shutil.move(unfinished, file)


def unpack(file: Path, folder: Path) -> tuple[Store, str]:
    """Restore a capsule into a store in an empty folder; return the store and the run's id."""
    with shapes.reaching(file, "read"):
        data = file.read_bytes()
    if data[-len(_EMPTY) :] != _digest(data):
        raise ValidationError(
            f"{file} is not a capsule, or was changed after it was written: get it again.", field="path"
        )
    with zipfile.ZipFile(file) as archive:
        about = json.loads(archive.read("capsule.json"))
        if about["format"] > FORMAT:
            raise ValidationError(f"{file} was written by a newer llmkit: pip install -U llmkit.", field="path")
        journal = folder / "capsule.duckdb.journal"
        journal.mkdir(mode=0o700)
        for name in map(PurePosixPath, archive.namelist()):
            if name.parts == ("journal", name.name):
                (journal / name.name).write_bytes(archive.read(str(name)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other segments of the journal are missing by design
            store = Store(folder / "capsule.duckdb", adopt=True)
        _restore(store, json.loads(archive.read("catalog.json")))
    store.journal.close()
    store.is_read_only = True  # whatever was added would be lost with the folder
    return store, about["run_id"]


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data[: -len(_EMPTY)]).hexdigest().encode()


def _snapshot(catalog: CatalogState, models: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The current catalog entries of a run's models."""
    references = sorted({f"{model['provider']}:{model['model_id']}" for model in models})
    providers = sorted({model["provider"] for model in models})
    return {
        "providers": [
            replace(catalog.providers[name], balance=None).to_row() for name in providers if name in catalog.providers
        ],
        "models": [catalog.models[reference].to_row() for reference in references if reference in catalog.models],
        "prices": [entry.to_row() for reference in references for entry in catalog.prices.get(reference, ())],
    }


def _restore(store: Store, snapshot: Mapping[str, list[Any]]) -> None:
    with store.edit("capsule") as edit:
        for row in snapshot["providers"]:
            edit.put_provider(Provider.from_row(row), "open_capsule")
        for row in snapshot["models"]:
            edit.put_model(Model.from_row(row), "open_capsule")
        for row in snapshot["prices"]:
            edit.add_price(DatedPrice.from_row(row), "open_capsule")

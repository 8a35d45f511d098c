"""A catalog with all its runs as one file: the journal in a tar file. The database is rebuilt from it.

The journal is append-only, so it can be archived while runs go on: the archive holds what is there by then.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes
from llmkit.records.checks.texts import counted
from llmkit.store import damage
from llmkit.store.journal import Journal
from llmkit.store.store import Store

_FOLDER = "journal"


def backup(store: Store, file: Path) -> int:
    """Archive the journal; returns the number of its segments."""
    journal = store.journal
    if lost := store.read(lambda connection: damage.lost(connection, journal)):
        raise ValidationError(
            f"A backup is made of {journal.directory}, which lacks {counted(len(lost), 'segment')} that "
            f"{store.path.name} still has: restore the folder, or copy it and the database while no program uses them.",
            field="path",
        )
    sizes = journal.sizes()
    with shapes.reaching(file, "written"):
        if file.exists():
            raise ValidationError(f"{file} exists already: name a new file.", field="file")
        with tarfile.open(file, "w:gz") as archive:
            for name, size in sizes.items():
                entry = tarfile.TarInfo(f"{_FOLDER}/{name}")
                entry.size, entry.mode = size, 0o600
                archive.addfile(entry, io.BytesIO(journal.read(name, 0, size)))
    return len(sizes)


def is_catalog(path: Path) -> bool:
    """Whether there is a database, or a journal to make one from."""
    return path.exists() or bool(Journal.of(path).sizes())


def restore(file: Path, path: Path) -> int:
    """Unpack an archive next to ``path``, where the database will be made; returns the number of segments."""
    if is_catalog(path):
        raise ValidationError(f"There is a catalog at {path} already: name another, or move it away.", field="path")
    journal = Journal.of(path)
    with shapes.reaching(file, "read"):
        segments = _segments(file)
    with shapes.reaching(journal.directory, "written"):
        for name, data in segments.items():
            journal.receive(name, 0, data)
    return len(segments)


def _segments(file: Path) -> dict[str, bytes]:
    """The segments in an archive, by name; anything but plain files of a journal is ignored."""
    segments: dict[str, bytes] = {}
    try:
        with gzip.open(file) as whole, tarfile.open(fileobj=whole) as archive:
            for entry in archive:
                place = PurePosixPath(entry.name)
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is not None and place.parts == (_FOLDER, place.name) and place.suffix == ".jsonl":
                    segments[place.name] = content.read()
            while whole.read(1 << 20):  # up to its checksum: what is damaged can look like an early end
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValidationError(f"{file} is not an llmkit archive, or it is damaged: {error}", field="file") from error
    if not segments:
        raise ValidationError(f"{file} is not an llmkit archive: it contains no journal.", field="file")
    return segments

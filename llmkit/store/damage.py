"""What is wrong with a journal, and how to say so: lines set aside; segments missing, cut, duplicated or foreign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import duckdb

from llmkit.errors import ValidationError
from llmkit.records.checks.texts import counted, first_of
from llmkit.store.journal import Journal
from llmkit.store.queries import column
from llmkit.store.segments import CATALOG, HEAD, Header, is_copy, segment, whole_of

FOREIGN = "of another journal"
"""The reason why a whole segment is set aside."""


def faults(connection: duckdb.DuckDBPyConnection, journal: Journal, path: Path) -> list[tuple[str, str]]:
    """What is wrong with the journal of the database at ``path``, compared with what the database knows of it, and what
    to do, per fault.
    """
    sizes, folder, (ends, headers) = journal.sizes(), f"{path.name}.journal", _known(connection)
    times = Counter(header.id for header in headers.values())
    gaps = _lost(sizes, ends, headers)
    foreign = column(connection, "SELECT segment FROM journal_quarantine WHERE reason = ? ORDER BY ALL", [FOREIGN])
    ignored = [name for name in foreign if name in sizes]
    copies = [name for name, header in headers.items() if times[header.id] > 1 and is_copy(name) and name in sizes]
    told = (
        (gaps, f"The journal of {path.name} is incomplete: {_names(gaps)} missing or truncated. The database still "
               "has what was lost, but could not be rebuilt.",
         "Restore the folder from a copy, or keep a copy of the database."),
        (ignored, f"{_names(ignored)} from a different journal than {folder}, and ignored.",
         "Move the files elsewhere, or import their runs with llmkit.open(path, adopt=True)."),
        (copies, f"{_names(copies)} in {folder} twice, which does no harm: programs that synchronize folders make such "
                 "copies.", "Delete them."),
    )  # fmt: skip
    return [(fault, remedy) for names, fault, remedy in told if names]


def lost(connection: duckdb.DuckDBPyConnection, journal: Journal) -> list[str]:
    """The segments that the database or a later segment rests on, and that are missing from the journal or cut."""
    return _lost(journal.sizes(), *_known(connection))


def _lost(sizes: Mapping[str, int], ends: Mapping[str, int], headers: Mapping[str, Header]) -> list[str]:
    gone = {name for name in ends if name not in sizes and not is_copy(name)}
    missing = gone | _named(headers.values()).difference(map(whole_of, sizes))
    return [*sorted(missing), *(name for name, end in ends.items() if end > sizes.get(name, end))]


def _known(connection: duckdb.DuckDBPyConnection) -> tuple[dict[str, int], dict[str, Header]]:
    """Up to where the database applied each segment, and the first lines of all but heads; both by name."""
    rows = connection.execute("SELECT segment, applied_bytes, header FROM journal_segments ORDER BY ALL").fetchall()
    lines = {name: line for name, _, line in rows if not name.endswith(HEAD)}
    headers = {name: header for name, line in lines.items() if (header := Header.of(line)) is not None}
    return {name: end for name, end, _ in rows}, headers


def check_complete(path: Path, journal: Journal, rests_on: Collection[str] = ()) -> None:
    """Refuse to rebuild a database from a journal that lacks segments named by later ones or by ``rests_on``."""
    sizes = journal.sizes()
    headers = (journal.header(name) for name in sizes)
    followed = _named(header for header in headers if header is not None)
    if missing := sorted({*followed, *rests_on}.difference(sizes, map(whole_of, sizes))):
        raise ValidationError(
            f"{path} has to be rebuilt from its journal, in which {_names(missing)} missing. Restore the missing files "
            f"from a copy of {path.name}.journal; or rebuild it from what is left, and from what a damaged database "
            "still yields, with llmkit.open(path, adopt=True).",
            field="adopt",
        )


def foreign(connection: duckdb.DuckDBPyConnection, journal: Journal, names: Collection[str]) -> set[str]:
    """Which of these segments belong to a different journal from the database's. For an empty database, that is the
    journal of most of them.
    """
    headers = {name: header for name in names if (header := journal.header(name)) is not None and header.journal}
    own = journals(connection)
    if not own:
        own = [most for most, _ in Counter(header.journal for header in headers.values()).most_common(1)]
    return {
        name
        for name, header in headers.items()
        if header.journal not in (own[:1] if segment(name).about == CATALOG else own)
    }


def journals(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The journals that the database is built from: its own, then those whose runs were adopted."""
    return column(
        connection,
        "SELECT header ->> '$.journal' AS journal FROM journal_segments WHERE header ->> '$.journal' IS NOT NULL "
        "GROUP BY ALL ORDER BY bool_or(header ->> '$.about' = ?) DESC, count(*) DESC, journal",
        [CATALOG],
    )


def check_orphaned(path: Path, journal: Journal) -> None:
    """Refuse to make a new database from a journal that lacks one, unless an earlier version wrote the journal."""
    if any(journal.header(name) is not None for name in journal.sizes()):
        raise ValidationError(
            f"There is no database at {path}, but {journal.directory} holds a journal. Build a database from it with "
            "llmkit.open(path, adopt=True), name another file, or move that folder away.",
            field="adopt",
        )


def aside(path: Path, count: int) -> str:
    """The message that lines were set aside."""
    return (
        f"{counted(count, 'line')} of the journal of {path.name} cannot be used and "
        f"{'were' if count > 1 else 'was'} set aside; everything else was read. "
        'kit.sql("SELECT * FROM journal_quarantine") lists them.'
    )


def _named(headers: Iterable[Header]) -> set[str]:
    return {header.before for header in headers if header.before}


def _names(names: Sequence[str]) -> str:
    return f"{first_of(names)} {'is' if len(names) == 1 else 'are'}"

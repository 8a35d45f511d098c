"""What is said about a journal that is damaged or incomplete."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path


def tell_lines(path: Path, count: int) -> None:
    """Say that lines were set aside, if any were."""
    if count:
        warnings.warn(
            f"{count} line{'s' * (count > 1)} of the journal of {path.name} cannot be used and "
            f"{'were' if count > 1 else 'was'} set aside; everything else was read. "
            'kit.sql("SELECT * FROM journal_quarantine") lists them.',
            stacklevel=7,
        )


def incomplete(path: Path, names: Sequence[str]) -> str:
    """That the database rests on segments that are not there any more."""
    return (
        f"The journal of {path.name} is incomplete: {', '.join(names[:3])}{' and others' * (len(names) > 3)} "
        f"{'is' if len(names) == 1 else 'are'} missing or cut. The database still has what was in them, but could not "
        f"be rebuilt: keep a copy of it, or bring the folder {path.name}.journal back."
    )

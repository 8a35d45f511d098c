"""Seals: what a process tells others of this user on this machine, in files that may come from somebody else."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from functools import cache
from pathlib import Path

from llmkit.records.private_files import config_folder, replace_private


def sealed(words: bytes) -> bytes:
    """The words with their seal."""
    return words + b" " + _seal(words)


def opened(data: bytes) -> bytes:
    """The words that were sealed; none if somebody else wrote them, or this user elsewhere."""
    words, _, seal = data.rpartition(b" ")
    return words if seal == _seal(words) else b""


def _seal(words: bytes) -> bytes:
    return hashlib.blake2b(words, key=_secret(config_folder()), digest_size=16).hexdigest().encode()


@cache
def _secret(folder: Path) -> bytes:
    """This user's secret, made when it is needed first; one of this process alone where none can be kept."""
    place, made = folder / "seal", secrets.token_bytes(32)
    with contextlib.suppress(OSError):
        if not place.exists():
            replace_private(place, made)
        made = place.read_bytes() or made
    return made

"""The addresses that a user has approved for the keys of providers."""

from __future__ import annotations

import json
from pathlib import Path

import portalocker

from llmkit.errors import ValidationError
from llmkit.records.private_files import replace_private


class Approvals:
    """This user's approvals on this machine, by provider name: a JSON file of mode 0600.

    Each is an origin and, after a space, the variable whose key may be sent there.

    Raises:
        ValidationError: the file, whenever it is read, is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, provider_name: str, approval: str) -> None:
        """Add an approval: an origin as :func:`origin_of` returns it, and the variable. Safe among kernels."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with portalocker.Lock(self._path.with_suffix(".lock"), timeout=10, check_interval=0.02):
            approved = self._read()
            approved[provider_name] = sorted({*approved.get(provider_name, ()), approval})
            replace_private(self._path, json.dumps(approved, indent=2).encode())

    def of(self, provider_name: str) -> list[str]:
        """The approvals for a provider."""
        return self._read().get(provider_name, [])

    def _read(self) -> dict[str, list[str]]:
        try:
            approved = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            approved = None
        if isinstance(approved, dict) and all(isinstance(origins, list) for origins in approved.values()):
            return approved
        raise ValidationError(
            f"{self._path} is damaged, so no address counts as approved. Delete it and approve again."
        )

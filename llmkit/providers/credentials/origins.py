"""The addresses that a key may be sent to."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import portalocker

from llmkit.errors import ValidationError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NEVER_IN_A_URL = re.compile(r"[\x00-\x20\x7f-\x9f\\?#]|\s")


@lru_cache(maxsize=256)  # asked for every request
def origin_of(url: str) -> str:
    """Scheme, host and port of a URL in their one canonical form: ``https://api.openai.com``, ``http://[::1]:8000``.

    Lower case, international names in their ASCII form, no trailing dot, no default port. A request is built from this
    text, so that what was compared is what is connected to.

    Raises:
        ValidationError: not an http(s) URL, or it holds a user name, a query, a fragment, a backslash or a space.
    """
    try:
        if _NEVER_IN_A_URL.search(url):
            raise ValueError("forbidden character")
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or "@" in parts.netloc:
            raise ValueError("scheme or user name")
        host, port = _host(parts.hostname or ""), parts.port
        if port == 0:
            raise ValueError("port")
    except ValueError:
        raise ValidationError(
            "An address must be a plain URL such as https://api.example.org/v1: http or https, a host, and no user "
            "name, query or fragment.",
            field="base_url",
        ) from None
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def _host(name: str) -> str:
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name).compressed}]" if "%" not in name else _refuse()
    host = name.encode("idna").decode().lower().removesuffix(".")
    return host if _HOST.fullmatch(host) else _refuse()


def _refuse() -> NoReturn:
    raise ValueError("host")


@lru_cache(maxsize=256)
def is_loopback(origin: str) -> bool:
    """Whether an origin is this machine: ``localhost``, 127.0.0.0/8 or ``::1``."""
    host = urlsplit(origin).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_safe(origin: str) -> bool:
    """Whether nobody on the way can read what is sent there: https, or this machine."""
    return origin.startswith("https://") or is_loopback(origin)


class Approvals:
    """The origins that this user approved on this machine, by provider's name: a JSON file of mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, provider_name: str, origin: str) -> None:
        """Approve an origin, as :func:`origin_of` writes it. Safe while other kernels approve theirs.

        Raises:
            ValidationError: the file is damaged.
        """
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with portalocker.Lock(self._path.with_suffix(".lock"), timeout=10, check_interval=0.02):
            approved = self._read()
            approved[provider_name] = sorted({*approved.get(provider_name, ()), origin})
            # mkstemp makes a file of mode 0600, and the rename replaces the old one in one step
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=self._path.stem, suffix=".tmp")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(approved, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)

    def of(self, provider_name: str) -> list[str]:
        """What is approved for a provider.

        Raises:
            ValidationError: the file is damaged.
        """
        return self._read().get(provider_name, [])

    def _read(self) -> dict[str, list[str]]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            found = None
        if isinstance(found, dict) and all(isinstance(origins, list) for origins in found.values()):
            return found
        raise ValidationError(
            f"{self._path} is damaged, so no address counts as approved. Delete it and approve again."
        )

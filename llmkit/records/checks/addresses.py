"""A provider's address: its canonical origin, and whether that is this machine, a private network, or neither."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from llmkit.errors import ValidationError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NEVER_IN_A_URL = re.compile(r"[\x00-\x20\x7f-\x9f\\?#\ud800-\udfff]|\s")
_ENDPOINTS = ("/chat/completions", "/responses", "/messages", "/models")
_PRIVATE_NETWORKS = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
_PRIVATE_NAMES = (".local", ".internal", ".home.arpa", ".lan")


def base_url(value: Any, field: str = "base_url") -> str:
    """An endpoint's URL in canonical form, without a trailing slash: https, or http on this machine or a private
    network.
    """
    text = value.strip() if isinstance(value, str) else ""
    origin = origin_of(text, field)
    if not can_be_asked(origin):
        raise ValidationError(
            f"{field} must use https: over http, anyone between here and {origin} could read and change requests and "
            "answers. Plain http is only for this machine and private networks; a tunnel (ssh -L) leads there too.",
            field=field,
        )
    url = f"{origin}{urlsplit(text).path.rstrip('/')}"
    if url.endswith(_ENDPOINTS):
        raise ValidationError(
            f"{field} is what {', '.join(_ENDPOINTS)} are appended to; leave the endpoint itself out.", field=field
        )
    return url


@lru_cache(maxsize=256)  # called for every request
def origin_of(url: str, field: str = "base_url") -> str:
    """Scheme, host and port of a URL in canonical form: ``https://api.openai.com``, ``http://[::1]:8000``.

    Lower case, international names in ASCII, no trailing dot, no default port. Requests are built from this text, so
    that the host connected to is the one that was compared.

    Raises:
        ValidationError: not an http(s) URL, or it contains a user name, a query, a fragment, a backslash or a space.
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
            f"{field} must be a plain URL such as https://openrouter.ai/api/v1 or http://localhost:11434/v1: http or "
            "https, a host, and no user name, key, query or fragment; keys come from environment variables.",
            field=field,
        ) from None
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def _host(name: str) -> str:
    if ":" in name and "%" not in name:
        return f"[{ipaddress.IPv6Address(name).compressed}]"
    host = name.encode("idna").decode().lower().removesuffix(".")
    if not _HOST.fullmatch(host):
        raise ValueError("host")
    return host


@lru_cache(maxsize=256)
def is_loopback(origin: str) -> bool:
    """Whether an origin is this machine: ``localhost`` and names below it (RFC 6761), 127.0.0.0/8 or ``::1``."""
    host = urlsplit(origin).hostname or ""
    address = _address(host)
    return f".{host}".endswith(".localhost") if address is None else address.is_loopback


def is_private(origin: str) -> bool:
    """Whether an origin is on a private network: by its address, or by a name that no public server can have."""
    host = urlsplit(origin).hostname or ""
    address = _address(host)
    if address is not None:
        return any(address in network for network in _PRIVATE_NETWORKS)
    return host.endswith(_PRIVATE_NAMES) or ("." not in host and not host.isdigit() and not host.startswith("0x"))


def is_open(origin: str) -> bool:
    """Whether traffic to it leaves this machine unencrypted (http)."""
    return origin.startswith("http://") and not is_loopback(origin)


def can_be_asked(origin: str) -> bool:
    """Whether requests may be sent to it at all: plain http never crosses a public network."""
    return not is_open(origin) or is_private(origin)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

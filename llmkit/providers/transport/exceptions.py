"""Failures for foreign exceptions. The messages are ours: a foreign message or its cause may quote headers or a URL.

What matters is whether the request may have reached the provider: then the answer may have been billed although it
never arrived.
"""

from __future__ import annotations

import socket
import ssl
import zlib
from dataclasses import dataclass

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError

from llmkit.errors import Code
from llmkit.records import Failure, Scope


@dataclass(frozen=True, slots=True)
class Fault:
    """The meaning of a kind of exception; ``{host}`` in its message is filled in."""

    code: Code
    says: str
    maybe_billed: bool = False
    scope: Scope = "attempt"


_NOT_FOUND = Fault(Code.NETWORK_ERROR, "{host} cannot be found. Check the network, and the provider's base_url.")
_REFUSED = Fault(Code.NETWORK_ERROR, "No connection to {host}. Check the network, and that the server is running.")
_CERTIFICATE = Fault(
    Code.NETWORK_ERROR,
    "No secure connection to {host}: it does not speak https, or its certificate is not trusted here. Behind a proxy "
    "that inspects traffic, set SSL_CERT_FILE to its certificates.",
)
_PROXY = Fault(Code.NETWORK_ERROR, "The proxy of this machine (HTTPS_PROXY) does not connect to {host}.")
_SLOW_CONNECT = Fault(Code.TIMEOUT, "{host} did not accept the connection in time.")
_SLOW = Fault(Code.TIMEOUT, "{host} did not answer in time.", maybe_billed=True)
_BROKEN = Fault(Code.NETWORK_ERROR, "The connection to {host} broke before the answer arrived.", maybe_billed=True)
_GARBAGE = Fault(Code.NETWORK_ERROR, "What {host} sent is not HTTP, or is incomplete.", maybe_billed=True)
_UNREADABLE = Fault(Code.INVALID_RESPONSE, "The answer from {host} cannot be decompressed.", maybe_billed=True)
_BAD_REQUEST = Fault(
    Code.VALIDATION_ERROR, "The request to {host} cannot be sent; check the provider's base_url.", scope="provider"
)

# The first matching class decides, so subclasses precede their bases.
FAULTS: tuple[tuple[type[BaseException], Fault], ...] = (
    # aiohttp
    (aiohttp.ClientSSLError, _CERTIFICATE),
    (aiohttp.ClientConnectorCertificateError, _CERTIFICATE),
    (aiohttp.ServerFingerprintMismatch, _CERTIFICATE),
    (aiohttp.ClientProxyConnectionError, _PROXY),
    (aiohttp.ClientHttpProxyError, _PROXY),
    (aiohttp.ClientConnectorDNSError, _NOT_FOUND),
    (aiohttp.ClientConnectorError, _REFUSED),
    (aiohttp.ConnectionTimeoutError, _SLOW_CONNECT),
    (aiohttp.ServerTimeoutError, _SLOW),
    (aiohttp.ClientConnectionError, _BROKEN),
    (aiohttp.ClientResponseError, _GARBAGE),
    (aiohttp.InvalidURL, _BAD_REQUEST),
    (aiohttp.NonHttpUrlClientError, _BAD_REQUEST),
    (aiohttp.ClientError, _BROKEN),
    (HttpProcessingError, _GARBAGE),
    # httpx, which sends nothing here
    (httpx.InvalidURL, _BAD_REQUEST),
    # the standard library
    (zlib.error, _UNREADABLE),
    (ssl.SSLError, _CERTIFICATE),
    (socket.gaierror, _NOT_FOUND),
    (ConnectionRefusedError, _REFUSED),
    (TimeoutError, _SLOW),
    (OSError, _BROKEN),
)

FOREIGN: tuple[type[BaseException], ...] = tuple(kind for kind, _ in FAULTS)
"""The exceptions caught around a request. Anything else is a bug of ours and should surface."""


def failure_of(error: BaseException, host: str) -> Failure:
    """The failure for a foreign exception, whose text is not used."""
    fault = next(fault for kind, fault in FAULTS if isinstance(error, kind))
    return Failure(
        code=fault.code, message=fault.says.format(host=host), scope=fault.scope, maybe_billed=fault.maybe_billed
    )

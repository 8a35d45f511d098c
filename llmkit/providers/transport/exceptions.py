"""Failures for foreign exceptions. The messages are ours: a foreign message or its cause may quote headers or a URL.

What matters is whether the request may have reached the provider: then the answer may have been billed although it
never arrived.
"""

from __future__ import annotations

import socket
import ssl
import zlib
from dataclasses import replace
from functools import partial

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError

from llmkit.errors import Code
from llmkit.records import Failure

_network_error = partial(Failure, code=Code.NETWORK_ERROR)

# ``{host}`` is filled in
_NOT_FOUND = _network_error(message="{host} cannot be found. Check the network, and the provider's base_url.")
_REFUSED = _network_error(message="No connection to {host}. Check the network, and that the server is running.")
_CERTIFICATE = _network_error(
    message="No secure connection to {host}: it does not speak https, or its certificate is not trusted here. Behind a "
    "proxy that inspects traffic, set SSL_CERT_FILE to its certificates.",
)
_PROXY = _network_error(message="The proxy of this machine (HTTPS_PROXY) does not connect to {host}.")
_SLOW_CONNECT = Failure(code=Code.TIMEOUT, message="{host} did not accept the connection in time.")
_SLOW = Failure(code=Code.TIMEOUT, message="{host} did not answer in time.", maybe_billed=True)
_BROKEN = _network_error(message="The connection to {host} broke before the answer arrived.", maybe_billed=True)
_GARBAGE = _network_error(message="What {host} sent is not HTTP, or is incomplete.", maybe_billed=True)
_UNREADABLE = Failure(
    code=Code.INVALID_RESPONSE, message="The answer from {host} cannot be decompressed.", maybe_billed=True
)
_BAD_REQUEST = Failure(
    code=Code.VALIDATION_ERROR,
    message="The request to {host} cannot be sent; check the provider's base_url.",
    scope="provider",
)

# The first matching class decides, so subclasses precede their bases.
_FAILURES: tuple[tuple[type[BaseException], Failure], ...] = (
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

FOREIGN: tuple[type[BaseException], ...] = tuple(kind for kind, _ in _FAILURES)
"""The exceptions caught around a request. Anything else is a bug of ours and should surface."""


def failure_of(error: BaseException, host: str) -> Failure:
    """The failure for a foreign exception, whose text is not used."""
    failure = next(failure for kind, failure in _FAILURES if isinstance(error, kind))
    return replace(failure, message=failure.message.format(host=host))

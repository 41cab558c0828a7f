"""Why a connection failed, told apart by what people can do about it.

The sentence names the host, which the caller chose; nothing of the request or of the other side's text is in it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

from app.sync.http import errors

E = TypeVar("E", bound=BaseException)

_PROBE_TIMEOUT_S = 3.0
_EXPIRED, _NOT_YET_VALID = 10, 9
_NAME_MISMATCHES = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_ codes."""
_TEMPORARY_DNS_ERRORS = frozenset({socket.EAI_AGAIN})


def explain(error: Exception, client: httpx.Client, url: httpx.URL) -> errors.SyncError:
    """The stored error for a connection that failed with an exception of httpx's or ssl's."""
    causes = list(_chain(error))
    if isinstance(error, httpx.ProxyError) or (_uses_proxy(client, url) and isinstance(error, httpx.ConnectError)):
        return errors.ProxyFailed()
    if invalid := _first(causes, ssl.SSLCertVerificationError):
        return _certificate_error(invalid, url.host)
    if unknown := _first(causes, socket.gaierror):
        is_temporary = unknown.errno in _TEMPORARY_DNS_ERRORS
        return errors.UnknownHost(f"There is no host named {url.host}", retryable=is_temporary)
    if _first(causes, ConnectionRefusedError):
        return errors.ConnectionRefused(f"Nothing answers at {_host_and_port(url)}", retryable=True)
    tls_error = _first(causes, ssl.SSLError)
    if tls_error or isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return find_scheme_error(client, url) or errors.Unreachable(retryable=tls_error is None)
    return errors.Unreachable()


def find_scheme_error(client: httpx.Client, url: httpx.URL) -> errors.SyncError | None:
    """`WrongScheme` if the host answers at the same port by the other scheme. Asks there once, without a key."""
    other = "http" if url.scheme == "https" else "https"
    probe = url.copy_with(scheme=other, port=_port(url), raw_path=b"/")
    try:
        with client.stream("HEAD", probe, timeout=_PROBE_TIMEOUT_S) as response:
            if other == "http" and response.status_code == 400:
                return None  # as servers with TLS answer HTTP
    except (httpx.HTTPError, ssl.SSLError, UnicodeError, errors.SyncError) as error:
        if not _first(_chain(error), ssl.SSLCertVerificationError):
            return None
    if other == "http":
        return errors.TlsNotSpoken(f"{_host_and_port(url)} speaks HTTP without TLS")
    return errors.WrongScheme(f"{_host_and_port(url)} speaks HTTPS only")


def _certificate_error(error: ssl.SSLCertVerificationError, host: str) -> errors.SyncError:
    code = getattr(error, "verify_code", 0)
    if code in _NAME_MISMATCHES:
        return errors.CertificateMismatch(f"The certificate of {host} is for another name")
    if code in (_EXPIRED, _NOT_YET_VALID):
        is_over = code == _EXPIRED
        return errors.CertificateExpired(
            f"The certificate of {host} {'has expired' if is_over else 'is not valid yet'}"
        )
    return errors.CertificateUntrusted(f"The certificate of {host} comes from an authority that is not trusted here")


def _uses_proxy(client: httpx.Client, url: httpx.URL) -> bool:
    """Whether the client sends this request through a proxy of the environment."""
    if not client.trust_env:
        return False
    proxies = getproxies()
    return bool((proxies.get(url.scheme) or proxies.get("all")) and not proxy_bypass(url.host))


def _host_and_port(url: httpx.URL) -> str:
    return f"{f'[{url.host}]' if ':' in url.host else url.host}:{_port(url)}"


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _first(causes: Iterable[BaseException], kind: type[E]) -> E | None:
    return next((cause for cause in causes if isinstance(cause, kind)), None)

"""The HTTP clients of this process: time-outs, trusted authorities, no cookies, SSRF protection."""

from __future__ import annotations

import atexit
import logging
import os
import re
import ssl
import threading
from collections.abc import Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx

from app.sync.http import errors
from app.sync.http.decompression import DECOMPRESSORS
from app.sync.http.ssrf import Network, SSRFSafeBackend

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
TOTAL_TIMEOUT_S = 60.0
_USER_AGENT = "Modelsync/0.1 (+model list sync)"

Client = httpx.Client
"""For modules that only pass a client on."""

_tls: ssl.SSLContext | None = None
_tls_lock = threading.Lock()
_clients_lock = threading.Lock()


def new_client(restricted: Sequence[Network] | None = None) -> httpx.Client:
    """A thread-safe client. The CA bundle is loaded once per process: that takes 20 ms, a request 1 ms.

    restricted: for addresses that users chose; it reaches public addresses and these networks only, and ignores the
    environment's proxies.
    """
    global _tls
    with _tls_lock:
        _tls = _tls or _load_authorities()
    # httpx logs every URL at INFO. Ours hold no keys, but this should not depend on it.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=32)
    return httpx.Client(
        verify=_tls,
        transport=None if restricted is None else _SSRFSafeTransport(_tls, limits, restricted),
        trust_env=restricted is None,
        timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=TOTAL_TIMEOUT_S),
        limits=limits,
        follow_redirects=False,
        event_hooks={"response": [_require_https]},
        # One client serves all users: a cookie set for one key must not be sent with another.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": _USER_AGENT, "Accept": "application/json", "Accept-Encoding": ", ".join(DECOMPRESSORS)},
    )


def _load_authorities() -> ssl.SSLContext:
    """Trusts the public authorities, and those in SSL_CERT_FILE and SSL_CERT_DIR besides."""
    context = httpx.create_ssl_context(trust_env=False)
    file, folder = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    if file or folder:
        context.load_verify_locations(file, folder)
    return context


_clients: dict[tuple[int, tuple[Network, ...] | None], httpx.Client] = {}


def process_client(restricted: Sequence[Network] | None = None) -> httpx.Client:
    """This process's client, as `new_client` makes it; closed at exit.

    Its connections outlive a job, so the next one to the same provider needs no handshake. A forked process gets its
    own: two that write to one connection would mix their requests, and their keys.
    """
    key = os.getpid(), None if restricted is None else tuple(restricted)
    with _clients_lock:
        if key not in _clients:
            _clients[key] = new_client(restricted)
            atexit.register(_clients[key].close)
        return _clients[key]


class _SSRFSafeTransport(httpx.HTTPTransport):
    """httpx's own transport over a pool that connects through `SSRFSafeBackend`."""

    def __init__(self, tls: ssl.SSLContext, limits: httpx.Limits, allowed: Sequence[Network]) -> None:
        super().__init__(verify=tls, limits=limits, trust_env=False)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=SSRFSafeBackend(allowed),
        )


def _require_https(response: httpx.Response) -> None:
    """Raises HttpsRequired for a redirect from http:// to https:// on the same host; the rest of it may be malformed.

    A hook of the client, since httpx itself refuses a malformed `Location` before a caller sees the answer.
    """
    url = response.request.url
    target = re.compile(rf"https://{re.escape(url.host)}(?::(\d*)[^/?#@]*)?(?:[/?#]|$)", re.IGNORECASE)
    redirect = target.match(response.headers.get("location", "")) if response.has_redirect_location else None
    if url.scheme == "http" and redirect:
        required = errors.HttpsRequired(f"{url.host} redirects http:// to https://")
        port = f":{redirect[1]}" if redirect[1] else ""
        required.action = f"{errors.KEPT}Write https://{url.host}{port} in the address."
        raise required

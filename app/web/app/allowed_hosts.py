"""Which names this server answers to. A page that another name leads here (DNS rebinding), or an address that is made
from a forged `Host` header, gets nothing."""

from __future__ import annotations

import ipaddress
import logging
import socket

from flask import Flask, Response, request
from werkzeug.sansio.utils import host_is_trusted

from app import config

log = logging.getLogger(__name__)

LOOPBACK = ("localhost", ".localhost", "127.0.0.1", "[::1]")
_EXEMPT_ENDPOINTS = ("health.health", "health.ready", "metrics.metrics")
"""Asked by address or by a name of the inside, and no answer of theirs holds an address."""


def init_app(app: Flask) -> None:
    app.before_request(_reject_unknown_host)


def is_allowed(host: str, settings: config.Settings) -> bool:
    """host: as the header has it, perhaps with a port.

    Without ALLOWED_HOSTS (only outside production) this machine's own name and bare addresses count too: an address
    cannot be made to lead elsewhere.
    """
    host = host.lower()
    if host_is_trusted(host, [*LOOPBACK, *settings.allowed_hosts]):
        return True
    return not settings.allowed_hosts and (_is_ip_address(host) or host_is_trusted(host, _local_names()))


def _local_names() -> list[str]:
    name = socket.gethostname()
    return [name, f"{name}.local"]


def _is_ip_address(host: str) -> bool:
    bare = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return False
    return True


def _reject_unknown_host() -> Response | None:
    if request.endpoint in _EXEMPT_ENDPOINTS or is_allowed(request.host, config.current()):
        return None
    log.warning("a request for another host was refused: %s", request.host[:100])
    sentence = "This server does not answer to that name. Its operator lists its names in ALLOWED_HOSTS.\n"
    return Response(sentence, 400, mimetype="text/plain")

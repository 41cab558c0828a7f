"""Host header allow-list, against DNS rebinding and host header injection."""

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
"""Requested by IP address or an internal name; their responses contain no URLs."""


def init_app(app: Flask) -> None:
    app.before_request(_reject_unknown_host)


def is_allowed(host: str, settings: config.Settings) -> bool:
    """host: the Host header, possibly with a port.

    Without ALLOWED_HOSTS (outside production only), this machine's name and IP addresses are allowed too: an IP address
    cannot be rebound.
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

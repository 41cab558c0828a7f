"""Addresses that users choose: where they may lead, decided on the address that is really connected to.

A name is resolved once, every address it has is checked, and the connection goes to a checked address, so that a
name cannot answer one address to the check and another to the connection (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

import httpcore

from app.sync.errors import PrivateAddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# They carry an IPv4 address inside, and whoever routes them delivers to that one.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_allowed(address: str, allowed: Iterable[Network]) -> bool:
    """Whether a user's request may go to this address: a public one, or one the operator opened."""
    found = _innermost(ipaddress.ip_address(address.partition("%")[0]))
    if any(found.version == network.version and found in network for network in allowed):
        return True
    return found.is_global and not found.is_multicast


def _innermost(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return inner or address
    return address


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only. Raises PrivateAddress, which passes through httpx as it is."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _resolve(host, port)
        if not all(is_allowed(address, self._allowed) for address in addresses):
            raise PrivateAddress
        last: Exception | None = None
        for address in addresses[:4]:
            try:
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last or httpcore.ConnectError("the name has no address")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        raise PrivateAddress


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError("the name cannot be resolved") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))

"""Addresses that users choose: where they may lead, decided on the address that is really connected to.

A name is resolved once, every address it has is checked, and the connection goes to a checked address, so that a
name cannot answer one address to the check and another to the connection (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

import httpcore

from app.sync.http.errors import PrivateAddressBlocked

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Carries an IPv4 address inside, and whoever routes it delivers to that one.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""The only block from which public IPv6 addresses are given out; what lies outside is somebody's own."""
_BLOCKED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's agent: a public number that answers from inside a virtual machine
        "192.0.0.0/24",  # IETF protocol assignments, and Oracle's metadata at .192; older Pythons call it public
        "192.88.99.0/24",  # relays from 6to4, withdrawn (RFC 7526)
        "3fff::/20",  # documentation (RFC 9637)
    )
)


def is_allowed(address: str, allowed: Iterable[Network]) -> bool:
    """Whether a user's request may go to this address: a public one, or one the operator opened."""
    found = _embedded_address(ipaddress.ip_address(address.partition("%")[0]))
    if _is_in(found, allowed):
        return True
    if found.version == 6 and found not in _GLOBAL_UNICAST:
        return False
    return found.is_global and not found.is_multicast and not _is_in(found, _BLOCKED)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _embedded_address(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return inner or address
    return address


class SSRFSafeBackend(httpcore.NetworkBackend):
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
            raise PrivateAddressBlocked
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
        raise PrivateAddressBlocked


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError("the name cannot be resolved") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))

"""SSRF protection for addresses that users choose: the check applies to the address that is really connected to.

A name is resolved once, all its addresses are checked, and the connection goes to a checked address, so that a name
cannot resolve to one address for the check and to another for the connection (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

import httpcore

from app.sync.http.errors import PrivateAddressBlocked

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Embeds an IPv4 address, to which the gateway delivers.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""The only block from which public IPv6 addresses are allocated."""
_BLOCKED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's agent: a public address that answers inside virtual machines
        "192.0.0.0/24",  # IETF protocol assignments, with Oracle's metadata at .192; older Pythons call it global
        "192.88.99.0/24",  # 6to4 relays, deprecated (RFC 7526)
        "3fff::/20",  # documentation (RFC 9637)
    )
)


def is_allowed(address: str, allowed: Iterable[Network]) -> bool:
    """Whether a user's request may go to this address: it is public, or in a network that the operator allowed."""
    target = _embedded_address(ipaddress.ip_address(address.partition("%")[0]))
    if _is_in(target, allowed):
        return True
    if target.version == 6 and target not in _GLOBAL_UNICAST:
        return False
    return target.is_global and not target.is_multicast and not _is_in(target, _BLOCKED)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _embedded_address(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return inner or address
    return address


class SSRFSafeBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only. Raises PrivateAddressBlocked, which httpx passes on unchanged."""

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
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        raise PrivateAddressBlocked


def _resolve(host: str, port: int) -> list[str]:
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError("the name cannot be resolved") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))

"""Base URLs that users and admins choose: a provider's region, a server of their own, an override for everyone."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from app.providers.contract import Provider

MAX_URL_LENGTH = 500


class InvalidBaseURL(Exception):
    """A region or URL cannot be used. The message is a sentence that says what to do."""


def resolve_base_url(provider: Provider, region: str = "", url: str = "") -> str | None:
    """The base URL to store with a key; None for the provider's own. Raises InvalidBaseURL."""
    if provider.base_url_example:
        return _own_server_url(provider, url.strip())
    if url.strip():
        raise InvalidBaseURL(f"{provider.title} has an address of its own; only servers of yours take one.")
    if not region:
        return None
    if region not in provider.regions:
        known = ", ".join(provider.regions) or "none"
        raise InvalidBaseURL(f"{provider.title} has no region {region!r}: choose among {known}.")
    return provider.regions[region]


def find_region(provider: Provider, base_url: str | None) -> str:
    """The name of the region with this base URL; empty if there is none."""
    return next((name for name, url in provider.regions.items() if url == base_url), "")


def _own_server_url(provider: Provider, url: str) -> str:
    if not url:
        raise InvalidBaseURL(f"Give the address of your server, such as {provider.base_url_example}.")
    return validate_url(url, provider.base_url_example)


def validate_url(url: str, example: str) -> str:
    """The URL without a trailing slash. Raises InvalidBaseURL if it is not HTTP(S), or has a password or a query."""
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_http = False
    if not is_http or len(url) > MAX_URL_LENGTH or not url.isprintable() or " " in url:
        raise InvalidBaseURL(f"That is no http:// or https:// address: write it like {example}.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidBaseURL("Leave user name, query and fragment out of the address; a key has a field of its own.")
    return url.rstrip("/")


def validate_shared_url(url: str, example: str) -> str:
    """`validate_url` for a URL that receives all users' keys: it also has to be HTTPS, except on this machine."""
    validated = validate_url(url, example)
    parts = urlsplit(validated)
    if parts.scheme != "https" and not _is_local(parts.hostname or ""):
        raise InvalidBaseURL("All keys of this provider are sent there: write an https:// address.")
    return validated


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

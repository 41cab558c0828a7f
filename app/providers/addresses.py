"""Base URLs that users and admins choose: a provider's region, a server of their own, an override for everyone.

People paste what they have: the address of a call, one without a scheme, one with a query or with a login in it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from app.providers.contract import Provider

MAX_URL_LENGTH = 500
_MAX_TYPED_LENGTH = 2_000
MAX_LOGIN_LENGTH = 500

_CALLS = (
    *("/models", "/models/list", "/chat/completions", "/completions", "/responses", "/embeddings"),
    *("/messages", "/messages/count_tokens", "/rerank", "/moderations", "/images/generations", "/images/edits"),
    *("/audio/speech", "/audio/transcriptions", "/audio/translations", "/chat"),
    *("/api/tags", "/api/chat", "/api/generate", "/api/show", "/api/ps", "/api/embed", "/api/version"),
    *("/docs", "/redoc", "/openapi.json", "/health", "/ui"),
)
"""Paths of single calls and pages, which stand behind the base URL."""
_CALL = re.compile(f"(?:{'|'.join(map(re.escape, sorted(_CALLS, key=len, reverse=True)))})$", re.IGNORECASE)
_MODEL = re.compile(r"(?<=/v\d)/models/.+$")
_AZURE_DEPLOYMENT = re.compile(r"/openai/deployments(?:/.*)?$")
_ASSIGNMENT = re.compile(r"(?:export\s+)?[A-Za-z_]\w*\s*=\s*(?=[\"']?https?:)")
_HTTP = re.compile(r"(https?):/*", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HOST = re.compile(r"[\w.:-]+", re.UNICODE)
_VERSION = re.compile(r"/v\d[\w.]*(?=/|$)")
_LOCAL_ENDINGS = (".local", ".lan", ".home", ".internal", ".localhost", ".home.arpa", ".intranet")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class InvalidBaseURL(Exception):
    """A region, URL or login cannot be used. The message is a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a key is sent."""

    base_url: str | None
    """None: the provider's own."""
    login: str = field(default="", repr=False)
    """`user:password` that stood in the URL; secret. Empty if there was none."""


def resolve_address(provider: Provider, region: str = "", url: str = "") -> Address:
    """The address to store with a key. Raises InvalidBaseURL."""
    if provider.base_url_example:
        return clean_address(provider, url)
    if url.strip():
        raise InvalidBaseURL(f"{provider.title} has an address of its own; only servers of yours take one.")
    if not region:
        return Address(None)
    if region not in provider.regions:
        known = ", ".join(provider.regions) or "none"
        raise InvalidBaseURL(f"{provider.title} has no region {region!r}: choose among {known}.")
    return Address(provider.regions[region])


def clean_address(provider: Provider, typed: str) -> Address:
    """The base URL of a server of the user's own, of whatever address they have. Raises InvalidBaseURL.

    Known calls (`/chat/completions`), a query and a fragment are cut, a login is taken out, and a missing scheme is
    added: `http://` for hosts of a local network, else `https://`.
    """
    if not typed.strip():
        raise InvalidBaseURL(f"Give the address of your server, such as {provider.base_url_example}.")
    base_url, login = split_login(typed, provider.base_url_example)
    return Address(provider.root(base_url), login)


def split_login(url: str, example: str) -> tuple[str, str]:
    """The base URL of an address, and the `user:password` in it or an empty string. Raises InvalidBaseURL."""
    parts = _split_url(url, example)
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if "@" in parts.netloc else ""
    return _base_url(parts), validate_login(login)


def validate_login(typed: str) -> str:
    """A `user:password` for HTTP Basic authentication, or empty. Raises InvalidBaseURL."""
    login = typed.strip()
    if not login:
        return ""
    if ":" not in login or login.startswith(":"):
        raise InvalidBaseURL("Write the login as user:password, with a colon between them.")
    if len(login) > MAX_LOGIN_LENGTH or not login.isprintable():
        raise InvalidBaseURL(f"Write the login on one line, in at most {MAX_LOGIN_LENGTH} characters.")
    return login


def keeps_key(before: str | None, after: str) -> bool:
    """Whether a key stored for one base URL may be sent to another: the same host and port, and no less encrypted."""
    if before is None:
        return False
    old, new = urlsplit(before), urlsplit(after)
    if old.hostname != new.hostname or (old.scheme, new.scheme) == ("https", "http"):
        return False
    is_upgrade = (_port(old), _port(new)) == (80, 443)
    return _port(old) == _port(new) or is_upgrade


def list_addresses(provider: Provider, base_url: str) -> tuple[str, ...]:
    """Base URLs at which to look for the list, in this order; the first is `base_url` itself.

    The others are `fallback_paths` on the same server. There are none behind a path that names a version.
    """
    root = provider.root(base_url)
    if not provider.fallback_paths or _VERSION.search(urlsplit(root).path):
        return (base_url,)
    path = provider.build_request(None).path
    others = [root + fallback.removesuffix(path) for fallback in provider.fallback_paths]
    return tuple(dict.fromkeys([base_url, root, *(url for url in others if len(url) <= MAX_URL_LENGTH)]))


def find_region(provider: Provider, base_url: str | None) -> str:
    """The name of the region with this base URL; empty if there is none."""
    return next((name for name, url in provider.regions.items() if url == base_url), "")


def validate_url(url: str, example: str) -> str:
    """The base URL of an address, as `clean_address` cuts it. Raises InvalidBaseURL if it is none, or has a login."""
    base_url, login = split_login(url, example)
    if login:
        raise InvalidBaseURL("Leave user name and password out of the address.")
    return base_url


def validate_shared_url(url: str, example: str) -> str:
    """`validate_url` for a URL that receives all users' keys: it also has to be HTTPS, except on this machine."""
    validated = validate_url(url, example)
    parts = urlsplit(validated)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise InvalidBaseURL("All keys of this provider are sent there: write an https:// address.")
    return validated


def _split_url(typed: str, example: str) -> SplitResult:
    """A checked http(s) URL, with a scheme."""
    invalid = InvalidBaseURL(f"That is no http:// or https:// address: write it like {example}.")
    url = _ASSIGNMENT.sub("", typed.strip(), count=1).strip("\"'`<>, ")
    if len(url) > _MAX_TYPED_LENGTH or not url.isprintable() or " " in url or "\\" in url:
        raise invalid
    if _HTTP.match(url):
        url = _HTTP.sub(lambda scheme: f"{scheme[1].lower()}://", url, count=1)
    elif _OTHER_SCHEME.match(url):
        raise invalid
    else:
        url = "//" + url.lstrip("/")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if not _HOST.fullmatch(host) or port == 0 or host.strip(".:-") == "":
            raise invalid
    except ValueError:
        raise invalid from None
    return parts if parts.scheme else parts._replace(scheme=_guess_scheme(host, port))


def _base_url(parts: SplitResult) -> str:
    """The URL without login, query, fragment, default port and the paths of calls."""
    host, port = parts.hostname or "", parts.port
    netloc = f"[{host}]" if ":" in host else host
    if port and port != _DEFAULT_PORTS[parts.scheme]:
        netloc += f":{port}"
    base_url = f"{parts.scheme}://{netloc}{_cut_calls(parts.path)}"
    if len(base_url) > MAX_URL_LENGTH:
        raise InvalidBaseURL(f"That address is longer than {MAX_URL_LENGTH} characters.")
    return base_url


def _cut_calls(path: str) -> str:
    path = re.sub("/{2,}", "/", path).rstrip("/")
    path = _AZURE_DEPLOYMENT.sub("/openai/v1", _MODEL.sub("", path))
    while (shorter := _CALL.sub("", path).rstrip("/")) != path:
        path = shorter
    return path


def _guess_scheme(host: str, port: int | None) -> str:
    """`http` for hosts of a local network, which rarely have a certificate; else `https`, which cannot leak a key."""
    if str(port or "").endswith("443"):
        return "https"
    try:
        is_local = not ipaddress.ip_address(host).is_global
    except ValueError:
        is_local = "." not in host or host.endswith(_LOCAL_ENDINGS)
    return "http" if is_local else "https"


def _port(parts: SplitResult) -> int:
    return parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

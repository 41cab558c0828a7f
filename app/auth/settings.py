"""Settings of who may come in, and how: sign-in by OpenID Connect, and the mail server that passwords are reset by.

Each is read from the environment as a whole: all that it needs is there and fits, or nothing of it is. Errors are
ValueErrors with a sentence that names the setting, never what it is set to where that may hold a secret.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

Environ = Mapping[str, str]
SecretReader = Callable[[Environ, str], str]
"""`config.secret`: NAME, or what the file holds that NAME_FILE names."""
_DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
_PUBLIC_URL_REQUIRED = (
    "{} needs PUBLIC_URL: the address of this server as browsers have it, such as https://example.com."
)

SecurityEvent = Literal[
    "password", "password reset", "second factor on", "second factor off", "recovery codes", "linked", "unlinked"
]
"""What may be changed of the ways into an account; its owner is told."""


@dataclass(frozen=True, slots=True, repr=False)
class OpenIdProvider:
    """The one provider of OpenID Connect that people may sign in with."""

    issuer: str
    client_id: str
    client_secret: str
    title: str = "OpenID Connect"
    """What the button calls it."""
    allowed_domains: tuple[str, ...] = ()
    """Of e-mail addresses, lower case; empty: all."""
    link_by_email: bool = False
    """Whether a verified address alone leads into an account that has a password."""
    signup: bool = False
    """Whether somebody without an account is given one."""


@dataclass(frozen=True, slots=True, repr=False)
class MailServer:
    """Where letters are handed in."""

    host: str
    port: int
    is_tls: bool
    """Whether TLS begins at once (smtps) or where the server offers it (smtp, STARTTLS)."""
    user: str = ""
    password: str = ""


def load_openid_provider(
    environ: Environ, secret: SecretReader, public_url: str, signup_is_open: bool
) -> OpenIdProvider | None:
    """None where OIDC_ISSUER is not set. Raises ValueError."""
    issuer = environ.get("OIDC_ISSUER", "").strip()
    if not issuer:
        return None
    if not _is_safe_issuer(_split_url(issuer)):
        raise ValueError("OIDC_ISSUER must be an https:// address without a user name, a query or a fragment.")
    client_id = environ.get("OIDC_CLIENT_ID", "").strip()
    client_secret = secret(environ, "OIDC_CLIENT_SECRET")
    if not client_id or not client_secret:
        raise ValueError("OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET (or OIDC_CLIENT_SECRET_FILE).")
    if not public_url:
        raise ValueError(_PUBLIC_URL_REQUIRED.format("OIDC_ISSUER"))
    domains = environ.get("OIDC_ALLOWED_DOMAINS", "").lower().replace("@", "")
    return OpenIdProvider(
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        title=environ.get("OIDC_TITLE", "").strip()[:60] or "OpenID Connect",
        allowed_domains=tuple(part.strip() for part in domains.split(",") if part.strip()),
        link_by_email=_parse_flag("OIDC_LINK_BY_EMAIL", environ.get("OIDC_LINK_BY_EMAIL", ""), False),
        signup=_parse_flag("OIDC_SIGNUP", environ.get("OIDC_SIGNUP", ""), signup_is_open),
    )


def read_public_url(environ: Environ, is_secure: bool) -> str:
    """This server's address as browsers have it, without a slash at the end; empty if unset. Raises ValueError."""
    url = environ.get("PUBLIC_URL", "").strip().rstrip("/")
    if not url:
        return ""
    parts = _split_url(url)
    if parts is None or parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("PUBLIC_URL must be an http:// or https:// address such as https://modelsync.example.com.")
    if parts.path:
        raise ValueError("PUBLIC_URL must be an address without a path: Modelsync has a host name of its own.")
    if is_secure and parts.scheme != "https":
        raise ValueError("PUBLIC_URL must begin with https:// where cookies are sent over HTTPS only.")
    return url


def read_mail_from(environ: Environ, public_url: str) -> str:
    """The sender of letters; empty if no letters are sent. Raises ValueError."""
    sender = environ.get("MAIL_FROM", "").strip()
    if not sender:
        return ""
    if "@" not in parseaddr(sender)[1] or not sender.isprintable():
        raise ValueError("MAIL_FROM must be an e-mail address, such as Modelsync <modelsync@example.com>.")
    if not public_url:
        raise ValueError(_PUBLIC_URL_REQUIRED.format("MAIL_FROM"))
    return sender


def parse_smtp_url(url: str) -> MailServer:
    """Read SMTP_URL. Raises ValueError, which repeats nothing of it: it may hold a password."""
    parts = _split_url(url)
    if parts is None or parts.scheme not in _DEFAULT_PORTS or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "SMTP_URL must be an address such as smtps://user:password@mail.example.com:465 or smtp://…:587; "
            "write %, /, #, ?, @ and : in the password as %25, %2F, %23, %3F, %40 and %3A."
        )
    return MailServer(
        host=parts.hostname or "",
        port=parts.port or _DEFAULT_PORTS[parts.scheme],
        is_tls=parts.scheme == "smtps",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def is_loopback(host: str) -> bool:
    """Whether what is sent to it stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_safe_issuer(parts: SplitResult | None) -> bool:
    if parts is None or "@" in parts.netloc or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def _split_url(url: str) -> SplitResult | None:
    """The parts of an address with a host, None if it or its port cannot be read."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def _parse_flag(name: str, value: str, default: bool) -> bool:
    word = (value.strip() or str(default)).lower()
    if word not in ("true", "false", "1", "0"):
        raise ValueError(f"{name} is {value!r}: use true or false.")
    return word in ("true", "1")

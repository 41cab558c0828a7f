"""Settings for signing in: OpenID Connect, the public URL, and the mail server that password resets are sent by.

Each group is read as a whole: it is complete and consistent, or it raises ValueError with a sentence that names the
setting, but not its value where that may contain a secret.
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
"""`config.read_secret`: the value of NAME, or the content of the file that NAME_FILE names."""
_DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
_PUBLIC_URL_REQUIRED = (
    "{} needs PUBLIC_URL: the address of this server as browsers have it, such as https://example.com."
)

SecurityEvent = Literal[
    "password", "password reset", "second factor on", "second factor off", "recovery codes", "linked", "unlinked"
]
"""A change to how an account is signed in to. Its owner is notified by e-mail."""


@dataclass(frozen=True, slots=True, repr=False)
class OpenIdProvider:
    """The OpenID Connect provider that people may sign in with."""

    issuer: str
    """OIDC_ISSUER=: Address of the identity provider. Empty: no OpenID Connect."""
    client_id: str
    """OIDC_CLIENT_ID=: This server's client ID there."""
    client_secret: str
    """OIDC_CLIENT_SECRET=: The client secret. For the web server only."""
    title: str = "OpenID Connect"
    """OIDC_TITLE=: Name on the sign-in button. Empty: OpenID Connect."""
    allowed_domains: tuple[str, ...] = ()
    """OIDC_ALLOWED_DOMAINS=: Domains of email addresses that may sign in this way, separated by commas. Empty: all."""
    link_by_email: bool = False
    """OIDC_LINK_BY_EMAIL=false: Let a verified email address into the account that has it; the account's password,
    tokens and feed URL then end."""
    signup: bool = False
    """OIDC_SIGNUP=: Create accounts for people who have none: `true` or `false`. Empty: `true` if SIGNUP is `open`."""


@dataclass(frozen=True, slots=True, repr=False)
class MailServer:
    """The SMTP server that outgoing messages are handed to."""

    host: str
    port: int
    is_tls: bool
    """True: TLS from the start (smtps). False: STARTTLS if the server offers it (smtp)."""
    user: str = ""
    password: str = ""


def load_openid_provider(
    environ: Environ, read_secret: SecretReader, public_url: str, signup_is_open: bool
) -> OpenIdProvider | None:
    """None if OIDC_ISSUER is not set. Raises ValueError."""
    issuer = environ.get("OIDC_ISSUER", "").strip()
    if not issuer:
        return None
    if not _is_safe_issuer(split_url(issuer)):
        raise ValueError("OIDC_ISSUER must be an https:// address without a user name, a query or a fragment.")
    client_id = environ.get("OIDC_CLIENT_ID", "").strip()
    client_secret = read_secret(environ, "OIDC_CLIENT_SECRET")
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
        link_by_email=parse_flag("OIDC_LINK_BY_EMAIL", environ.get("OIDC_LINK_BY_EMAIL", ""), False),
        signup=parse_flag("OIDC_SIGNUP", environ.get("OIDC_SIGNUP", ""), signup_is_open),
    )


def read_public_url(environ: Environ, is_secure: bool) -> str:
    """PUBLIC_URL without a slash at the end; empty if unset. Raises ValueError.

    is_secure: whether cookies are sent over HTTPS only, so that the URL has to be https://.
    """
    url = environ.get("PUBLIC_URL", "").strip().rstrip("/")
    if not url:
        return ""
    parts = split_url(url)
    if parts is None or parts.scheme not in ("http", "https") or not _is_plain(parts):
        raise ValueError("PUBLIC_URL must be an http:// or https:// address such as https://modelsync.example.com.")
    if parts.path:
        raise ValueError("PUBLIC_URL must be an address without a path: Modelsync has a host name of its own.")
    if is_secure and parts.scheme != "https":
        raise ValueError("PUBLIC_URL must begin with https:// where cookies are sent over HTTPS only.")
    return url


def read_mail_from(environ: Environ, public_url: str) -> str:
    """MAIL_FROM; empty if unset, so that no e-mail is sent. Raises ValueError."""
    sender = environ.get("MAIL_FROM", "").strip()
    if not sender:
        return ""
    if "@" not in parseaddr(sender)[1] or not sender.isprintable():
        raise ValueError("MAIL_FROM must be an e-mail address, such as Modelsync <modelsync@example.com>.")
    if not public_url:
        raise ValueError(_PUBLIC_URL_REQUIRED.format("MAIL_FROM"))
    return sender


def parse_smtp_url(url: str) -> MailServer:
    """The server that SMTP_URL names. Raises ValueError without any part of the URL, since it may hold a password."""
    parts = split_url(url)
    is_server = parts is not None and bool(parts.hostname) and parts.scheme in _DEFAULT_PORTS
    if parts is None or not is_server or parts.path.strip("/") or parts.query or parts.fragment:
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
    """Whether traffic to this host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_safe_issuer(parts: SplitResult | None) -> bool:
    if parts is None or not _is_plain(parts):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def _is_plain(parts: SplitResult) -> bool:
    """Whether there is a host, and no user name, query or fragment."""
    return bool(parts.hostname) and not ("@" in parts.netloc or parts.query or parts.fragment)


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL; None if it or its port is malformed."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def parse_flag(name: str, value: str, default: bool) -> bool:
    word = (value.strip() or str(default)).lower()
    if word not in ("true", "false", "1", "0"):
        raise ValueError(f"{name} is {value!r}: use true or false.")
    return word in ("true", "1")

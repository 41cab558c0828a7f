"""Environment variables as people see them: what /help/configuration and .env.example are rendered from.

A variable is documented once, in the docstring of its field of `config.Settings` or `auth.settings.OpenIdProvider`, as
`NAME=default: text`; those that are no field are in `OTHERS`.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from app.auth.settings import OpenIdProvider
from app.config import Settings
from app.providers import PROVIDERS

_ENTRY = re.compile(r"([A-Z_]+)=(\S*): (.+?)(?=\n\s*[A-Z_]+=\S*: |\Z)", re.DOTALL)

OTHERS = """
HOST=127.0.0.1: Address that `flask up` listens on.
PORT=8000: Port that `flask up` listens on.
WORKERS=2: Sync workers of `flask up`. One more is reserved for people who wait.
WEB_WORKERS=1: Web server processes of `flask up`.
SMTP_URL=: Mail server: `smtps://user:password@mail.example.com:465`, or `smtp://…:587` with STARTTLS. For workers only.
VAULT_PRIVATE_KEYS=: Decrypts API keys: for workers and the command line only. Newest version first: `2:…,1:…`.
SSL_CERT_FILE=: PEM file of certificates to trust besides the public authorities: those of your company, or of a
  self-signed server.
SSL_CERT_DIR=: Folder of such certificates, under the names that `openssl rehash` gives them.
HTTPS_PROXY=: Proxy for requests to providers and catalogs; HTTP_PROXY, ALL_PROXY and NO_PROXY count as well. Servers
  that users add by their address are asked directly.
GOOGLE_OAUTH_BASE_URL=: Where a Google service account is exchanged for a token
"""

GROUPS: Mapping[str, tuple[str, str]] = {
    "Basics": ("", "APP_ENV MODELSYNC_INSTANCE HOST PORT WORKERS WEB_WORKERS"),
    "Database and queue": ("", "DATABASE_URL DATABASE_POOL_SIZE REDIS_URL"),
    "Network": (
        "",
        "PUBLIC_URL ALLOWED_HOSTS TRUSTED_PROXIES SECURE_COOKIES ALLOWED_PRIVATE_NETWORKS"
        " SSL_CERT_FILE SSL_CERT_DIR HTTPS_PROXY MAX_STREAMS",
    ),
    "Accounts": ("", "SIGNUP REQUIRE_SECOND_FACTOR SESSION_HOURS SESSION_IDLE_MINUTES"),
    "Email": (
        "Password resets, confirmed sign-ups and notifications. PUBLIC_URL must be set too.",
        "MAIL_FROM SMTP_URL",
    ),
    "OpenID Connect": (
        "Sign-in with an identity provider. Register PUBLIC_URL + `/oidc/callback` there.",
        "OIDC_ISSUER OIDC_CLIENT_ID OIDC_CLIENT_SECRET OIDC_TITLE OIDC_ALLOWED_DOMAINS OIDC_LINK_BY_EMAIL OIDC_SIGNUP",
    ),
    "Syncing": ("", "MODEL_SYNC_INTERVAL_HOURS SYNC_MODELS_ON_STARTUP HISTORY_KEEP_DAYS"),
    "Catalog": (
        "Replace the address of a public catalog by another one, or by the path of a file for offline use.",
        "CATALOG_REFRESH_HOURS CATALOG_MODELSDEV_URL CATALOG_LITELLM_URL CATALOG_OPENROUTER_URL CATALOG_AIHUBMIX_URL",
    ),
    "Logs and monitoring": ("", "LOG_LEVEL LOG_FORMAT METRICS METRICS_TOKEN"),
    "Secrets": (
        "At least 32 characters, such as from `openssl rand -hex 32`. In development, the first three are generated.",
        "SECRET_KEY VAULT_PUBLIC_KEY VAULT_PRIVATE_KEYS CRON_SECRET ADMIN_API_KEY",
    ),
    "Server keys": (
        "The server's own API keys, to sync the shared catalog. For workers and the command line only.",
        " ".join(provider.key_variable for provider in PROVIDERS.values()),
    ),
    "Base URLs": (
        "Another address instead of a provider's own, also in a private network. Overrides what admins set.",
        " ".join([*(provider.base_url_variable for provider in PROVIDERS.values()), "GOOGLE_OAUTH_BASE_URL"]),
    ),
}
"""Title → (introduction, names), in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable; `default` is what .env.example sets, empty if that is nothing."""

    name: str
    default: str
    text: str


@functools.cache
def load_variables() -> dict[str, list[Variable]]:
    """Returns the documented variables by the titles of their groups."""
    documented = {
        one.name: one for text in (*_docstrings(Settings), *_docstrings(OpenIdProvider), OTHERS) for one in _parse(text)
    }
    for provider in PROVIDERS.values():
        for ending in ("API_KEY", "BASE_URL"):
            name = f"{provider.env_prefix}_{ending}"
            documented[name] = Variable(name, "", provider.title)
    return {title: [documented[name] for name in names.split()] for title, (_, names) in GROUPS.items()}


def render_example() -> str:
    """Returns the text of .env.example."""
    lines = [
        "# Copy to .env and change what you need: every setting has a default that works on one machine.",
        "# Any secret NAME can also come from a file: NAME_FILE=/run/secrets/name",
        "# Written by `flask config example`.",
    ]
    for title, variables in load_variables().items():
        lines += ["", "", f"# {title}. {GROUPS[title][0]}".rstrip(" "), ""]
        for one in variables:
            if title not in ("Server keys", "Base URLs"):
                lines += textwrap.wrap(
                    one.text, 118, initial_indent="# ", subsequent_indent="# ", break_long_words=False
                )
            lines.append(f"{one.name}={one.default}")
    return "\n".join(lines) + "\n"


def _docstrings(cls: type) -> Iterator[str]:
    """The docstrings of a class's fields: string literals that follow a field."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    for field, follower in pairwise(definition.body if isinstance(definition, ast.ClassDef) else []):
        if isinstance(field, ast.AnnAssign) and isinstance(follower, ast.Expr):
            yield str(ast.literal_eval(follower.value))


def _parse(text: str) -> Iterator[Variable]:
    for name, default, words in _ENTRY.findall(text):
        yield Variable(name, default, " ".join(words.split()))

"""Settings, read from the environment once and then frozen. A missing or unsafe setting is an error at start.

A secret is read from `NAME`, from the file that `NAME_FILE` names or, outside production, from the git-ignored instance
folder, where `flask up` writes those it generates. There are no default secrets.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import re
import secrets
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args
from urllib.parse import parse_qs, unquote

import redis
from flask import current_app

from app.auth import settings as auth_settings
from app.paths import ROOT as ROOT
from app.paths import base_folder, instance_folder
from app.providers import PROVIDERS
from app.providers.key_cleaning import clean_key
from app.store.engine.fifo_pool import FifoPool
from app.vault import ApiKey, Keyring, PublicKey, VaultError, generate_private_key

Choice = TypeVar("Choice", bound=str)
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
MIN_SECRET_LENGTH = 32
_HOST_PATTERN = re.compile(r"\.?[a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
_DEMO_BASE_URLS_FILE = "demo_places.json"
_MAX_SOCKET_PATH = 100  # the kernel allows 107 bytes for a socket's path
_SECRET_SUFFIXES = ("_API_KEY", "_SECRET", "_TOKEN", "_PASSWORD", "_KEYS", "_KEY")
_MIN_MASKED_PASSWORD = 12
"""Shorter passwords in URLs are not masked in logs: they may be ordinary words, which would become unreadable."""
_IDLE_CONNECTIONS = 5
"""Database connections that a process keeps open between requests; further ones are closed after use."""

LogFormat = Literal["human", "json"]
SignupMode = Literal["open", "invite", "closed"]
SecondFactorPolicy = Literal["off", "admins", "everyone"]


class ConfigError(Exception):
    """A setting is missing, malformed or unsafe. Its text is a sentence that names it."""


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The settings of one process. Private vault keys are not among them: see `load_keyring`."""

    instance: Path
    """MODELSYNC_INSTANCE=./instance: Folder of the SQLite database, the private Redis, generated secrets, logs and
    backups. Installed as a package: `$XDG_DATA_HOME/modelsync`, by default `~/.local/share/modelsync`, where `.env`
    is read from too."""
    database_url: str
    """DATABASE_URL=: `postgresql://user:password@host/name`. Empty: SQLite in the instance folder."""
    redis_url: str
    """REDIS_URL=: `redis://`, `rediss://` or `unix://`; with TLS `rediss://:password@host:6379/0?ssl_ca_certs=/path`.
    Empty: a private Redis that `flask up` starts."""
    production: bool = False
    """APP_ENV=development: `development` generates missing secrets. `production` generates nothing; anything missing
    or weak stops the start."""
    secret_key: str = ""
    """SECRET_KEY=: Signs sessions and encrypts the secrets of two-step sign-in. For the web server."""
    vault_public_key: str = ""
    """VAULT_PUBLIC_KEY=: Encrypts API keys: for the web server. `flask vault new` prints the pair."""
    cron_secret: str = ""
    """CRON_SECRET=: Bearer token of `/api/models/sync/cron`. Empty: the endpoint does not exist."""
    admin_api_key: str = ""
    """ADMIN_API_KEY=: Bearer token of the administration endpoints (`/admin/model-sync/…`, `/models/stats`,
    `/providers/stats`). Empty: admins only."""
    signup: SignupMode = "open"
    """SIGNUP=open: Who can sign up: `open` (everybody), `invite` (`flask users invite EMAIL`) or `closed` (`flask
    users add EMAIL`)."""
    base_urls: Mapping[str, str] = field(default_factory=dict)
    """Provider slug → base URL, from `<SLUG>_BASE_URL`."""
    trusted_proxies: int = 0
    """TRUSTED_PROXIES=0: Number of reverse proxies in front that set `X-Forwarded-For`, `-Proto` and `-Host`."""
    secure_cookies: bool = False
    """SECURE_COOKIES=: Send cookies over HTTPS only: `true` or `false`. Empty: `true` in production."""
    max_streams: int = 200
    """MAX_STREAMS=200: Event streams per web process. Beyond it, pages poll."""
    database_pool_size: int = 15
    """DATABASE_POOL_SIZE=15: Maximum connections to the database per process."""
    log_level: str = "INFO"
    """LOG_LEVEL=INFO: `DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    log_format: LogFormat = "human"
    """LOG_FORMAT=: `human`, or `json` (one object per line). Empty: `json` in production, otherwise `human`."""
    allowed_hosts: tuple[str, ...] = ()
    """ALLOWED_HOSTS=: Host names that people use for this server, separated by commas; `.example.com` covers all names
    below it. Other names get no answer. Required in production; otherwise this machine's names and addresses are
    allowed."""
    allowed_private_networks: tuple[IpNetwork, ...] = ()
    """ALLOWED_PRIVATE_NETWORKS=: Private networks that users' own servers (Ollama, vLLM …) may be in, separated by
    commas, such as `192.168.1.0/24,127.0.0.1/32`."""
    catalog_urls: Mapping[str, str] = field(default_factory=dict)
    """CATALOG_MODELSDEV_URL=: models.dev.
    CATALOG_LITELLM_URL=: LiteLLM's map of models.
    CATALOG_OPENROUTER_URL=: OpenRouter's list.
    CATALOG_AIHUBMIX_URL=: AIHubMix's list."""
    catalog_refresh_hours: int = 24
    """CATALOG_REFRESH_HOURS=24: Hours between refreshes from the public catalogs; `0` turns them off."""
    sync_interval_hours: int = 6
    """MODEL_SYNC_INTERVAL_HOURS=6: Hours between syncs of the server's own keys; `0` turns them off."""
    sync_on_startup: bool = False
    """SYNC_MODELS_ON_STARTUP=false: Also sync them when the scheduler starts."""
    metrics: bool = False
    """METRICS=false: Serve Prometheus metrics at `/metrics`."""
    metrics_token: str = ""
    """METRICS_TOKEN=: Bearer token that scrapers must send, at least 32 characters. Empty: anyone who reaches
    `/metrics` can read it."""
    history_keep_days: int = 730
    """HISTORY_KEEP_DAYS=730: Days to keep finished syncs and old lists; `0` keeps them forever. A key's current list
    is never deleted."""
    session_hours: int = 720
    """SESSION_HOURS=720: Hours after which people have to sign in again. OWASP ASVS level 2 asks for 12."""
    session_idle_minutes: int = 43_200
    """SESSION_IDLE_MINUTES=43200: Minutes after which an unused session ends. OWASP ASVS level 2 asks for 30."""
    require_second_factor: SecondFactorPolicy = "off"
    """REQUIRE_SECOND_FACTOR=off: Who must use two-step sign-in: `off` (nobody), `admins` or `everyone`."""
    public_url: str = ""
    """PUBLIC_URL=: Address of this server in browsers, such as `https://modelsync.example.com`. Needed for email and
    OpenID Connect."""
    mail_from: str = ""
    """MAIL_FROM=: Sender of emails, such as `Modelsync <modelsync@example.com>`. Empty: no emails are sent. Workers
    also need SMTP_URL."""
    oidc: auth_settings.OpenIdProvider | None = None
    demo_url: str = ""
    """MODELSYNC_DEMO_URL, set by `flask up --demo`: base URL of the simulated providers; empty outside of demo mode."""

    @property
    def embedded_redis(self) -> Path | None:
        """Socket of the Redis server that `flask up` starts; None if REDIS_URL names another."""
        return Path(self.redis_url[len("unix://") :]) if self.redis_url == _embedded_redis_url(self.instance) else None


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises ConfigError for the first one that is wrong.

    A process reads only the secrets of its role: `flask up` starts workers and the scheduler with MODELSYNC_ROLE set,
    and these get neither SECRET_KEY nor the bearer tokens of the web.
    """
    production = _read_choice(environ, "APP_ENV", ("development", "production"), "development") == "production"
    is_web = _read_choice(environ, "MODELSYNC_ROLE", ("web", "worker", "scheduler"), "web") == "web"
    instance = instance_folder(environ)
    environ = _apply_demo_base_urls(environ, instance)
    settings = Settings(
        instance=instance,
        production=production,
        database_url=_parse_database_url(
            read_secret(environ, "DATABASE_URL") or f"sqlite:///{instance}/modelsync.sqlite"
        ),
        redis_url=_parse_redis_url(read_secret(environ, "REDIS_URL") or _embedded_redis_url(instance)),
        secret_key=_read_stored_secret(environ, "SECRET_KEY", instance, production) if is_web else "",
        vault_public_key=_read_stored_secret(environ, "VAULT_PUBLIC_KEY", instance, production),
        cron_secret=read_secret(environ, "CRON_SECRET") if is_web else "",
        admin_api_key=read_secret(environ, "ADMIN_API_KEY") if is_web else "",
        signup=_read_choice(environ, "SIGNUP", get_args(SignupMode), "open"),
        base_urls=_read_base_urls(environ),
        trusted_proxies=_read_int(environ, "TRUSTED_PROXIES", 0, 0, 10),
        secure_cookies=_read_flag(environ, "SECURE_COOKIES", production),
        max_streams=_read_int(environ, "MAX_STREAMS", 200, 0, 100_000),
        database_pool_size=_read_int(environ, "DATABASE_POOL_SIZE", 15, 1, 1_000),
        log_level=_read_choice(environ, "LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        log_format=_read_choice(environ, "LOG_FORMAT", get_args(LogFormat), "json" if production else "human"),
        allowed_hosts=_read_hosts(environ),
        allowed_private_networks=_read_networks(environ),
        catalog_urls=_read_catalog_urls(environ),
        catalog_refresh_hours=_read_int(environ, "CATALOG_REFRESH_HOURS", 24, 0, 24 * 365),
        sync_interval_hours=_read_int(environ, "MODEL_SYNC_INTERVAL_HOURS", 6, 0, 24 * 365),
        sync_on_startup=_read_flag(environ, "SYNC_MODELS_ON_STARTUP", False),
        metrics=_read_flag(environ, "METRICS", False),
        metrics_token=read_secret(environ, "METRICS_TOKEN") if is_web else "",
        history_keep_days=_read_int(environ, "HISTORY_KEEP_DAYS", 730, 0, 100_000),
        session_hours=_read_int(environ, "SESSION_HOURS", 720, 1, 24 * 365),
        session_idle_minutes=_read_int(environ, "SESSION_IDLE_MINUTES", 43_200, 10, 43_200),
        require_second_factor=_read_choice(environ, "REQUIRE_SECOND_FACTOR", get_args(SecondFactorPolicy), "off"),
        demo_url=environ.get("MODELSYNC_DEMO_URL", ""),
        **_read_auth_settings(environ, is_web, _read_flag(environ, "SECURE_COOKIES", production)),
    )
    _reject_weak_secrets(settings)
    _check_certificates(environ)
    return settings


def load_keyring(environ: Mapping[str, str] = os.environ) -> Keyring:
    """The private vault keys, for workers and the command line. The web process never calls this.

    Raises ConfigError if VAULT_PRIVATE_KEYS is missing or malformed.
    """
    production = environ.get("APP_ENV") == "production"
    instance = instance_folder(environ)
    written = _read_stored_secret(environ, "VAULT_PRIVATE_KEYS", instance, production)
    if not written:
        raise ConfigError(_missing_message("VAULT_PRIVATE_KEYS"))
    try:
        return Keyring(written)
    except VaultError as error:
        raise ConfigError(str(error)) from None


def load_server_keys(environ: Mapping[str, str] = os.environ) -> dict[str, ApiKey]:
    """Provider slug → the server's own API key, from `<SLUG>_API_KEY`. For workers and the command line."""
    values = {slug: read_secret(environ, provider.key_variable) for slug, provider in PROVIDERS.items()}
    return {slug: ApiKey(clean_key(value).key) for slug, value in values.items() if value}


def load_mail_server(environ: Mapping[str, str] = os.environ) -> auth_settings.MailServer:
    """The SMTP server, for workers. Raises ConfigError if SMTP_URL is missing or malformed."""
    url = read_secret(environ, "SMTP_URL")
    if not url:
        raise ConfigError("MAIL_FROM is set, but SMTP_URL is not: set it or SMTP_URL_FILE where workers run.")
    try:
        return auth_settings.parse_smtp_url(url)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def load_public_key(settings: Settings) -> PublicKey:
    """The key that API keys are sealed with. Raises ConfigError if VAULT_PUBLIC_KEY is missing or malformed."""
    if not settings.vault_public_key:
        raise ConfigError(_missing_message("VAULT_PUBLIC_KEY"))
    try:
        return PublicKey(settings.vault_public_key)
    except VaultError as error:
        raise ConfigError(str(error)) from None


def require_web_secrets(settings: Settings) -> None:
    """Raises ConfigError if a setting is missing that the web process needs."""
    if not settings.secret_key:
        raise ConfigError(_missing_message("SECRET_KEY"))
    load_public_key(settings)
    if settings.production and not settings.allowed_hosts:
        raise ConfigError("ALLOWED_HOSTS is not set: name the hosts that people reach this server by.")


def collect_secrets(settings: Settings, environ: Mapping[str, str] = os.environ) -> list[str]:
    """All secrets that this process may read, to be masked in its logs. Reads none of another role's."""
    values = [settings.secret_key, settings.cron_secret, settings.admin_api_key, settings.metrics_token]
    for name in environ:
        base_name = name.removesuffix("_FILE")
        if base_name.endswith(_SECRET_SUFFIXES) and base_name != "VAULT_PUBLIC_KEY":
            with contextlib.suppress(ConfigError):  # perhaps a file that only another role can read
                values.append(read_secret(environ, base_name))
    if environ.get("MODELSYNC_ROLE") == "worker":
        values.append(_read_stored_secret(environ, "VAULT_PRIVATE_KEYS", settings.instance, settings.production))
    smtp_url = ""
    with contextlib.suppress(ConfigError):
        smtp_url = read_secret(environ, "SMTP_URL")
    for url in (settings.database_url, settings.redis_url, smtp_url):
        parts = auth_settings.split_url(url)
        if parts and len(parts.password or "") >= _MIN_MASKED_PASSWORD:
            values += [parts.password or "", unquote(parts.password or "")]
    return [value for value in values if value]


def make_secrets(environ: Mapping[str, str], instance: Path) -> list[str]:
    """Generate the secrets that the environment lacks, into the instance folder (mode 0700, files 0600).

    Not for production. Returns the names of the generated ones. Raises ConfigError if the folder cannot be written.
    """
    names = []
    try:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        instance.chmod(0o700)
        if not _read_stored_secret(environ, "SECRET_KEY", instance, production=False):
            _write_private_file(instance, "SECRET_KEY", secrets.token_urlsafe(48))
            names.append("SECRET_KEY")
        if not read_secret(environ, "VAULT_PUBLIC_KEY"):
            private = _read_stored_secret(environ, "VAULT_PRIVATE_KEYS", instance, production=False)
            if not private:
                private = generate_private_key()
                _write_private_file(instance, "VAULT_PRIVATE_KEYS", private)
                names.append("VAULT_PRIVATE_KEYS")
            _write_private_file(instance, "VAULT_PUBLIC_KEY", Keyring(private).public)
    except OSError as error:
        raise ConfigError(
            f"The folder {instance} cannot be written ({error.strerror}): "
            "make it writable or name another one in MODELSYNC_INSTANCE."
        ) from None
    except VaultError as error:
        raise ConfigError(str(error)) from None
    return names


def read_secret(environ: Mapping[str, str], name: str) -> str:
    """`NAME`, or the content of the file that `NAME_FILE` names; empty if neither is set.

    Raises ConfigError if the file cannot be read.
    """
    if environ.get(name):
        return environ[name].strip()
    path = environ.get(f"{name}_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{name}_FILE names {path}, which cannot be read.") from None


def secret_path(instance: Path, name: str) -> Path:
    return instance / name.lower()


def save_demo_base_urls(instance: Path, base_urls: Mapping[str, str]) -> None:
    """Save the simulated providers' addresses, so that shell commands in a demo never contact the real ones."""
    _write_private_file(instance, _DEMO_BASE_URLS_FILE, json.dumps(dict(base_urls)))


def _apply_demo_base_urls(environ: Mapping[str, str], instance: Path) -> Mapping[str, str]:
    try:
        return {**environ, **json.loads(secret_path(instance, _DEMO_BASE_URLS_FILE).read_text(encoding="utf-8"))}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return environ  # in production the folder may belong to another role; a demo has only one user


def _read_stored_secret(environ: Mapping[str, str], name: str, instance: Path, production: bool) -> str:
    if value := read_secret(environ, name):
        return value
    path = secret_path(instance, name)
    if production:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError:
        raise ConfigError(f"{path} cannot be read: run as the user who owns it.") from None


def _write_private_file(instance: Path, name: str, value: str) -> None:
    path = secret_path(instance, name)
    with tempfile.NamedTemporaryFile("w", dir=instance, delete=False) as file:  # has mode 0600
        file.write(value + "\n")
    os.replace(file.name, path)


def _reject_weak_secrets(settings: Settings) -> None:
    secrets_by_name = {
        "SECRET_KEY": settings.secret_key,
        "CRON_SECRET": settings.cron_secret,
        "ADMIN_API_KEY": settings.admin_api_key,
        "METRICS_TOKEN": settings.metrics_token,
    }
    for name, value in secrets_by_name.items():
        if value and len(value) < MIN_SECRET_LENGTH:
            raise ConfigError(
                f"{name} is too short: give it at least {MIN_SECRET_LENGTH} random characters, "
                "for instance from `openssl rand -hex 32`."
            )
    if settings.vault_public_key:
        load_public_key(settings)


def _missing_message(name: str) -> str:
    pair = " (`flask vault new` prints the pair of vault keys)" if name.startswith("VAULT") else ""
    return f"{name} is not set: set it or {name}_FILE{pair}; outside production `flask up` makes it."


def _parse_database_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigError("DATABASE_URL is no address: use postgresql://user:password@host/name or sqlite:///path.")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"
    if scheme == "sqlite":
        return url
    raise ConfigError(f"DATABASE_URL begins with {scheme}://, but only postgresql:// and sqlite:/// are supported.")


def _parse_redis_url(url: str) -> str:
    """The validated URL, unchanged. Errors repeat no part of it except file names, it may hold a password."""
    parts = auth_settings.split_url(url)
    if parts is None:
        raise ConfigError(
            "REDIS_URL cannot be read: it is like rediss://:password@host:6379/0, "
            "and in the password %, /, #, ?, @ and : are written as %25, %2F, %23, %3F, %40 and %3A."
        )
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigError("REDIS_URL must begin with redis://, rediss:// or unix://.")
    if parts.scheme != "unix" and not (parts.path.strip("/").isascii() and f"0{parts.path.strip('/')}".isdigit()):
        raise ConfigError("REDIS_URL must end with the number of a database, such as /0, or with none.")
    for name, (path, *_) in parse_qs(parts.query).items():
        if name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") and not os.access(path, os.R_OK):
            raise ConfigError(f"REDIS_URL names a file as {name} that cannot be read: {path}.")
    try:
        redis.ConnectionPool.from_url(url).make_connection()  # parses all options, does not connect
    except (TypeError, ValueError, redis.RedisError):
        raise ConfigError(
            "REDIS_URL has an option after its ? that cannot be: for TLS begin with rediss:// "
            "and name the authority's certificate by ?ssl_ca_certs=/path."
        ) from None
    return url


def _embedded_redis_url(instance: Path) -> str:
    socket = instance / "redis.sock"
    if len(str(socket)) > _MAX_SOCKET_PATH:
        # Too long for a socket address: use the temporary folder, with a name that is unique to the instance.
        name = hashlib.sha256(str(instance).encode()).hexdigest()[:16]
        socket = Path(tempfile.gettempdir()) / f"modelsync-{os.getuid()}-{name}" / "redis.sock"
    return f"unix://{socket}"


def _rate_limit_url(redis_url: str) -> str:
    return f"redis+{redis_url}" if redis_url.startswith("unix://") else redis_url


def _check_certificates(environ: Mapping[str, str]) -> None:
    """Raises ConfigError if SSL_CERT_FILE holds no certificates: every sync would fail."""
    if file := environ.get("SSL_CERT_FILE"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        except (OSError, ValueError):  # including ssl.SSLError
            raise ConfigError(f"SSL_CERT_FILE is {file!r}: name a PEM file of certificates that can be read.") from None


def _read_base_urls(environ: Mapping[str, str]) -> dict[str, str]:
    urls = {}
    variables = {slug: provider.base_url_variable for slug, provider in PROVIDERS.items()}
    # "google-oauth" is not a provider: keys of service accounts are exchanged for tokens there.
    for slug, name in {**variables, "google-oauth": "GOOGLE_OAUTH_BASE_URL"}.items():
        if url := environ.get(name, "").strip():
            parts = auth_settings.split_url(url)
            if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
                raise ConfigError(f"{name} must be an http:// or https:// address.")
            if "@" in parts.netloc or parts.query or parts.fragment:
                raise ConfigError(f"{name} must be an address without a user name, a query or a fragment.")
            urls[slug] = url.rstrip("/")
    return urls


def _read_catalog_urls(environ: Mapping[str, str]) -> dict[str, str]:
    urls = {
        "modelsdev": _read_catalog_url(environ, "CATALOG_MODELSDEV_URL"),
        "litellm": _read_catalog_url(environ, "CATALOG_LITELLM_URL"),
        "openrouter": _read_catalog_url(environ, "CATALOG_OPENROUTER_URL"),
        "aihubmix": _read_catalog_url(environ, "CATALOG_AIHUBMIX_URL"),
    }
    return {source: url for source, url in urls.items() if url}


def _read_catalog_url(environ: Mapping[str, str], name: str) -> str:
    """An HTTP URL, or an absolute file path. Relative paths start at the project folder or the user's data folder."""
    url = environ.get(name, "").strip()
    if not url or url.startswith(("http://", "https://")):
        parts = auth_settings.split_url(url)
        if parts is None or (url and not parts.hostname) or "@" in parts.netloc or parts.fragment:
            raise ConfigError(f"{name} must be an address without a user name or a fragment, or the path of a file.")
        return url
    path = unquote(url.removeprefix("file://")) if url.startswith("file:") else url
    if "://" in path or (url.startswith("file:") and not path.startswith("/")):
        raise ConfigError(f"{name} must be an http:// or https:// address, a file:///path or the path of a file.")
    return str((base_folder(environ) / Path(path).expanduser()).resolve())


def _read_networks(environ: Mapping[str, str]) -> tuple[IpNetwork, ...]:
    value = environ.get("ALLOWED_PRIVATE_NETWORKS", "")
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        raise ConfigError(
            f"ALLOWED_PRIVATE_NETWORKS is {value!r}: use networks with commas between, such as 192.168.1.0/24."
        ) from None


def _read_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    value = environ.get("ALLOWED_HOSTS", "")
    hosts = tuple(part.strip().lower() for part in value.split(",") if part.strip())
    if not all(_HOST_PATTERN.fullmatch(host) for host in hosts):
        raise ConfigError(
            f"ALLOWED_HOSTS is {value!r}: use names with commas between, without scheme or port, such as "
            "modelsync.example.com; .example.com stands for all names below it."
        )
    return hosts


def _read_auth_settings(environ: Mapping[str, str], is_web: bool, is_secure: bool) -> dict[str, Any]:
    """Fields of `Settings` that `auth.settings` reads. Only the web gets the OpenID Connect client secret."""
    is_open = _read_choice(environ, "SIGNUP", get_args(SignupMode), "open") == "open"
    try:
        public_url = auth_settings.read_public_url(environ, is_secure)
        return {
            "public_url": public_url,
            "mail_from": auth_settings.read_mail_from(environ, public_url),
            "oidc": auth_settings.load_openid_provider(environ, read_secret, public_url, is_open) if is_web else None,
        }
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _read_choice(environ: Mapping[str, str], name: str, allowed: tuple[str, ...], default: Choice) -> Choice:
    value = environ.get(name) or default
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}: use {', '.join(allowed[:-1])} or {allowed[-1]}.")
    return cast("Choice", value)


def _read_int(environ: Mapping[str, str], name: str, default: int, minimum: int, maximum: int) -> int:
    value = environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) <= 9) or not minimum <= int(value) <= maximum:
        raise ConfigError(f"{name} is {value!r}: use a whole number from {minimum} to {maximum}.")
    return int(value)


def _read_flag(environ: Mapping[str, str], name: str, default: bool) -> bool:
    try:
        return auth_settings.parse_flag(name, environ.get(name, ""), default)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def flask_config(settings: Settings) -> dict[str, object]:
    """The settings under the names that Flask and its extensions use."""
    return {
        "SETTINGS": settings,
        "SECRET_KEY": settings.secret_key or None,
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        # Bound parameters may contain what a user typed: keep them out of exceptions, and so out of the log.
        "SQLALCHEMY_ENGINE_OPTIONS": {"hide_parameters": True, "pool_pre_ping": True, **_pool_options(settings)},
        "SESSION_COOKIE_NAME": "__Host-session" if settings.secure_cookies else "session",
        "SESSION_COOKIE_PATH": "/",
        "SESSION_COOKIE_SECURE": settings.secure_cookies,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        # Flask-Login's cookie is never set; should that change, it is as strict as the session's.
        "REMEMBER_COOKIE_NAME": "__Host-remember" if settings.secure_cookies else "remember",
        "REMEMBER_COOKIE_SECURE": settings.secure_cookies,
        "REMEMBER_COOKIE_HTTPONLY": True,
        "REMEMBER_COOKIE_SAMESITE": "Lax",
        "REMEMBER_COOKIE_DURATION": timedelta(days=0),
        "PERMANENT_SESSION_LIFETIME": timedelta(minutes=settings.session_idle_minutes),
        "SESSION_REFRESH_EACH_REQUEST": False,  # refreshed when a visit is recorded: see `web.app.errors`
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "MAX_FORM_MEMORY_SIZE": 256 * 1024,
        "WTF_CSRF_TIME_LIMIT": None,
        "RATELIMIT_STORAGE_URI": _rate_limit_url(settings.redis_url),
        "RATELIMIT_STORAGE_OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.7},
        "RATELIMIT_IN_MEMORY_FALLBACK_ENABLED": True,
        "RATELIMIT_KEY_PREFIX": "modelsync",
        "SEND_FILE_MAX_AGE_DEFAULT": timedelta(hours=1),
    }


def _pool_options(settings: Settings) -> dict[str, object]:
    """Connections are held briefly, so a few serve many requests; a request that gets none in time fails with 503."""
    idle = min(settings.database_pool_size, _IDLE_CONNECTIONS)
    size = {"pool_size": idle, "max_overflow": settings.database_pool_size - idle}
    return {"poolclass": FifoPool, "pool_timeout": 10, **size}


def current() -> Settings:
    """The settings of the current app."""
    settings = current_app.config["SETTINGS"]
    if not isinstance(settings, Settings):
        raise TypeError("the app was created without settings")
    return settings

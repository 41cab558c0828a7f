"""Settings: read from the environment once, frozen, and loud about what is missing or unsafe.

Secrets come as `NAME`, as `NAME_FILE` (a path), or, outside production, from the git-ignored instance folder
where `flask up` puts the ones it makes. There is no default secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis
from flask import current_app

from app.auth import settings as auth_settings
from app.providers import PROVIDERS
from app.store.engine.fifo_pool import FifoPool
from app.vault import ApiKey, Keyring, PublicKey, VaultError, generate_private_key

ROOT = Path(__file__).resolve().parent.parent
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
MIN_SECRET_LENGTH = 32
_HOST_PATTERN = re.compile(r"\.?[a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
_DEMO_BASE_URLS_FILE = "demo_places.json"
_MAX_SOCKET_PATH = 100  # the kernel allows 107 bytes for a socket's path
_SECRET_SUFFIXES = ("_API_KEY", "_SECRET", "_TOKEN", "_PASSWORD", "_KEYS", "_KEY")
_MIN_MASKED_PASSWORD = 12
_IDLE_CONNECTIONS = 5  # connections a process keeps for the next request; what it opens beyond them it closes again

SignupMode = Literal["open", "invite", "closed"]
SecondFactorPolicy = Literal["off", "admins", "everyone"]


class ConfigError(Exception):
    """A setting is missing, malformed or unsafe. Its text is a sentence that names it."""


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Everything a process needs to know. It never holds a private vault key: see `open_vault`."""

    instance: Path
    database_url: str
    redis_url: str
    production: bool = False
    secret_key: str = ""
    vault_public_key: str = ""
    cron_secret: str = ""
    admin_api_key: str = ""
    """Opens the admin's endpoints to programs; empty: only admins themselves pass."""
    signup: SignupMode = "open"
    base_urls: Mapping[str, str] = field(default_factory=dict)
    """Provider slug → base URL that takes the place of the provider's own."""
    trusted_proxies: int = 0
    secure_cookies: bool = False
    max_streams: int = 200
    """Event streams one web process holds; beyond it the page polls."""
    database_pool_size: int = 15
    """Connections to the database that one process opens at most."""
    log_level: str = "INFO"
    log_format: Literal["human", "json"] = "human"
    allowed_hosts: tuple[str, ...] = ()
    """Names that the web answers to, besides this machine's own; `.example.com` stands for all below it."""
    allowed_private_networks: tuple[IpNetwork, ...] = ()
    """Private networks that users' own addresses may lead into, such as a LAN with an Ollama server."""
    catalog_urls: Mapping[str, str] = field(default_factory=dict)
    """Public catalog → address, or path of a file, that takes the place of its own."""
    catalog_refresh_hours: int = 24
    """How often the public catalogs are asked; 0: never by themselves."""
    sync_interval_hours: int = 6
    """How often the server's own keys are synced; 0: never by themselves."""
    sync_on_startup: bool = False
    """Whether the scheduler has them synced as it starts."""
    metrics: bool = False
    """Whether `/metrics` is there."""
    metrics_token: str = ""
    """What a scraper must send as its bearer; empty: nothing."""
    history_keep_days: int = 730
    """How long runs and old lists are kept; 0 for ever."""
    session_hours: int = 720
    """So long after signing in one has to do it again."""
    session_idle_minutes: int = 43_200
    """A session that is not used for so long is over."""
    require_second_factor: SecondFactorPolicy = "off"
    """Who has to have a second factor; nobody, unless set."""
    public_url: str = ""
    """This server's address as browsers have it, without a slash at the end; links in letters begin so."""
    mail_from: str = ""
    """The sender of letters; empty: none are sent. Only workers know how, see `mail_server`."""
    oidc: auth_settings.OpenIdProvider | None = None
    demo_url: str = ""
    """Where the simulated providers listen; empty outside demo mode."""

    @property
    def embedded_redis(self) -> Path | None:
        """Socket of the Redis that `flask up` starts, None where REDIS_URL names another."""
        return Path(self.redis_url[len("unix://") :]) if self.redis_url == _embedded_redis_url(self.instance) else None


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises ConfigError with one sentence for the first thing that is wrong.

    A process reads the secrets of its role only: `flask up` starts workers and the scheduler with
    MODELSYNC_ROLE set, and they hold neither the session secret nor the cron's.
    """
    production = _read_choice(environ, "APP_ENV", ("development", "production"), "development") == "production"
    signs = _read_choice(environ, "MODELSYNC_ROLE", ("web", "worker", "scheduler"), "web") == "web"
    instance = _instance_path(environ)
    environ = _apply_demo_base_urls(environ, instance)
    settings = Settings(
        instance=instance,
        production=production,
        database_url=_parse_database_url(
            read_secret(environ, "DATABASE_URL") or f"sqlite:///{instance}/modelsync.sqlite"
        ),
        redis_url=_parse_redis_url(read_secret(environ, "REDIS_URL") or _embedded_redis_url(instance)),
        secret_key=_read_stored_secret(environ, "SECRET_KEY", instance, production) if signs else "",
        vault_public_key=_read_stored_secret(environ, "VAULT_PUBLIC_KEY", instance, production),
        cron_secret=read_secret(environ, "CRON_SECRET") if signs else "",
        admin_api_key=read_secret(environ, "ADMIN_API_KEY") if signs else "",
        signup=_read_signup_mode(environ),
        base_urls=_read_base_urls(environ),
        trusted_proxies=_read_int(environ, "TRUSTED_PROXIES", 0, 0, 10),
        secure_cookies=_read_flag(environ, "SECURE_COOKIES", production),
        max_streams=_read_int(environ, "MAX_STREAMS", 200, 0, 100_000),
        database_pool_size=_read_int(environ, "DATABASE_POOL_SIZE", 15, 1, 1_000),
        log_level=_read_choice(environ, "LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        log_format=_read_log_format(environ, production),
        allowed_hosts=_read_hosts(environ),
        allowed_private_networks=_read_networks(environ),
        catalog_urls=_read_catalog_urls(environ),
        catalog_refresh_hours=_read_int(environ, "CATALOG_REFRESH_HOURS", 24, 0, 24 * 365),
        sync_interval_hours=_read_int(environ, "MODEL_SYNC_INTERVAL_HOURS", 6, 0, 24 * 365),
        sync_on_startup=_read_flag(environ, "SYNC_MODELS_ON_STARTUP", False),
        metrics=_read_flag(environ, "METRICS", False),
        metrics_token=read_secret(environ, "METRICS_TOKEN") if signs else "",
        history_keep_days=_read_int(environ, "HISTORY_KEEP_DAYS", 730, 0, 100_000),
        session_hours=_read_int(environ, "SESSION_HOURS", 720, 1, 24 * 365),
        session_idle_minutes=_read_int(environ, "SESSION_IDLE_MINUTES", 43_200, 10, 43_200),
        require_second_factor=_read_second_factor_policy(environ),
        demo_url=environ.get("MODELSYNC_DEMO_URL", ""),
        **_read_auth_settings(environ, signs, _read_flag(environ, "SECURE_COOKIES", production)),
    )
    _reject_weak_secrets(settings)
    return settings


def load_keyring(environ: Mapping[str, str] = os.environ) -> Keyring:
    """The private vault keys, for workers and the command line; the web process never calls this.

    Raises ConfigError if they are missing or malformed, or if the public key in use is not theirs.
    """
    production = environ.get("APP_ENV") == "production"
    instance = _instance_path(environ)
    written = _read_stored_secret(environ, "VAULT_PRIVATE_KEYS", instance, production)
    if not written:
        raise ConfigError(_missing_message("VAULT_PRIVATE_KEYS"))
    try:
        return Keyring(written)
    except VaultError as error:
        raise ConfigError(str(error)) from None


def load_server_keys(environ: Mapping[str, str] = os.environ) -> dict[str, ApiKey]:
    """Provider → the server's own API key, `<SLUG>_API_KEY`: for workers and the command line, never for the web."""
    named = {slug: read_secret(environ, f"{provider.variable}_API_KEY") for slug, provider in PROVIDERS.items()}
    return {slug: ApiKey(value) for slug, value in named.items() if value}


def load_mail_server(environ: Mapping[str, str] = os.environ) -> auth_settings.MailServer:
    """Where workers hand letters in. Raises ConfigError if SMTP_URL is missing or malformed."""
    url = read_secret(environ, "SMTP_URL")
    if not url:
        raise ConfigError("MAIL_FROM is set, but SMTP_URL is not: set it or SMTP_URL_FILE where workers run.")
    try:
        return auth_settings.parse_smtp_url(url)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def load_public_key(settings: Settings) -> PublicKey:
    """What the web process seals with. Raises ConfigError if VAULT_PUBLIC_KEY is missing or malformed."""
    if not settings.vault_public_key:
        raise ConfigError(_missing_message("VAULT_PUBLIC_KEY"))
    try:
        return PublicKey(settings.vault_public_key)
    except VaultError as error:
        raise ConfigError(str(error)) from None


def require_web_secrets(settings: Settings) -> None:
    """Raises ConfigError unless the web process has what it needs."""
    if not settings.secret_key:
        raise ConfigError(_missing_message("SECRET_KEY"))
    load_public_key(settings)
    if settings.production and not settings.allowed_hosts:
        raise ConfigError("ALLOWED_HOSTS is not set: name the hosts that people reach this server by.")


def collect_secrets(settings: Settings, environ: Mapping[str, str] = os.environ) -> list[str]:
    """All secrets that this process was given, for its logs to hide; none of another role's is read for it."""
    given = [settings.secret_key, settings.cron_secret, settings.admin_api_key, settings.metrics_token]
    for name in environ:
        bare = name.removesuffix("_FILE")
        if bare.endswith(_SECRET_SUFFIXES) and bare != "VAULT_PUBLIC_KEY":
            with contextlib.suppress(ConfigError):  # somebody else's file, perhaps
                given.append(read_secret(environ, bare))
    if environ.get("MODELSYNC_ROLE") == "worker":
        given.append(_read_stored_secret(environ, "VAULT_PRIVATE_KEYS", settings.instance, settings.production))
    mail = ""
    with contextlib.suppress(ConfigError):
        mail = read_secret(environ, "SMTP_URL")
    for url in (settings.database_url, settings.redis_url, mail):
        parts = _split_url(url)
        # A shorter password may be a plain word, which then could not be read anywhere in the log.
        if parts and len(parts.password or "") >= _MIN_MASKED_PASSWORD:
            given += [parts.password or "", unquote(parts.password or "")]
    return [value for value in given if value]


def make_secrets(environ: Mapping[str, str], instance: Path) -> list[str]:
    """Generate what the environment does not give into the instance folder (0700, files 0600).

    Never in production. Returns the names of what was made. Raises ConfigError if the folder cannot be written.
    """
    made = []
    try:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        instance.chmod(0o700)
        if not _read_stored_secret(environ, "SECRET_KEY", instance, production=False):
            _write_private_file(instance, "SECRET_KEY", secrets.token_urlsafe(48))
            made.append("SECRET_KEY")
        if not read_secret(environ, "VAULT_PUBLIC_KEY"):
            private = _read_stored_secret(environ, "VAULT_PRIVATE_KEYS", instance, production=False)
            if not private:
                private = generate_private_key()
                _write_private_file(instance, "VAULT_PRIVATE_KEYS", private)
                made.append("VAULT_PRIVATE_KEYS")
            _write_private_file(instance, "VAULT_PUBLIC_KEY", Keyring(private).public)
    except OSError as error:
        raise ConfigError(
            f"The folder {instance} cannot be written ({error.strerror}): "
            "make it writable or name another one in MODELSYNC_INSTANCE."
        ) from None
    except VaultError as error:
        raise ConfigError(str(error)) from None
    return made


def read_secret(environ: Mapping[str, str], name: str) -> str:
    """`NAME`, or the content of the file that `NAME_FILE` names. Raises ConfigError if it cannot be read."""
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
    """Note where a demo's simulated providers are, so that no command of the shell asks the real ones."""
    _write_private_file(instance, _DEMO_BASE_URLS_FILE, json.dumps(dict(base_urls)))


def _apply_demo_base_urls(environ: Mapping[str, str], instance: Path) -> Mapping[str, str]:
    try:
        return {**environ, **json.loads(secret_path(instance, _DEMO_BASE_URLS_FILE).read_text(encoding="utf-8"))}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return environ  # in production the folder may be another role's; a demo is its user's alone


def _instance_path(environ: Mapping[str, str]) -> Path:
    """The instance folder; a relative one is meant from the project's folder, wherever a command is typed."""
    return (ROOT / (environ.get("MODELSYNC_INSTANCE") or "instance")).resolve()


def _read_stored_secret(environ: Mapping[str, str], name: str, instance: Path, production: bool) -> str:
    if given := read_secret(environ, name):
        return given
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
    with tempfile.NamedTemporaryFile("w", dir=instance, delete=False) as file:  # made with mode 0600
        file.write(value + "\n")
    os.replace(file.name, path)


def _reject_weak_secrets(settings: Settings) -> None:
    given = {
        "SECRET_KEY": settings.secret_key,
        "CRON_SECRET": settings.cron_secret,
        "ADMIN_API_KEY": settings.admin_api_key,
        "METRICS_TOKEN": settings.metrics_token,
    }
    for name, value in given.items():
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
    """The address as it was given, with its query: all who connect to Redis read it themselves.

    What is wrong is named, but nothing of the address: it may hold a password.
    """
    parts = _split_url(url)
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
        redis.ConnectionPool.from_url(url).make_connection()  # reads all options, connects to nobody
    except (TypeError, ValueError, redis.RedisError):
        raise ConfigError(
            "REDIS_URL has an option after its ? that cannot be: for TLS begin with rediss:// "
            "and name the authority's certificate by ?ssl_ca_certs=/path."
        ) from None
    return url


def _split_url(url: str) -> SplitResult | None:
    """The parts of an address, None if it or its port cannot be read."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _embedded_redis_url(instance: Path) -> str:
    socket = instance / "redis.sock"
    if len(str(socket)) > _MAX_SOCKET_PATH:
        # Deep folders do not fit into a socket's address; the name keeps instances apart.
        name = hashlib.sha256(str(instance).encode()).hexdigest()[:16]
        socket = Path(tempfile.gettempdir()) / f"modelsync-{os.getuid()}-{name}" / "redis.sock"
    return f"unix://{socket}"


def _rate_limit_url(redis_url: str) -> str:
    return f"redis+{redis_url}" if redis_url.startswith("unix://") else redis_url


def _read_base_urls(environ: Mapping[str, str]) -> dict[str, str]:
    urls = {}
    # The last is where a service account's key is exchanged for a token.
    named = {slug: f"{provider.variable}_BASE_URL" for slug, provider in PROVIDERS.items()}
    for slug, name in {**named, "google-oauth": "GOOGLE_OAUTH_BASE_URL"}.items():
        if url := environ.get(name, "").strip():
            parts = _split_url(url)
            if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
                raise ConfigError(f"{name} must be an http:// or https:// address.")
            if "@" in parts.netloc or parts.query or parts.fragment:
                raise ConfigError(f"{name} must be an address without a user name, a query or a fragment.")
            urls[slug] = url.rstrip("/")
    return urls


def _read_catalog_urls(environ: Mapping[str, str]) -> dict[str, str]:
    named = {
        "modelsdev": _read_catalog_url(environ, "CATALOG_MODELSDEV_URL"),
        "litellm": _read_catalog_url(environ, "CATALOG_LITELLM_URL"),
        "openrouter": _read_catalog_url(environ, "CATALOG_OPENROUTER_URL"),
        "aihubmix": _read_catalog_url(environ, "CATALOG_AIHUBMIX_URL"),
    }
    return {name: url for name, url in named.items() if url}


def _read_catalog_url(environ: Mapping[str, str], name: str) -> str:
    """An http address, or the path of a file, made absolute from the project's folder."""
    url = environ.get(name, "").strip()
    if not url or url.startswith(("http://", "https://")):
        parts = _split_url(url)
        if parts is None or (url and not parts.hostname) or "@" in parts.netloc or parts.fragment:
            raise ConfigError(f"{name} must be an address without a user name or a fragment, or the path of a file.")
        return url
    path = unquote(url.removeprefix("file://")) if url.startswith("file:") else url
    if "://" in path or (url.startswith("file:") and not path.startswith("/")):
        raise ConfigError(f"{name} must be an http:// or https:// address, a file:///path or the path of a file.")
    return str((ROOT / Path(path).expanduser()).resolve())


def _read_networks(environ: Mapping[str, str]) -> tuple[IpNetwork, ...]:
    value = environ.get("ALLOWED_PRIVATE_NETWORKS", "")
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        raise ConfigError(
            f"ALLOWED_PRIVATE_NETWORKS is {value!r}: use networks with commas between, such as 192.168.1.0/24."
        ) from None


def _read_log_format(environ: Mapping[str, str], production: bool) -> Literal["human", "json"]:
    default = "json" if production else "human"
    return cast("Literal['human', 'json']", _read_choice(environ, "LOG_FORMAT", ("human", "json"), default))


def _read_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    given = environ.get("ALLOWED_HOSTS", "")
    hosts = tuple(part.strip().lower() for part in given.split(",") if part.strip())
    if not all(_HOST_PATTERN.fullmatch(host) for host in hosts):
        raise ConfigError(
            f"ALLOWED_HOSTS is {given!r}: use names with commas between, without scheme or port, such as "
            "modelsync.example.com; .example.com stands for all names below it."
        )
    return hosts


def _read_auth_settings(environ: Mapping[str, str], signs: bool, is_secure: bool) -> dict[str, Any]:
    """What of `Settings` says who may come in. Only the web is told the client secret of OpenID Connect."""
    try:
        public_url = auth_settings.read_public_url(environ, is_secure)
        return {
            "public_url": public_url,
            "mail_from": auth_settings.read_mail_from(environ, public_url),
            "oidc": auth_settings.load_openid_provider(
                environ, read_secret, public_url, _read_signup_mode(environ) == "open"
            )
            if signs
            else None,
        }
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _read_second_factor_policy(environ: Mapping[str, str]) -> SecondFactorPolicy:
    return cast(
        "SecondFactorPolicy", _read_choice(environ, "REQUIRE_SECOND_FACTOR", get_args(SecondFactorPolicy), "off")
    )


def _read_signup_mode(environ: Mapping[str, str]) -> SignupMode:
    return cast("SignupMode", _read_choice(environ, "SIGNUP", get_args(SignupMode), "open"))


def _read_choice(environ: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = environ.get(name) or default
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}: use {', '.join(allowed[:-1])} or {allowed[-1]}.")
    return value


def _read_int(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    value = environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) <= 9) or not least <= int(value) <= most:
        raise ConfigError(f"{name} is {value!r}: use a whole number from {least} to {most}.")
    return int(value)


def _read_flag(environ: Mapping[str, str], name: str, default: bool) -> bool:
    value = (environ.get(name) or str(default)).lower()
    if value not in ("true", "false", "1", "0"):
        raise ConfigError(f"{name} is {value!r}: use true or false.")
    return value in ("true", "1")


def flask_config(settings: Settings) -> dict[str, object]:
    """The settings in the names of Flask and its extensions."""
    return {
        "SETTINGS": settings,
        "SECRET_KEY": settings.secret_key or None,
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        # Parameters may hold what a person typed: an error's text, and so the log, goes without them.
        "SQLALCHEMY_ENGINE_OPTIONS": {"hide_parameters": True, "pool_pre_ping": True, **_pool_options(settings)},
        "SESSION_COOKIE_NAME": "__Host-session" if settings.secure_cookies else "session",
        "SESSION_COOKIE_PATH": "/",
        "SESSION_COOKIE_SECURE": settings.secure_cookies,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        # Nothing sets it; if anything ever does, it is no weaker than the session's.
        "REMEMBER_COOKIE_NAME": "__Host-remember" if settings.secure_cookies else "remember",
        "REMEMBER_COOKIE_SECURE": settings.secure_cookies,
        "REMEMBER_COOKIE_HTTPONLY": True,
        "REMEMBER_COOKIE_SAMESITE": "Lax",
        "REMEMBER_COOKIE_DURATION": timedelta(days=0),
        "PERMANENT_SESSION_LIFETIME": timedelta(minutes=settings.session_idle_minutes),
        "SESSION_REFRESH_EACH_REQUEST": False,  # but as its use is noted: see `web.doors`
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
    """Connections are held for moments, so few serve many; whoever gets none soon is told so (see `web.doors`)."""
    kept = min(settings.database_pool_size, _IDLE_CONNECTIONS)
    size = {"pool_size": kept, "max_overflow": settings.database_pool_size - kept}
    return {"poolclass": FifoPool, "pool_timeout": 10, **size}


def current() -> Settings:
    """The settings of the app that is running."""
    settings = current_app.config["SETTINGS"]
    if not isinstance(settings, Settings):
        raise TypeError("the app was made without settings")
    return settings

"""Settings: valid and invalid values of every variable, and error sentences that name the variable."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest

from app import config
from app.config import ConfigError, Settings, load, load_keyring, make_secrets, require_web_secrets, secret_path
from app.vault import Keyring, generate_private_key

PRIVATE = generate_private_key()
PUBLIC = Keyring(PRIVATE).public
LONG = "a secret of more than thirty-two characters"


def load_with(tmp_path: Path, **environ: str) -> Settings:
    return load({"MODELSYNC_INSTANCE": str(tmp_path), **environ})


def error_for(tmp_path: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_with(tmp_path, **environ)
    sentence = str(error.value)
    assert sentence.endswith(".")
    return sentence


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ------------------------------------------------------------------ plain variables


def test_an_empty_environment_has_working_defaults(tmp_path: Path) -> None:
    settings = load_with(tmp_path)
    assert settings == Settings(
        instance=tmp_path,
        database_url=f"sqlite:///{tmp_path}/modelsync.sqlite",
        redis_url=f"unix://{settings.embedded_redis}",
    )
    assert settings.embedded_redis is not None


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("SIGNUP", "invite", "signup", "invite"),
        ("SIGNUP", "closed", "signup", "closed"),
        ("SIGNUP", "", "signup", "open"),
        ("TRUSTED_PROXIES", "2", "trusted_proxies", 2),
        ("MAX_STREAMS", "0", "max_streams", 0),
        ("LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
        ("SECURE_COOKIES", "true", "secure_cookies", True),
        ("SECURE_COOKIES", "0", "secure_cookies", False),
        ("MODELSYNC_DEMO_URL", "http://127.0.0.1:9", "demo_url", "http://127.0.0.1:9"),
        ("SECRET_KEY", LONG, "secret_key", LONG),
        ("CRON_SECRET", f" {LONG}\n", "cron_secret", LONG),
        ("METRICS", "true", "metrics", True),
        ("METRICS_TOKEN", LONG, "metrics_token", LONG),
        ("ADMIN_API_KEY", LONG, "admin_api_key", LONG),
        ("VAULT_PUBLIC_KEY", PUBLIC, "vault_public_key", PUBLIC),
        ("DATABASE_URL", "postgres://u:p@h/n", "database_url", "postgresql+psycopg://u:p@h/n"),
        ("DATABASE_URL", "postgresql://h/n", "database_url", "postgresql+psycopg://h/n"),
        ("DATABASE_URL", "postgresql+psycopg://h/n", "database_url", "postgresql+psycopg://h/n"),
        ("DATABASE_URL", "sqlite:////srv/x.sqlite", "database_url", "sqlite:////srv/x.sqlite"),
        ("REDIS_URL", "rediss://h:6380/1", "redis_url", "rediss://h:6380/1"),
        ("REDIS_URL", "unix:///run/redis.sock", "redis_url", "unix:///run/redis.sock"),
        ("CATALOG_REFRESH_HOURS", "0", "catalog_refresh_hours", 0),
        (
            "CATALOG_LITELLM_URL",
            "https://mirror.test/m.json?ref=1",
            "catalog_urls",
            {"litellm": "https://mirror.test/m.json?ref=1"},
        ),
        ("CATALOG_AIHUBMIX_URL", "/srv/a b.json", "catalog_urls", {"aihubmix": "/srv/a b.json"}),
        ("CATALOG_MODELSDEV_URL", "file:///srv/a%20b.json", "catalog_urls", {"modelsdev": "/srv/a b.json"}),
        ("CATALOG_OPENROUTER_URL", "or.json", "catalog_urls", {"openrouter": str(config.ROOT / "or.json")}),
    ],
)
def test_a_valid_value_is_read(tmp_path: Path, name: str, value: str, field: str, expected: object) -> None:
    assert getattr(load_with(tmp_path, **{name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ENV", "prod"),
        ("MODELSYNC_ROLE", "boss"),
        ("SIGNUP", "Open"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "11"),
        ("TRUSTED_PROXIES", "two"),
        ("TRUSTED_PROXIES", "²"),
        ("TRUSTED_PROXIES", "9" * 5_000),
        ("MAX_STREAMS", "1.5"),
        ("DATABASE_POOL_SIZE", "0"),
        ("LOG_LEVEL", "loud"),
        ("SECURE_COOKIES", "maybe"),
        ("SECRET_KEY", "x" * 31),
        ("CRON_SECRET", "x" * 31),
        ("METRICS", "perhaps"),
        ("METRICS_TOKEN", "x" * 31),
        ("ADMIN_API_KEY", "x" * 31),
        ("VAULT_PUBLIC_KEY", "1:nonsense"),
        ("VAULT_PUBLIC_KEY", PRIVATE),
        ("DATABASE_URL", "modelsync.sqlite"),
        ("DATABASE_URL", "mysql://h/n"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://h"),
        ("REDIS_URL", "redis://[::1"),
        ("REDIS_URL", "redis://h:port"),
        ("OPENAI_BASE_URL", "api.openai.test"),
        ("OPENAI_BASE_URL", "ftp://h/v1"),
        ("GROQ_BASE_URL", "http://"),
        ("GROQ_BASE_URL", "http://[::1"),
        ("GROQ_BASE_URL", "http://h:port/v1"),
        ("GOOGLE_BASE_URL", "https://user@h"),
        ("GOOGLE_BASE_URL", "https://:pass@h"),
        ("GOOGLE_BASE_URL", "https://h/v1beta?key=abc"),
        ("GOOGLE_BASE_URL", "https://h/v1beta#part"),
        ("CATALOG_REFRESH_HOURS", "-1"),
        ("CATALOG_REFRESH_HOURS", "daily"),
        ("CATALOG_LITELLM_URL", "ftp://h/m.json"),
        ("CATALOG_LITELLM_URL", "http://"),
        ("CATALOG_LITELLM_URL", "https://user:pass@h/m.json"),
        ("CATALOG_LITELLM_URL", "https://h/m.json#part"),
        ("CATALOG_MODELSDEV_URL", "file:m.json"),
    ],
)
def test_an_invalid_value_is_rejected_with_a_sentence_that_names_it(tmp_path: Path, name: str, value: str) -> None:
    assert error_for(tmp_path, **{name: value}).startswith(name)


@pytest.mark.parametrize("name", ["SECRET_KEY", "CRON_SECRET", "VAULT_PUBLIC_KEY", "GOOGLE_BASE_URL"])
def test_an_error_does_not_repeat_a_secret(tmp_path: Path, name: str) -> None:
    assert "Zq7Kw" not in error_for(tmp_path, **{name: "https://Zq7Kw@h"})


def test_cookies_require_https_in_production_by_default(tmp_path: Path) -> None:
    assert load_with(tmp_path, APP_ENV="production").secure_cookies
    assert not load_with(tmp_path, APP_ENV="production", SECURE_COOKIES="false").secure_cookies


def test_settings_do_not_print_their_values(tmp_path: Path) -> None:
    assert LONG not in repr(load_with(tmp_path, SECRET_KEY=LONG))


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_with(tmp_path).signup = "closed"  # type: ignore[misc]


def test_base_urls_override_those_of_providers(tmp_path: Path) -> None:
    settings = load_with(
        tmp_path,
        OPENAI_BASE_URL="http://127.0.0.1:9/v1/",
        GROQ_BASE_URL="https://groq.example:8443",
        GOOGLE_BASE_URL="",
    )
    assert settings.base_urls == {"openai": "http://127.0.0.1:9/v1", "groq": "https://groq.example:8443"}


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("SECRET_KEY", "secret_key", LONG),
        ("CRON_SECRET", "cron_secret", LONG),
        ("METRICS_TOKEN", "metrics_token", LONG),
        ("ADMIN_API_KEY", "admin_api_key", LONG),
        ("VAULT_PUBLIC_KEY", "vault_public_key", PUBLIC),
        ("DATABASE_URL", "database_url", "sqlite:////srv/x.sqlite"),
        ("REDIS_URL", "redis_url", "redis://h:6379/0"),
    ],
)
def test_a_secret_can_be_read_from_a_file(tmp_path: Path, name: str, field: str, value: str) -> None:
    path = tmp_path / "a-secret"
    path.write_text(value + "\n", encoding="utf-8")
    assert getattr(load_with(tmp_path, **{f"{name}_FILE": str(path)}), field) == value


def test_a_variable_has_priority_over_its_file(tmp_path: Path) -> None:
    assert load_with(tmp_path, SECRET_KEY=LONG, SECRET_KEY_FILE="/nowhere").secret_key == LONG


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert error_for(tmp_path, SECRET_KEY_FILE=str(tmp_path / "missing")).startswith("SECRET_KEY_FILE names ")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert error_for(tmp_path, SECRET_KEY_FILE=str(tmp_path / "binary")).startswith("SECRET_KEY_FILE names ")


def test_a_weak_secret_in_a_file_is_rejected_too(tmp_path: Path) -> None:
    (tmp_path / "weak").write_text("short", encoding="utf-8")
    assert error_for(tmp_path, SECRET_KEY_FILE=str(tmp_path / "weak")).startswith("SECRET_KEY is too short")


@pytest.mark.parametrize(
    ("missing", "environ"),
    [("SECRET_KEY", {"VAULT_PUBLIC_KEY": PUBLIC}), ("VAULT_PUBLIC_KEY", {"SECRET_KEY": LONG})],
)
def test_a_missing_secret_is_named_in_production(tmp_path: Path, missing: str, environ: dict[str, str]) -> None:
    settings = load_with(tmp_path, APP_ENV="production", **environ)
    with pytest.raises(ConfigError) as error:
        require_web_secrets(settings)
    assert str(error.value).startswith(f"{missing} is not set:")


def test_no_secret_is_read_from_the_instance_folder_in_production(tmp_path: Path) -> None:
    make_secrets({}, tmp_path)
    settings = load_with(tmp_path, APP_ENV="production")
    assert (settings.secret_key, settings.vault_public_key) == ("", "")
    with pytest.raises(ConfigError, match=r"^VAULT_PRIVATE_KEYS is not set:"):
        load_keyring({"APP_ENV": "production", "MODELSYNC_INSTANCE": str(tmp_path)})


def test_a_web_process_with_both_secrets_is_ready(tmp_path: Path) -> None:
    environ = {"SECRET_KEY": LONG, "VAULT_PUBLIC_KEY": PUBLIC, "ALLOWED_HOSTS": "modelsync.example.com"}
    require_web_secrets(load_with(tmp_path, APP_ENV="production", **environ))


@pytest.mark.parametrize("role", ["worker", "scheduler"])
def test_workers_and_the_scheduler_get_no_secret_web_secrets(tmp_path: Path, role: str) -> None:
    make_secrets({}, tmp_path)
    web_secrets = {"CRON_SECRET": LONG, "ADMIN_API_KEY": LONG, "METRICS_TOKEN": LONG}
    settings = load_with(tmp_path, MODELSYNC_ROLE=role, **web_secrets)
    values = (settings.secret_key, settings.cron_secret, settings.admin_api_key, settings.metrics_token)
    assert values == ("", "", "", "")


@pytest.mark.parametrize("role", ["web", "worker", "scheduler"])
def test_settings_never_contain_a_private_vault_key(tmp_path: Path, role: str) -> None:
    settings = load_with(tmp_path, MODELSYNC_ROLE=role, VAULT_PRIVATE_KEYS=PRIVATE, VAULT_PUBLIC_KEY=PUBLIC)
    text = "".join(str(getattr(settings, field.name)) for field in dataclasses.fields(settings))
    assert PRIVATE not in text


def test_production_does_not_access_the_instance_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under systemd it belongs to the workers' user, and the web has no access to it."""

    def deny(self: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    for name in ("read_text", "stat"):
        monkeypatch.setattr(Path, name, deny)
    environ = {"APP_ENV": "production", "SECRET_KEY": LONG, "VAULT_PUBLIC_KEY": PUBLIC, "ALLOWED_HOSTS": "a.example"}
    require_web_secrets(load({"MODELSYNC_INSTANCE": str(tmp_path), **environ}))
    with pytest.raises(ConfigError, match="run as the user who owns it"):
        load({"MODELSYNC_INSTANCE": str(tmp_path)})


def test_the_keyring_is_read_from_the_environment_or_the_instance_folder(tmp_path: Path) -> None:
    assert load_keyring({"VAULT_PRIVATE_KEYS": PRIVATE, "MODELSYNC_INSTANCE": str(tmp_path)}).public == PUBLIC
    make_secrets({}, tmp_path)
    settings = load_with(tmp_path)
    assert load_keyring({"MODELSYNC_INSTANCE": str(tmp_path)}).public == settings.vault_public_key


def test_malformed_private_keys_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^VAULT_PRIVATE_KEYS is malformed:"):
        load_keyring({"VAULT_PRIVATE_KEYS": "nonsense", "MODELSYNC_INSTANCE": str(tmp_path)})


# ------------------------------------------------------------------ generated secrets


def test_generated_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    instance = tmp_path / "deep" / "instance"
    assert make_secrets({}, instance) == ["SECRET_KEY", "VAULT_PRIVATE_KEYS"]
    assert mode(instance) == 0o700
    files = sorted(path.name for path in instance.iterdir())
    assert files == ["secret_key", "vault_private_keys", "vault_public_key"]
    assert {mode(path) for path in instance.iterdir()} == {0o600}


def test_generating_secrets_again_changes_nothing(tmp_path: Path) -> None:
    make_secrets({}, tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert make_secrets({}, tmp_path) == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_generated_secrets_are_strong_enough(tmp_path: Path) -> None:
    make_secrets({}, tmp_path)
    require_web_secrets(load_with(tmp_path))


def test_secrets_of_the_environment_are_not_generated(tmp_path: Path) -> None:
    assert make_secrets({"SECRET_KEY": LONG, "VAULT_PUBLIC_KEY": PUBLIC}, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_public_key_is_derived_from_the_private_key_of_the_environment(tmp_path: Path) -> None:
    assert make_secrets({"SECRET_KEY": LONG, "VAULT_PRIVATE_KEYS": PRIVATE}, tmp_path) == []
    assert secret_path(tmp_path, "VAULT_PUBLIC_KEY").read_text().strip() == PUBLIC


def test_an_instance_folder_that_others_can_read_is_restricted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_secrets({}, tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError) as error:
        make_secrets({}, tmp_path / "file" / "instance")
    assert str(tmp_path / "file" / "instance") in str(error.value)
    assert "MODELSYNC_INSTANCE" in str(error.value)


# ------------------------------------------------------------------ the embedded Redis


def test_the_embedded_redis_listens_in_the_instance_folder() -> None:
    settings = load({"MODELSYNC_INSTANCE": "/srv/modelsync"})
    assert settings.embedded_redis == Path("/srv/modelsync/redis.sock")


def test_the_socket_of_a_deep_instance_folder_is_in_the_temporary_folder() -> None:
    sockets = [load({"MODELSYNC_INSTANCE": f"/srv/{name * 60}"}).embedded_redis for name in ("ab", "cd")]
    for socket in sockets:
        assert socket is not None and len(str(socket).encode()) <= 107
    assert sockets[0] != sockets[1]
    assert sockets[0] == load({"MODELSYNC_INSTANCE": "/srv/" + "ab" * 60}).embedded_redis


def test_redis_url_replaces_the_embedded_redis(tmp_path: Path) -> None:
    assert load_with(tmp_path, REDIS_URL="redis://h:6379/0").embedded_redis is None


def test_rate_limits_use_the_same_redis(tmp_path: Path) -> None:
    settings = load_with(tmp_path)
    assert config.flask_config(settings)["RATELIMIT_STORAGE_URI"] == f"redis+unix://{settings.embedded_redis}"
    assert config.flask_config(load_with(tmp_path, REDIS_URL="redis://h/0"))["RATELIMIT_STORAGE_URI"] == "redis://h/0"


def test_cookies_are_never_readable_by_scripts(tmp_path: Path) -> None:
    flask = config.flask_config(load_with(tmp_path, SECURE_COOKIES="true"))
    assert (flask["SESSION_COOKIE_HTTPONLY"], flask["SESSION_COOKIE_SAMESITE"]) == (True, "Lax")
    assert (flask["SESSION_COOKIE_NAME"], flask["SESSION_COOKIE_SECURE"]) == ("__Host-session", True)


# ------------------------------------------------------------------ REDIS_URL


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("rediss://:pa#ss-1d2e@h:6379/0", "%23"),
        ("rediss://:pa/ss-1d2e@h:6379/0", "%2F"),
        ("redis://:pass-1d2e@h:6379/first", "number of a database"),
        ("redis://:pass-1d2e@h/²", "number of a database"),
        ("rediss://:pass-1d2e@h?ssl_ca_certs=/nowhere/ca.crt", "/nowhere/ca.crt"),
        ("rediss://:pass-1d2e@h?ssl_keyfile=/nowhere/key.pem", "ssl_keyfile"),
        ("rediss://:pass-1d2e@h?ssl_cert_reqs=perhaps", "option"),
        ("rediss://:pass-1d2e@h?socket_timeout=soon", "option"),
        ("rediss://:pass-1d2e@h?unheard_of=1", "option"),
        ("redis://:pass-1d2e@h?ssl_cert_reqs=none", "rediss://"),
    ],
)
def test_an_error_in_redis_url_is_explained_without_its_password(tmp_path: Path, url: str, hint: str) -> None:
    sentence = error_for(tmp_path, REDIS_URL=url)
    assert sentence.startswith("REDIS_URL") and hint in sentence
    assert "1d2e" not in sentence


def test_options_of_redis_url_are_kept(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("a certificate")
    url = f"rediss://user:p%40ss@h:6380/2?ssl_ca_certs={tmp_path}/ca.crt&ssl_check_hostname=false"
    settings = load_with(tmp_path, REDIS_URL=url)
    assert settings.redis_url == url
    assert config.flask_config(settings)["RATELIMIT_STORAGE_URI"] == url
    assert "p%40ss" not in repr(settings)


def test_rate_limits_use_another_scheme_for_sockets(tmp_path: Path) -> None:
    settings = load_with(tmp_path, REDIS_URL="unix:///run/redis.sock?db=3")
    assert config.flask_config(settings)["RATELIMIT_STORAGE_URI"] == "redis+unix:///run/redis.sock?db=3"


@pytest.mark.parametrize(("size", "idle", "overflow"), [("1", 1, 0), ("5", 5, 0), ("", 5, 10), ("40", 5, 35)])
def test_the_pool_size_bounds_the_connections_of_a_process(tmp_path: Path, size: str, idle: int, overflow: int) -> None:
    options = config.flask_config(load_with(tmp_path, DATABASE_POOL_SIZE=size))["SQLALCHEMY_ENGINE_OPTIONS"]
    assert isinstance(options, dict)
    assert (options["pool_size"], options["max_overflow"]) == (idle, overflow)

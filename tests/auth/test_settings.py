"""Sign-in settings: complete or rejected with a sentence, and given only to the processes that need them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import config
from app.auth.settings import MailServer
from app.cli import supervisor
from app.config import ConfigError, Settings

SECRET = "never to be shown"
OIDC = {
    "PUBLIC_URL": "https://models.example/",
    "OIDC_ISSUER": "https://id.example/realm",
    "OIDC_CLIENT_ID": "modelsync",
    "OIDC_CLIENT_SECRET": SECRET,
}
EMAIL = {"PUBLIC_URL": "https://models.example", "MAIL_FROM": "Modelsync <us@models.example>"}


def load(folder: Path, **environ: str) -> Settings:
    return config.load({"MODELSYNC_INSTANCE": str(folder), **environ})


def test_openid_connect_and_email_are_off_by_default(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.oidc, settings.mail_from, settings.public_url) == (None, "", "")
    assert settings.require_second_factor == "off"


def test_openid_connect_settings_are_read(tmp_path: Path) -> None:
    options = {"OIDC_ALLOWED_DOMAINS": "Example.com, @example.org,", "OIDC_TITLE": "Our ID", "SIGNUP": "closed"}
    settings = load(tmp_path, **OIDC, **options)
    assert settings.public_url == "https://models.example" and settings.oidc is not None
    assert settings.oidc.client_secret == SECRET and settings.oidc.title == "Our ID"
    assert settings.oidc.allowed_domains == ("example.com", "example.org")
    assert not settings.oidc.signup and not settings.oidc.link_by_email
    assert SECRET not in repr(settings) and SECRET not in repr(settings.oidc)
    provider = load(tmp_path, **OIDC, OIDC_LINK_BY_EMAIL="true").oidc
    assert provider is not None and provider.signup and provider.link_by_email


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"OIDC_ISSUER": "http://id.example"}, "OIDC_ISSUER must be an https:// address"),
        ({"OIDC_ISSUER": "https://user:pw@id.example"}, "OIDC_ISSUER must be an https:// address"),
        ({"OIDC_ISSUER": "https://[id"}, "OIDC_ISSUER must be an https:// address"),
        ({"OIDC_CLIENT_ID": ""}, "OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET"),
        ({"OIDC_CLIENT_SECRET": ""}, "OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET"),
        ({"PUBLIC_URL": ""}, "OIDC_ISSUER needs PUBLIC_URL"),
        ({"PUBLIC_URL": "models.example"}, "PUBLIC_URL must be an http:// or https:// address"),
        ({"PUBLIC_URL": "https://models.example/below"}, "PUBLIC_URL must be an address without a path"),
        ({"PUBLIC_URL": "http://models.example", "SECURE_COOKIES": "true"}, "PUBLIC_URL must begin with https://"),
        ({"OIDC_SIGNUP": "perhaps"}, "OIDC_SIGNUP is 'perhaps': use true or false."),
        ({"MAIL_FROM": "nobody"}, "MAIL_FROM must be an e-mail address"),
        ({"MAIL_FROM": "a@b.example\nBcc: all@b.example"}, "MAIL_FROM must be an e-mail address"),
        ({"REQUIRE_SECOND_FACTOR": "some"}, "REQUIRE_SECOND_FACTOR is 'some'"),
    ],
)
def test_a_missing_or_unsafe_setting_is_rejected_with_a_sentence(
    tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, **{**OIDC, **change})
    assert str(error.value).startswith(sentence) and SECRET not in str(error.value)


def test_email_needs_a_public_url_and_a_mail_server(tmp_path: Path) -> None:
    assert load(tmp_path, **EMAIL).mail_from == EMAIL["MAIL_FROM"]
    with pytest.raises(ConfigError, match="MAIL_FROM needs PUBLIC_URL"):
        load(tmp_path, MAIL_FROM="us@models.example")
    with pytest.raises(ConfigError, match="SMTP_URL is not: set it or SMTP_URL_FILE"):
        config.load_mail_server({})


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://mail.example", ("mail.example", 465, True, "", "")),
        ("smtp://mail.example", ("mail.example", 587, False, "", "")),
        ("smtp://a%40b.example:p%3A%40w@mail.example:25/", ("mail.example", 25, False, "a@b.example", "p:@w")),
        ("smtps://[::1]:8025", ("::1", 8025, True, "", "")),
    ],
)
def test_smtp_url_is_parsed(url: str, server: tuple[str, int, bool, str, str]) -> None:
    result = config.load_mail_server({"SMTP_URL": url})
    assert (result.host, result.port, result.is_tls, result.user, result.password) == server
    assert isinstance(result, MailServer) and (not result.password or result.password not in repr(result))


@pytest.mark.parametrize("url", ["mail.example", "http://u:pa@mail.example", "smtp://u:pa/ss@mail.example", "smtp://"])
def test_a_malformed_smtp_url_is_rejected_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load_mail_server({"SMTP_URL": url})
    assert "u:pa" not in str(error.value) and str(error.value).startswith("SMTP_URL must be an address")


def test_each_process_gets_only_the_secrets_of_its_role(tmp_path: Path) -> None:
    secrets = {
        "OIDC_CLIENT_SECRET": SECRET,
        "OIDC_CLIENT_SECRET_FILE": "/x",
        "SMTP_URL": "smtp://x",
        "SMTP_URL_FILE": "/y",
    }
    boss = supervisor.Supervisor(secrets, None)
    received = {
        process.name: set(boss.environment(process)) & set(secrets)
        for process in (
            supervisor.web_process("127.0.0.1", 1, 1),
            supervisor.worker_process(1),
            supervisor.scheduler_process(),
        )
    }
    assert received == {
        "web": {"OIDC_CLIENT_SECRET", "OIDC_CLIENT_SECRET_FILE"},
        "workers": {"SMTP_URL", "SMTP_URL_FILE"},
        "scheduler": set(),
    }
    for role in ("worker", "scheduler"):
        assert load(tmp_path, **{**OIDC, "OIDC_CLIENT_SECRET": ""}, MODELSYNC_ROLE=role).oidc is None

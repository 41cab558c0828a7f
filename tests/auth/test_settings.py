"""The settings of sign-in: read whole or refused with a sentence, told only to the processes that need them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import config
from app.auth import secretbox
from app.auth.settings import MailServer
from app.cli import supervisor
from app.config import ConfigError, Settings

SECRET = "what nobody may ever see"
OIDC = {
    "PUBLIC_URL": "https://models.example/",
    "OIDC_ISSUER": "https://id.example/realm",
    "OIDC_CLIENT_ID": "modelsync",
    "OIDC_CLIENT_SECRET": SECRET,
}
LETTERS = {"PUBLIC_URL": "https://models.example", "MAIL_FROM": "Modelsync <us@models.example>"}


def loaded(folder: Path, **environ: str) -> Settings:
    return config.load({"MODELSYNC_INSTANCE": str(folder), **environ})


def test_without_any_of_them_nobody_signs_in_elsewhere_and_no_letters_are_sent(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert (settings.oidc, settings.mail_from, settings.public_url) == (None, "", "")
    assert settings.require_second_factor == "off"


def test_sign_in_elsewhere_is_read_as_a_whole(tmp_path: Path) -> None:
    more = {"OIDC_ALLOWED_DOMAINS": "Example.com, @example.org,", "OIDC_TITLE": "Our ID", "SIGNUP": "closed"}
    settings = loaded(tmp_path, **OIDC, **more)
    assert settings.public_url == "https://models.example" and settings.oidc is not None
    assert settings.oidc.client_secret == SECRET and settings.oidc.title == "Our ID"
    assert settings.oidc.allowed_domains == ("example.com", "example.org")
    assert not settings.oidc.signup and not settings.oidc.link_by_email
    assert SECRET not in repr(settings) and SECRET not in repr(settings.oidc)
    opened = loaded(tmp_path, **OIDC, OIDC_LINK_BY_EMAIL="true").oidc
    assert opened is not None and opened.signup and opened.link_by_email


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
def test_what_is_missing_or_unsafe_is_refused_with_a_sentence(
    tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, **{**OIDC, **change})
    assert str(refused.value).startswith(sentence) and SECRET not in str(refused.value)


def test_letters_need_a_public_address_and_workers_a_mail_server(tmp_path: Path) -> None:
    assert loaded(tmp_path, **LETTERS).mail_from == LETTERS["MAIL_FROM"]
    with pytest.raises(ConfigError, match="MAIL_FROM needs PUBLIC_URL"):
        loaded(tmp_path, MAIL_FROM="us@models.example")
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
def test_a_mail_server_is_read(url: str, server: tuple[str, int, bool, str, str]) -> None:
    found = config.load_mail_server({"SMTP_URL": url})
    assert (found.host, found.port, found.is_tls, found.user, found.password) == server
    assert isinstance(found, MailServer) and (not found.password or found.password not in repr(found))


@pytest.mark.parametrize("url", ["mail.example", "http://u:pa@mail.example", "smtp://u:pa/ss@mail.example", "smtp://"])
def test_what_is_no_mail_server_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.load_mail_server({"SMTP_URL": url})
    assert "u:pa" not in str(refused.value) and str(refused.value).startswith("SMTP_URL must be an address")


def test_each_process_is_given_only_what_it_needs(tmp_path: Path) -> None:
    given = {
        "OIDC_CLIENT_SECRET": SECRET,
        "OIDC_CLIENT_SECRET_FILE": "/x",
        "SMTP_URL": "smtp://x",
        "SMTP_URL_FILE": "/y",
    }
    boss = supervisor.Supervisor(given, None)
    held = {
        process.name: set(boss._environment(process)) & set(given)
        for process in (supervisor.web("127.0.0.1", 1, 1), supervisor.workers(1), supervisor.scheduler())
    }
    assert held == {
        "web": {"OIDC_CLIENT_SECRET", "OIDC_CLIENT_SECRET_FILE"},
        "workers": {"SMTP_URL", "SMTP_URL_FILE"},
        "scheduler": set(),
    }
    for role in ("worker", "scheduler"):
        assert loaded(tmp_path, **{**OIDC, "OIDC_CLIENT_SECRET": ""}, MODELSYNC_ROLE=role).oidc is None


def test_a_box_opens_for_its_key_and_purpose_alone() -> None:
    key, sealed = "k" * 40, secretbox.encrypt("k" * 40, b"content", "mine")
    assert secretbox.decrypt(key, sealed, "mine") == b"content"
    assert sealed != secretbox.encrypt(key, b"content", "mine") and b"content" not in sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for other, what, purpose in (
        ("x" * 40, sealed, "mine"),
        (key, sealed, "yours"),
        (key, changed, "mine"),
        (key, b"\x02" + sealed[1:], "mine"),
        (key, sealed[:13], "mine"),
        (key, b"", "mine"),
    ):
        with pytest.raises(secretbox.DecryptionError):
            secretbox.decrypt(other, what, purpose)

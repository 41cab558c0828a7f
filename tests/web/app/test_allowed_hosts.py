"""The names that the web answers to."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest
from flask import Flask

from app import config
from app.config import ConfigError

ALLOWED = ("modelsync.example.com", ".inside.example.com")


def status(app: Flask, host: str, path: str = "/") -> int:
    return app.test_client().get(path, headers={"Host": host}).status_code


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "192.168.1.7",
        "[fe80::1]:80",
        socket.gethostname(),
    ],
)
def test_without_a_list_this_machines_names_and_bare_addresses_are_answered(app: Flask, host: str) -> None:
    assert status(app, host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", "a b", "[::1", "1.2.3"]
)
def test_another_name_gets_nothing(app: Flask, host: str) -> None:
    answer = app.test_client().get("/signup", headers={"Host": host})
    assert answer.status_code == 400
    assert "csrf" not in answer.text and "Set-Cookie" not in answer.headers
    if host:
        assert host not in answer.text


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("modelsync.example.com", 200),
        ("MODELSYNC.example.com:443", 200),
        ("a.inside.example.com", 200),
        ("localhost", 200),
        ("192.168.1.7", 400),
        ("example.com", 400),
        ("xmodelsync.example.com", 400),
        ("modelsync.example.com.evil.example", 400),
    ],
)
def test_with_a_list_it_counts_alone_beside_loopback(app: Flask, host: str, expected: int) -> None:
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], allowed_hosts=ALLOWED)
    assert status(app, host) == expected


def test_machines_ask_for_health_by_any_name(app: Flask) -> None:
    assert status(app, "10.0.3.7:8000", "/health") == status(app, "pod-17.internal", "/health") == 200
    assert status(app, "evil.example", "/health/") == 400


def test_production_does_not_start_without_its_names(tmp_path: Path) -> None:
    given = {"APP_ENV": "production", "MODELSYNC_INSTANCE": str(tmp_path), "SECRET_KEY": "s" * 40}
    with pytest.raises(ConfigError, match=r"^VAULT_PUBLIC_KEY"):
        config.require_web_secrets(config.load(given))
    from app.vault import Keyring, generate_private_key

    given["VAULT_PUBLIC_KEY"] = Keyring(generate_private_key()).public
    with pytest.raises(ConfigError, match=r"^ALLOWED_HOSTS is not set"):
        config.require_web_secrets(config.load(given))
    config.require_web_secrets(config.load({**given, "ALLOWED_HOSTS": "modelsync.example.com"}))


@pytest.mark.parametrize("hosts", ["https://a.example", "a.example:8000", "a b", "*", "a.example,,*.b", "."])
def test_a_name_that_is_none_is_one_sentence(tmp_path: Path, hosts: str) -> None:
    with pytest.raises(ConfigError, match=r"^ALLOWED_HOSTS is "):
        config.load({"MODELSYNC_INSTANCE": str(tmp_path), "ALLOWED_HOSTS": hosts})

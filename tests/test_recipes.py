"""README's recipes for production hold what the code relies on; each was run for real once."""

from __future__ import annotations

import re
from configparser import RawConfigParser
from typing import Any

import pytest

from app import config
from tests.live import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FOR_WORKERS_ALONE = {"VAULT_PRIVATE_KEYS", "SMTP_URL"}
FOR_THE_WEB_ALONE = {"SECRET_KEY", "VAULT_PUBLIC_KEY"}


def block(language: str, holding: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if holding in text]
    assert len(found) == 1
    return str(found[0])


def test_nginx_is_told_what_the_app_believes_and_as_much_as_it_takes() -> None:
    # Not $proxy_add_x_forwarded_for: it keeps what a client forged in front of its own address.
    lines = {line.strip() for line in block("nginx", "proxy_pass").splitlines()}
    assert {
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header X-Forwarded-Host $host;",
        "proxy_set_header X-Request-ID $request_id;",
        "proxy_buffering off;",
        "client_max_body_size 1m;",
    } <= lines
    # With more than the app takes, nginx now and then answers 502: the app hangs up while it is still being sent to.
    settings = config.Settings(instance=ROOT, database_url="sqlite://", redis_url="redis://host")
    assert config.flask_config(settings)["MAX_CONTENT_LENGTH"] == 1024 * 1024


def test_the_unit_stops_gently_and_has_the_secrets_of_one_role() -> None:
    unit = block("ini", "modelsync-web\n")
    assert "\nKillMode=mixed\n" in unit  # else systemd signals the processes of running syncs as well
    stop = re.search(r"TimeoutStopSec=(\d+)", unit)
    assert stop and int(stop[1]) > 60  # the longest that one list may take
    parser = RawConfigParser(strict=False)
    parser.read_string(unit)
    command = parser["Service"]["ExecStart"].split()
    assert (ROOT / command[command.index("--config") + 1]).is_file() and command[-1] == "wsgi:app"
    assert re.findall(r"EnvironmentFile=/etc/modelsync/(\w+)\.env", unit) == ["common", "web"]


def test_no_container_has_another_role_s_secrets_nor_the_image_any() -> None:
    yaml: Any = pytest.importorskip("yaml")
    compose = yaml.safe_load(block("yaml", "services:"))
    for name, service in compose["services"].items():
        given = service.get("environment", {})
        files = {key.removesuffix("_FILE"): value for key, value in given.items() if key.endswith("_FILE")}
        assert {f"/run/secrets/{one}" for one in service.get("secrets", [])} == set(files.values()), name
        role = given.get("MODELSYNC_ROLE")
        assert not files.keys() & FOR_WORKERS_ALONE or role == "worker"
        assert not files.keys() & FOR_THE_WEB_ALONE or role == "web"
    folders = {secret["file"].split("/")[0] for secret in compose["secrets"].values()}
    ignored = re.search(r"with a `\.dockerignore` of (.*?), and", README, re.DOTALL)
    assert ignored and folders | {".env", ".git"} <= set(re.findall(r"`([^`]+)`", ignored[1]))


def test_the_image_installs_by_hash_and_runs_as_who_owns_the_mounts() -> None:
    recipe = block("dockerfile", "FROM")
    assert "--require-hashes --no-deps -r .hashes.txt" in recipe
    user = re.search(r"^USER (\d+)$", recipe, re.MULTILINE)
    assert user and f"uid={user[1]}," in block("yaml", "services:") and f"--uid {user[1]} " in recipe

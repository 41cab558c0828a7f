"""The deployment files are well formed, and contain what the code relies on; each was run for real once."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from typing import Any

import pytest
import yaml
from flask import Flask

from app import config
from app.config import ROOT
from app.help.recipes import load_recipes
from app.variables import load_variables

RECIPES = {name: recipe.text for name, recipe in load_recipes().items()}
FOLDER = ROOT / "app" / "help" / "recipes"
VARIABLES = {one.name for group in load_variables().values() for one in group}
FOR_WORKERS_ALONE = {"VAULT_PRIVATE_KEYS", "SMTP_URL"}
FOR_THE_WEB_ALONE = {"SECRET_KEY", "VAULT_PUBLIC_KEY", "CRON_SECRET", "ADMIN_API_KEY", "METRICS_TOKEN"}
UNITS = sorted(name for name in RECIPES if name.endswith(".service"))
SERVICES = {
    "modelsync-web.service": "web",
    "modelsync-work.service": "worker",
    "modelsync-schedule.service": "scheduler",
}
CRON_FIELD = re.compile(r"\*(/\d+)?|\d+(,\d+)*")


def parse_unit(name: str) -> RawConfigParser:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(RECIPES[name])
    return parser


def parse_env(name: str) -> set[str]:
    """The names that a file of settings sets or suggests."""
    return set(re.findall(r"^#?([A-Z_]+)=", RECIPES[name], re.MULTILINE))


def balance(text: str) -> int:
    """Braces still open at the end; fails if one closes that was never opened."""
    depth = 0
    for character in re.sub(r"#.*", "", text):
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    return depth


def test_every_file_is_a_recipe() -> None:
    names = {path.name for path in FOLDER.iterdir()} - {"__init__.py", "__pycache__"}
    assert names == RECIPES.keys()


def test_a_command_prints_them(app: Flask) -> None:
    runner = app.test_cli_runner()
    listed = runner.invoke(args=["recipes"])
    assert listed.exit_code == 0 and all(name in listed.output for name in RECIPES)
    assert runner.invoke(args=["recipes", "nginx.conf"]).output == RECIPES["nginx.conf"]
    unknown = runner.invoke(args=["recipes", "nothing.conf"])
    assert unknown.exit_code == 1 and "There is no recipe nothing.conf" in unknown.output


def test_nginx_sets_the_headers_that_the_app_trusts_and_its_limit_of_a_body() -> None:
    # Not $proxy_add_x_forwarded_for: it keeps what a client forged in front of its own address.
    lines = {line.strip() for line in RECIPES["nginx.conf"].splitlines()}
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


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_a_proxy_s_file_is_well_formed(name: str) -> None:
    text = RECIPES[name]
    assert balance(text) == 0
    for line in map(str.strip, text.splitlines()):
        if name == "nginx.conf" and line:
            assert line.endswith((";", "{", "}")), line
    assert "127.0.0.1:8000" in text
    assert "proxy_buffering off" in text or "flush_interval -1" in text  # event streams


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_well_formed(name: str) -> None:
    unit = parse_unit(name)
    assert {"Unit", "Service"} <= set(unit.sections()) <= {"Unit", "Service", "Install"}
    assert unit["Service"]["ExecStart"].startswith("/srv/modelsync/.venv/bin/")
    if program := shutil.which("systemd-analyze"):
        checked = subprocess.run([program, "verify", str(FOLDER / name)], capture_output=True, text=True)
        complaints = [line for line in checked.stderr.splitlines() if "is not executable" not in line and name in line]
        assert not [line for line in complaints if "Unknown" in line or "Invalid" in line], complaints


def test_the_timer_starts_its_unit() -> None:
    timer = parse_unit("model-sync.timer")
    assert set(timer.sections()) == {"Unit", "Timer", "Install"}
    assert "model-sync.service" in RECIPES and re.fullmatch(r"\*-\*-\* \d\d:\d\d:\d\d", timer["Timer"]["OnCalendar"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_stops_gently_and_has_the_secrets_of_its_role_only(name: str) -> None:
    role, text, unit = SERVICES[name], RECIPES[name], parse_unit(name)
    assert unit["Service"]["KillMode"] == "mixed"  # else systemd signals the processes of running syncs as well
    assert int(unit["Service"]["TimeoutStopSec"]) > 60  # the longest that one list may take
    assert f"MODELSYNC_ROLE={role} " in text
    env_files = {"web": ["common", "web"], "worker": ["common", "work"], "scheduler": ["common"]}
    assert re.findall(r"EnvironmentFile=/etc/modelsync/(\w+)\.env", text) == env_files[role]
    user = unit["Service"]["User"]
    assert user == ("modelsync-web" if role == "web" else "modelsync-work")


def test_the_units_differ_in_nothing_but_their_role() -> None:
    own = ("Description", "User", "EnvironmentFile", "Environment", "ExecStart")
    common = {
        tuple(line for line in RECIPES[name].splitlines() if line.partition("=")[0] not in own) for name in SERVICES
    }
    assert len(common) == 1


def test_the_web_server_s_unit_starts_gunicorn_with_our_file() -> None:
    command = parse_unit("modelsync-web.service")["Service"]["ExecStart"].split()
    assert (ROOT / command[command.index("--config") + 1]).is_file() and command[-1] == "wsgi:app"


@pytest.mark.parametrize("name", ["modelsync-work.service", "modelsync-schedule.service", "model-sync.service"])
def test_the_commands_of_units_exist(name: str, app: Flask) -> None:
    words = parse_unit(name)["Service"]["ExecStart"].removeprefix("/srv/modelsync/.venv/bin/flask ").split()
    assert words[2 if words[0] == "--app" else 0] in app.cli.commands


def test_settings_stand_in_the_file_of_their_role() -> None:
    for name in ("common.env", "web.env", "work.env"):
        assert parse_env(name) <= VARIABLES, name
    assert not parse_env("common.env") & (FOR_WORKERS_ALONE | FOR_THE_WEB_ALONE)
    assert not parse_env("web.env") & FOR_WORKERS_ALONE and not parse_env("work.env") & FOR_THE_WEB_ALONE
    assert parse_env("work.env") >= FOR_WORKERS_ALONE and parse_env("web.env") >= FOR_THE_WEB_ALONE
    secrets = FOR_WORKERS_ALONE | FOR_THE_WEB_ALONE
    for name in ("web.env", "work.env"):
        assert not re.findall(rf"^(?:{'|'.join(secrets)})=.+$", RECIPES[name], re.MULTILINE)


def test_the_script_is_valid_and_uses_the_settings_of_the_workers() -> None:
    bash = shutil.which("bash")
    assert bash
    subprocess.run([bash, "-n", str(FOLDER / "modelsync-admin.sh")], check=True)
    script = RECIPES["modelsync-admin.sh"]
    assert script.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in script
    assert "work.env" in script and "MODELSYNC_ROLE=worker" in script and "web.env" not in script


def test_a_crontab_line_is_a_schedule_and_a_command() -> None:
    lines = [line for line in RECIPES["crontab"].splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        *schedule, command = line.split(maxsplit=5)
        assert all(CRON_FIELD.fullmatch(one) for one in schedule) and command.startswith(("cd ", "curl ")), line
        assert "%" not in command  # cron ends the command there


def test_no_container_has_another_role_s_secrets_nor_the_image_any() -> None:
    compose: Any = yaml.safe_load(RECIPES["compose.yaml"])
    for name, service in compose["services"].items():
        given = service.get("environment", {})
        files = {key.removesuffix("_FILE"): value for key, value in given.items() if key.endswith("_FILE")}
        assert {f"/run/secrets/{one}" for one in service.get("secrets", [])} == set(files.values()), name
        assert set(service.get("secrets", [])) <= compose["secrets"].keys()
        assert set(service.get("depends_on", [])) <= compose["services"].keys()
        role = given.get("MODELSYNC_ROLE")
        assert not files.keys() & FOR_WORKERS_ALONE or role == "worker"
        assert not files.keys() & FOR_THE_WEB_ALONE or role == "web"
        assert role is None or {key.removesuffix("_FILE") for key in given} <= VARIABLES | {"MODELSYNC_ROLE"}, name
    folders = {secret["file"].split("/")[0] for secret in compose["secrets"].values()}
    assert folders | {".env", ".git", "instance"} <= set(RECIPES[".dockerignore"].split())


def test_the_image_installs_by_hash_and_runs_as_who_owns_the_mounts() -> None:
    recipe = RECIPES["Dockerfile"]
    instructions = re.findall(r"^([A-Z]+) ", re.sub(r"\\\n", " ", recipe), re.MULTILINE)
    assert set(instructions) <= {"FROM", "COPY", "WORKDIR", "RUN", "ENV", "USER", "EXPOSE", "CMD"}
    assert "--require-hashes --no-deps -r .hashes.txt" in recipe
    user = re.search(r"^USER (\d+)$", recipe, re.MULTILINE)
    assert user and f"uid={user[1]}," in RECIPES["compose.yaml"] and f"--uid {user[1]} " in recipe

"""README is true to the letter: its commands, its variables and its tables are checked against the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest
from flask import Flask

from app.cli.up import up
from app.providers import PROVIDERS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
# Set by `flask up` for its own children, and by the tests: not for users to set.
INTERNAL = {"MODELSYNC_ROLE", "MODELSYNC_DEMO", "MODELSYNC_DEMO_URL", "MODELSYNC_DEMO_TOKEN", "FLASK_RUN_FROM_CLI"}
INTERNAL |= {"FLASK_SKIP_DOTENV"}


def variables_of_the_code() -> set[str]:
    read = re.findall(r'(?:environ(?:\.get\(|\[)|environ, |envvar=|secret\(environ, )"([A-Z_]+)"', SOURCES)
    of_providers = {f"{one.variable}_{what}" for one in PROVIDERS.values() for what in ("BASE_URL", "API_KEY")}
    overrides = of_providers | {"GOOGLE_OAUTH_BASE_URL"}
    return (set(read) | overrides) - INTERNAL


def test_the_example_names_every_variable_and_no_other() -> None:
    named = re.findall(r"^([A-Z_]+)=", EXAMPLE, re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) == variables_of_the_code()


def test_the_example_explains_each_variable_in_a_line_and_sets_no_secret() -> None:
    lines = EXAMPLE.splitlines()
    explained = False
    for line in lines:
        if line.startswith("#"):
            explained = True
        elif not line:
            explained = False
        else:
            assert explained, f"{line} has no explanation above it"
            name, _, value = line.partition("=")
            assert not (value and name.endswith(("_SECRET", "_TOKEN", "_KEY", "_KEYS")))


def test_the_readme_lists_every_variable() -> None:
    table = README.split("## Configuration")[1].split("## Operations")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`([A-Z_]+)`", " ".join(cells)))
    generic = {f"{one.variable}_{what}" for one in PROVIDERS.values() for what in ("BASE_URL", "API_KEY")}
    generic.add("GOOGLE_OAUTH_BASE_URL")
    assert variables_of_the_code() - generic <= named
    assert named <= variables_of_the_code()


def test_the_two_commands_come_first_and_are_one_line_each() -> None:
    commands = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)[:2]
    assert all("\n" not in command for command in commands)
    assert commands[0].endswith("flask up")
    assert "[test]" in commands[1] and commands[1].endswith("pytest")
    assert (ROOT / ".constraints.txt").exists()


def test_every_command_of_the_readme_exists(app: Flask) -> None:
    known = {"up": up, **app.cli.commands}
    for line in re.findall(r"`flask ([a-z][a-z-]+(?: [a-z-]+)?)", README):
        words = line.split()
        command = known.get(words[0])
        assert command is not None, f"`flask {line}` is not a command"
        if isinstance(command, click.Group) and len(words) > 1:
            assert words[1] in command.commands, f"`flask {line}` is not a command"


def test_every_path_of_the_readme_exists(app: Flask) -> None:
    paths = {str(rule) for rule in app.url_map.iter_rules()}
    for path in re.findall(r"(?:GET|POST)(?: or `GET`| or GET)? `?(/[a-z0-9/_.-]+)", README):
        assert path in paths


def test_every_file_of_the_readme_exists() -> None:
    for name in re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(
        r"`((?:app|tests|static|migrations)/[\w./]*)`", README
    ):
        assert (ROOT / name).exists(), name


def test_the_visible_top_level_is_what_the_owner_asked_for() -> None:
    try:
        listed = subprocess.run(
            ["git", "ls-tree", "--name-only", "HEAD"],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    visible = {name for name in listed.stdout.split() if not name.startswith(".")}
    assert visible <= {"pyproject.toml", "README.md", "app", "migrations", "templates", "static", "tests", "wsgi.py"}


def test_the_readme_names_every_provider_by_its_slug() -> None:
    section = README.split("## Providers")[1].split("## Command line")[0]
    assert set(re.findall(r"\(`([a-z-]+)`\)", section)) == PROVIDERS.keys()

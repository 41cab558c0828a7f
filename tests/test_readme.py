"""README and the documents in .github are short, and everything they name exists."""

from __future__ import annotations

import re
import subprocess

import click
import pytest
from flask import Flask

from app.cli.up import up, web
from app.config import ROOT
from app.web.help import PAGES

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ["README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md", ".github/CHANGELOG.md"]
FENCES = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)

every_document = pytest.mark.parametrize("document", DOCUMENTS)


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_readme_is_a_first_page() -> None:
    assert len(README.splitlines()) <= 120
    assert len(README.encode()) <= 8_000


def test_the_two_commands_come_first_and_are_one_line_each() -> None:
    commands = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)[:2]
    assert all("\n" not in command for command in commands)
    assert commands[0].endswith("flask up")
    assert "[test]" in commands[1] and commands[1].endswith("pytest")
    assert (ROOT / ".constraints.txt").exists()


def test_ci_finds_the_test_command_of_the_readme() -> None:
    pattern = re.search(r"grep -m1 -oE '([^']+)' README\.md", read(".ci/run"))
    assert pattern and re.search(pattern[1], README)


@every_document
def test_every_link_leads_somewhere(document: str) -> None:
    text = FENCES.sub("", read(document))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCES.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in map(slug, headings), target


@every_document
def test_every_file_exists(document: str) -> None:
    names = re.findall(r"`((?:app|tests|static|migrations|templates|\.github|\.build|\.ci)/[\w./-]*)", read(document))
    missing = [name for name in names if not (ROOT / name).exists() and not name.startswith("tests/providers/answers/")]
    assert not [name for name in missing if name != "static/vendor/"]


@every_document
def test_every_command_exists(document: str, app: Flask) -> None:
    known = {"up": up, "web": web, **app.cli.commands}
    code = "\n".join(re.findall(r"`[^`]+`", read(document)))
    for line in re.findall(r"\bflask ([a-z][a-z-]+(?: [a-z-]+)?)", code):
        words = line.split()
        command = known.get(words[0])
        assert command is not None, f"`flask {line}` is not a command"
        if isinstance(command, click.Group) and len(words) > 1:
            assert words[1] in command.commands, f"`flask {line}` is not a command"


@every_document
def test_every_page_of_the_manual_exists(document: str) -> None:
    assert set(re.findall(r"`/help/([a-z-]+)`", read(document))) <= PAGES.keys()


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

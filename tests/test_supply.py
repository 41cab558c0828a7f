"""What Modelsync is made of is pinned to the last digit and byte, and all lists of it agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.config import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS, FOR_SERVERS, FOR_TESTS = ROOT / ".constraints.txt", ROOT / ".hashes.txt", ROOT / ".hashes-test.txt"
# What the lists are used on: CPython on Linux and macOS.
PLACES = [
    {
        "python_full_version": f"{version}.5",
        "python_version": version,
        "sys_platform": platform,
        "platform_system": system,
        "platform_machine": machine,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for version in ("3.11", "3.12", "3.13")
    for platform, system, machine in (
        ("linux", "Linux", "x86_64"),
        ("linux", "Linux", "aarch64"),
        ("darwin", "Darwin", "arm64"),
    )
]


def pins(path: Path) -> list[Requirement]:
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    lines = [line.partition(" --hash=")[0] for line in text.splitlines() if line and not line.startswith("#")]
    return [Requirement(line) for line in lines]


def named(requirements: list[Requirement]) -> set[tuple[str, str]]:
    return {(canonicalize_name(one.name), str(one.specifier)) for one in requirements}


def needed(requirements: list[Requirement], place: dict[str, str]) -> set[tuple[str, str]]:
    def applies(marker: Marker | None) -> bool:
        return marker is None or marker.evaluate(place)

    return named([one for one in requirements if applies(one.marker)])


def test_both_lists_with_hashes_are_the_constraints_and_nothing_else() -> None:
    assert named(pins(FOR_TESTS)) == named(pins(CONSTRAINTS)), "run .build/hashes.py"
    assert named(pins(FOR_SERVERS)) < named(pins(FOR_TESTS))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place['python_version']}-{place['platform_machine']}")
def test_nowhere_is_a_package_installed_from_the_hashes_that_has_two_versions(place: dict[str, str]) -> None:
    for path in (FOR_SERVERS, FOR_TESTS):
        found = [name for name, _ in needed(pins(path), place)]
        assert len(found) == len(set(found))
    wanted = {canonicalize_name(Requirement(one).name) for one in PROJECT["project"]["dependencies"]}
    assert wanted <= {name for name, _ in needed(pins(FOR_SERVERS), place)}


@pytest.mark.parametrize("path", [CONSTRAINTS, FOR_SERVERS, FOR_TESTS], ids=lambda path: path.name)
def test_every_pin_is_exact_and_no_list_names_an_address(path: Path) -> None:
    assert all(re.fullmatch(r"==[0-9][0-9A-Za-z.]*", str(one.specifier)) for one in pins(path))
    text = path.read_text(encoding="utf-8")
    assert "://" not in text and "--index" not in text and "--find-links" not in text


@pytest.mark.parametrize("path", [FOR_SERVERS, FOR_TESTS], ids=lambda path: path.name)
def test_every_pin_has_a_sha256(path: Path) -> None:
    blocks = re.findall(r"^[A-Za-z0-9].*\n(?:    --hash=.*\n)*", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(blocks) == len(pins(path))
    for block in blocks:
        hashes = re.findall(r"--hash=(\S+)", block)
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), block


def test_what_the_project_asks_for_is_what_the_constraints_say() -> None:
    project = PROJECT["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["test"], *PROJECT["build-system"]["requires"]]
    assert named([Requirement(one) for one in asked]) <= named(pins(CONSTRAINTS))
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_the_front_end_is_locked_by_hash_without_an_address() -> None:
    lock = yaml.safe_load((ROOT / "static" / "package-lock.json").read_text(encoding="utf-8"))
    fetched = {name: one for name, one in lock["packages"].items() if name}
    assert fetched and all(one["integrity"].startswith("sha512-") for one in fetched.values())
    assert not any("resolved" in one for one in fetched.values())


def test_updates_are_proposed_for_everything_that_is_pinned() -> None:
    told = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    watched = {(one["package-ecosystem"], one["directory"]) for one in told["updates"]}
    assert watched == {("pip", "/"), ("npm", "/static"), ("github-actions", "/")}


def test_ci_looks_for_secrets_in_the_tree() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"git grep -nIE '([^']+)'", script)
    assert pattern
    for key in ("sk-proj-" + "a1" * 12, "gsk_" + "b2" * 18, "AIza" + "c3" * 17):
        assert re.search(pattern[1], key)

"""The built package: complete, the same at each build, and it runs without a clone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from app import paths
from app.config import ROOT
from app.demo.simulator import Simulator
from tests.conftest import PASSWORD
from tests.live import environment, free_port, up
from tests.sync.test_run import named
from tests.web.text_browser import Plainly

MOVED = ("templates", "static", "migrations", "wsgi.py")
UNTRACKED = {".lock-sha256"}


def build(folder: Path, root: Path = ROOT) -> Path:
    """The wheel."""
    return Path(next(iter(WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"]))))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def files_of_clone() -> set[str]:
    """Every file that the code may open, under the name that it has in the wheel."""
    names = set()
    for top in ("app", *MOVED):
        folder = ROOT / top
        for path in folder.rglob("*") if folder.is_dir() else [folder]:
            if path.is_file() and path.suffix != ".pyc" and path.name not in UNTRACKED:
                name = path.relative_to(ROOT).as_posix()
                names.add(name if top == "app" else f"app/{name}")
    return names


def test_the_wheel_has_every_file_the_app_opens_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name and Path(name).name not in UNTRACKED}
        entry_points = next(archive.read(name) for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert names == files_of_clone()
    assert {"app/static/vendor/htmx.min.js", "app/demo/data/openrouter.json", "app/migrations/env.py"} <= names
    assert b"modelsync = app.cli.main:main" in entry_points


def test_two_builds_of_the_wheel_are_the_same_byte_for_byte(wheel: Path, tmp_path: Path) -> None:
    assert hashlib.sha256(build(tmp_path).read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


@pytest.mark.full
def test_the_source_archive_builds_the_same_wheel_without_fetching_anything(wheel: Path, tmp_path: Path) -> None:
    archive = Path(next(iter(SdistBuilder(str(ROOT)).build(directory=str(tmp_path)))))
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert {".build", ".constraints.txt", ".hashes.txt", ".env.example", "README.md"} <= {
        p.name for p in source.iterdir()
    }
    assert not {"instance", ".git", ".venv", ".env"} & {path.name for path in source.iterdir()}
    assert build(tmp_path / "built", source).read_bytes() == wheel.read_bytes()


def test_data_of_a_package_goes_to_the_users_folder_and_that_of_a_clone_stays_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert paths.instance_folder({}) == ROOT / "instance"
    assert paths.instance_folder({"MODELSYNC_INSTANCE": "there"}) == ROOT / "there"
    monkeypatch.setattr(paths, "IS_PACKAGE", True)
    monkeypatch.setenv("HOME", str(tmp_path))
    for environ in ({}, {"XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "relative/is/ignored"}):
        assert paths.instance_folder(environ) == tmp_path / ".local/share/modelsync"
    assert paths.instance_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/modelsync")
    assert paths.instance_folder({"XDG_DATA_HOME": "/data", "MODELSYNC_INSTANCE": "two"}) == Path("/data/modelsync/two")
    assert paths.instance_folder({"MODELSYNC_INSTANCE": "/srv/modelsync"}) == Path("/srv/modelsync")


# ------------------------------------------------------------------ run as a package


class Browser:
    """What `Plainly` needs of a client, over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, follow_redirects: bool, query_string: dict[str, str] | None = None) -> Any:
        return self._client.get(path, follow_redirects=follow_redirects, params=query_string)

    def post(self, path: str, follow_redirects: bool, data: dict[str, str]) -> Any:
        referer = {
            "Origin": str(self._client.base_url).rstrip("/"),
            "Referer": urljoin(str(self._client.base_url), path),
        }
        return self._client.post(path, follow_redirects=follow_redirects, data=data, headers=referer)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the wheel, before those of this environment on the path."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        f"--target={folder}",
        wheel,
    ]
    subprocess.run(command, check=True)
    return folder


def as_package(installed: Path, home: Path) -> dict[str, str]:
    """Variables of a person who has installed the package and set nothing."""
    given = {"PYTHONPATH": str(installed), "HOME": str(home), "MODELSYNC_INSTANCE": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return environment(home, **given) | {"PATH": f"{installed}/bin:{os.environ['PATH']}"}


def wait_for(person: Plainly, path: str, text: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while text not in person.open(path).words:
        assert time.monotonic() < deadline, person.words
        time.sleep(0.1)


@pytest.mark.slow
def test_an_installed_wheel_goes_the_whole_journey_in_a_folder_elsewhere(
    installed: Path, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.set_models("openai", named("gpt-4o", "text-embedding-3-small"))
    before = set(installed.rglob("*"))
    command = (sys.executable, str(installed / "bin" / "modelsync"))
    given = as_package(installed, tmp_path) | {"OPENAI_BASE_URL": simulator.base_urls["openai"]}
    (tmp_path / ".env").write_text("APP_ENV=production\nSECRET_KEY=of-another-project\n", encoding="utf-8")
    instance = tmp_path / ".local/share/modelsync"
    with up(instance, command=command, cwd=tmp_path, **given) as live, httpx.Client(base_url=live.url) as client:
        person = Plainly(Browser(client))  # type: ignore[arg-type]
        person.open("/").follow("/signup").submit("/signup", email="new@example.com", password=PASSWORD)
        person.submit("/keys", {"provider": "openai"}, key="sk-a-key-of-the-journey-4a7e")
        wait_for(person, "/profile", "Found 1 chat model")
        person.submit("/sync")
        wait_for(person, "/profile", "No changes since")
        simulator.set_models("openai", named("gpt-4o", "gpt-5", "text-embedding-3-small"))
        person.submit("/sync")
        wait_for(person, "/profile", "1 new model")
        assert "gpt-5" in person.follow("/changes").words
        for path in ("/help/deploy", "/help/configuration", "/models", "/history"):
            assert client.get(path).status_code == 200, path
        assert "htmx" in client.get("/static/vendor/htmx.min.js").text
    assert (instance / "modelsync.sqlite").is_file()
    assert set(installed.rglob("*")) == before


@pytest.mark.slow
def test_the_command_prints_its_version_and_says_in_one_sentence_that_it_cannot_write(
    installed: Path, tmp_path: Path
) -> None:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(installed / "bin" / "modelsync"), *arguments]
        environ = as_package(installed, tmp_path) | changes
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    assert run("--version").stdout == f"modelsync {version('modelsync')}\n"
    (tmp_path / "file").touch()
    failed = run("up", "--port", str(free_port()), XDG_DATA_HOME=str(tmp_path / "file"))
    said = failed.stderr.strip()
    assert failed.returncode == 1 and "\n" not in said
    assert "cannot be written" in said and "MODELSYNC_INSTANCE" in said

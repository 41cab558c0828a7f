"""No test reads or changes the settings, secrets and files of the clone that the tests run in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from app import config
from app.config import ROOT
from app.variables import load_variables
from app.vault import Keyring, generate_private_key
from tests import isolation

CANARIES = ("instance/vault_private_keys", "instance/vault_public_key", "instance/secret_key", ".env")
NEAR = (
    "tests/cli/test_doctor.py::test_a_key_that_does_not_open_is_named_and_nothing_is_lost",
    "tests/cli/test_backup.py",
    "tests/test_config.py",
    "tests/test_isolation.py",
)
"""What failed where there was an instance folder, and what says most of settings."""


def test_no_test_sees_a_setting_of_the_machine() -> None:
    ours = {variable.name for group in load_variables().values() for variable in group}
    assert len(ours) > 100
    names = ours | {f"{name}_FILE" for name in ours} | {"FLASK_APP", "FLASK_DEBUG", "MODELSYNC_ROLE", "HTTPS_PROXY"}
    assert set(isolation.disallowed(names)) == names
    assert {name for name in os.environ if name in ours} == {"MODELSYNC_INSTANCE"}
    assert os.environ["FLASK_SKIP_DOTENV"] == "1"


def test_an_app_of_the_environment_does_not_know_the_clones_instance(tmp_path: Path) -> None:
    loaded = config.load()
    assert loaded.instance == isolation.INSTANCE != ROOT / "instance"
    assert (loaded.secret_key, loaded.vault_public_key, loaded.cron_secret) == ("", "", "")
    with pytest.raises(config.ConfigError, match="VAULT_PRIVATE_KEYS is not set"):
        config.load_keyring()


def test_an_app_of_the_tests_keeps_its_files_in_a_folder_of_its_own(app: Flask, tmp_path: Path) -> None:
    settings: config.Settings = app.config["SETTINGS"]
    assert settings.instance == tmp_path and str(tmp_path) in settings.database_url


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif("MODELSYNC_TEST_CANARIES" in os.environ, reason="it is what runs these tests")
def test_an_instance_and_an_env_file_in_the_clone_are_neither_read_nor_changed(tmp_path: Path) -> None:
    """In a copy of the clone whose `flask up` has run, and whose .env and environment have odd settings."""
    clone = tmp_path / "clone"
    left_out = shutil.ignore_patterns("__pycache__", ".git", ".venv", "instance", ".env", "node_modules", ".*_cache")
    shutil.copytree(ROOT, clone, ignore=left_out)
    private = generate_private_key()
    (clone / "instance").mkdir()
    (clone / "instance/vault_private_keys").write_text(private)
    (clone / "instance/vault_public_key").write_text(Keyring(private).public)
    (clone / "instance/secret_key").write_text("a-secret-of-the-clone-that-no-test-may-see")
    odd = {
        "SIGNUP": "nobody",
        "LOG_LEVEL": "LOUD",
        "DATABASE_URL": "oracle://nowhere",
        "OPENAI_API_KEY": "sk-canary-0123",
    }
    (clone / ".env").write_text("".join(f"{name}={value}\n" for name, value in odd.items()))
    before = {name: (clone / name).read_bytes() for name in CANARIES}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *NEAR],
        cwd=clone,
        env={**os.environ, **odd, "PYTHONPATH": str(clone), "MODELSYNC_TEST_CANARIES": "1", "MODELSYNC_INSTANCE": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4_000:] + run.stderr[-2_000:]
    assert {name: (clone / name).read_bytes() for name in CANARIES} == before
    assert sorted(path.name for path in (clone / "instance").iterdir()) == sorted(
        Path(name).name for name in CANARIES if name.startswith("instance/")
    )

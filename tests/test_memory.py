"""In memory an API key lives only around its request: no frame of ours that shows its locals shows a key."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from app import config
from app.demo.simulator import Simulator
from app.providers import PROVIDERS
from app.sync.dispatch import fetch_each, run_item_for
from app.sync.http import errors
from app.sync.http.client import new_client
from app.sync.http.google_auth import resolve_signing_key
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring, PublicKey, SealContext, UnsealError, VaultError, generate_private_key
from tests.conftest import Person
from tests.installation import working
from tests.live import descendants
from tests.sync.http.test_google_auth import account as account  # fixtures
from tests.sync.http.test_google_auth import desk as desk
from tests.sync.test_run import synced

KEY = "sk-good-key-in-memory-4e1c-9a7f"
APP = str(config.ROOT / "app")
# Functions of one expression, in which a key is made or becomes a header: nothing in them asks anyone or can wait.
MAY_HOLD = {"vault.py:__init__", "contract.py:bearer", "contract.py:sign"}


class Watch:
    """Looks at the locals of every frame of ours, at every line, as an error report with locals would."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.seen: set[str] = set()
        self.lines = 0

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(APP) or "demo" in frame.f_code.co_filename:
            return None
        self.lines += 1
        for name, value in frame.f_locals.items():
            if self._shows(value):
                self.seen.add(f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}: {name}")
        return self

    def _shows(self, value: object) -> bool:
        if isinstance(value, str | bytes | dict | list | tuple | set | ApiKey) or hasattr(value, "__dict__"):
            try:
                return self.secret in repr(value)
            except Exception:  # half made as yet
                return False
        return False


@pytest.fixture
def watch() -> Iterator[Watch]:
    seen = Watch(KEY)
    threading.settrace(seen)
    sys.settrace(seen)
    yield seen
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]


def shown_by(watch: Watch) -> set[str]:
    return {place for place in watch.seen if place.rpartition(": ")[0] not in MAY_HOLD}


def report(error: BaseException) -> str:
    """An error report with the locals of every frame, ours and the libraries', and of all errors behind it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


# ------------------------------------------------------------------ locals


@pytest.mark.parametrize("fault", [None, "unauthorized", "error_500", "html", "reset", "conditional"])
@pytest.mark.slow
def test_no_line_of_a_run_has_a_key_in_its_locals(
    fault: str | None, alice: Person, means: SyncContext, simulator: Simulator, watch: Watch
) -> None:
    for slug in ("openai", "anthropic", "google"):
        alice.add_key(slug, KEY)
        if fault:
            simulator.set_fault(slug, fault)
    watch.seen.clear()  # how it is saved is another matter
    synced(alice, means)
    assert watch.lines > 500
    assert shown_by(watch) == set()


def test_no_line_has_a_service_accounts_key_while_it_is_exchanged(
    account: dict[str, str], desk: str, watch: Watch
) -> None:
    key = ApiKey(json.dumps(account))
    watch.secret = account["private_key"].splitlines()[1]
    assert exchanged_at(key, desk)
    assert shown_by(watch) == set()


def exchanged_at(key: ApiKey, desk: str) -> ApiKey | None:
    with new_client() as client:
        return resolve_signing_key(PROVIDERS["google-vertex"], key, client, {"google-oauth": desk})


# ------------------------------------------------------------------ error reports


FAULTS = ["unauthorized", "error_500", "html", "truncated", "echo_key", "reset", "redirect_elsewhere", "gzip_bomb"]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_report_with_locals_shows_a_key(
    fault: str, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    row = alice.add_key("openai", KEY)
    part = run_item_for(row, "openai")
    simulator.set_fault("openai", fault)
    answer = fetch_each([part], means)[0].answer
    assert isinstance(answer, errors.SyncError)
    assert KEY not in report(answer)


def test_no_report_of_a_failure_nobody_thought_of_shows_a_key(
    alice: Person, means: SyncContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = alice.add_key("openai", KEY)
    part = run_item_for(row, "openai")

    def broken(_body: bytes) -> Any:
        raise ZeroDivisionError("nobody thought of this")

    openai = PROVIDERS["openai"]
    monkeypatch.setitem(PROVIDERS, "openai", dataclasses.replace(openai, read=broken))
    answer = fetch_each([part], means)[0].answer
    assert isinstance(answer, errors.InternalError)
    told = report(answer)
    assert "ZeroDivisionError at " in told and " in broken, from " in told
    assert KEY not in told and "nobody thought of this" not in told  # its words might hold the key


def test_a_key_that_does_not_open_is_not_in_the_report_and_neither_is_the_vaults() -> None:
    private = generate_private_key()
    vault, owner = Keyring(private), SealContext(1, 2, "openai")
    sealed = PublicKey(vault.public).seal(ApiKey(KEY), owner)
    with pytest.raises(UnsealError) as refused:
        vault.open(sealed, 1, SealContext(1, 3, "openai"))
    refused.value.__traceback__ = refused.tb.tb_next  # without this test's own frame, which has them
    told = report(refused.value)
    assert "in open" in told
    assert KEY not in told and private[2:40] not in told
    with pytest.raises(VaultError) as malformed:
        Keyring(f"{private},2:nonsense")
    assert "malformed" in str(malformed.value)


# ------------------------------------------------------------------ the process


def test_a_process_that_keeps_its_memory_private_leaves_no_core_and_lets_nobody_look_in() -> None:
    code = (
        "import ctypes, resource\n"
        "from app.hardening import keep_memory_private\n"
        "keep_memory_private()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=config.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("(0, 0) 0" if sys.platform == "linux" else done.stdout.strip())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_every_worker_process_leaves_no_core_dump(
    settings: config.Settings, alice: Person, tmp_path: Path, until: Any
) -> None:
    with working(settings, tmp_path / "work.log") as part:
        until(lambda: len(descendants(part.process.pid)) >= 2, 40)
        until(lambda: all(_core_limit(pid) == ("0", "0") for pid in [part.process.pid, *descendants(part.process.pid)]))


def _core_limit(pid: int) -> tuple[str, str]:
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file size" in line)
    return (line.split()[4], line.split()[5])

"""The log: one chain for all, one line for each event, nothing secret in it, and nobody's text steers it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from app import config, logs
from app.demo.simulator import Simulator
from app.jobs import workers
from app.sync import run as sync_run
from app.vault import Keyring, generate_private_key
from tests.conftest import Person, both_databases
from tests.web import working
from tests.web.working import work_off

MARK = "cAnArYmArK"
KEY = f"sk-good-{MARK}-in-the-log-{MARK}-7c1d"
OURS = "Xq7-our-own-secret-of-the-environment-Zz9"
WHO = "app.sync.run", "gunicorn.error", "gunicorn.access", "rq.worker", "sqlalchemy.engine", "werkzeug", "flask_limiter"


class Kept(logging.Handler):
    """All lines, as they would be written."""

    def __init__(self, form: logs.LogFormat) -> None:
        super().__init__()
        self.setFormatter(logs.build_formatter(form, [OURS, "aB3+/cdefghij=="]))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture(params=logs.LOG_FORMATS)
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    handler, root = Kept(request.param), logging.getLogger()
    logs.configure(request.param, "DEBUG")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)
    logging.getLogger("app").setLevel("INFO")


# ------------------------------------------------------------------ one line each


@pytest.mark.parametrize("who", WHO)
def test_every_library_goes_through_the_chain(kept: Kept, who: str) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-12345678", run_id=7, user_id=3):
        logging.getLogger(who).warning("%s happened", "something")
    (line,) = kept.lines
    if kept.formatter and line[0] == "{":
        told = json.loads(line)
        assert list(told)[:4] == ["time", "level", "logger", "event"]
        assert (told["level"], told["logger"], told["event"]) == ("warning", who, "something happened")
        assert (told["request_id"], told["run_id"], told["user_id"]) == ("r-12345678", 7, 3)
        assert told["time"].endswith("Z")
    else:
        assert f"warning  {who}: something happened" in line
        assert "request_id=r-12345678" in line and "run_id=7" in line and "user_id=3" in line


HOSTILE = [
    "a\nb",
    "a\r\nb",
    "a\x1b[2J\x1b]0;title\x07b",
    "a\x9b31mb",
    "a\u2028b",
    "a\u202eb",
    "a\x00b",
    "a\x85b",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_makes_no_line_and_steers_no_terminal(kept: Kept, text: str) -> None:
    logging.getLogger("app.x").warning("%s", text)
    structlog.get_logger("app.x").warning(text, **{"a" + text: [text, {"k": {text: text}}]})
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("app.x").exception(text)
    assert len(kept.lines) == 3
    for line in kept.lines:
        shown = line.split("\n    ")  # of the form for the eye, the lines of a traceback: they are indented
        assert all(part.isprintable() for part in shown)
        assert len(shown) == 1 or "Traceback" not in line
    assert "a" in kept.text and "b" in kept.text


def test_half_a_character_is_no_failure(kept: Kept) -> None:
    # Not by a logger of the tree: pytest's own capture cannot hand such text on.
    line = kept.format(logging.makeLogRecord({"name": "app.x", "levelname": "INFO", "msg": "a\ud800b"}))
    assert line.isprintable() and "a" in line and "b" in line


@given(st.text())
def test_whatever_is_logged_prints_in_one_line(text: str) -> None:
    assert logs.escape_unprintable(text).isprintable()
    assert logs.escape_unprintable(logs.Redactor([OURS]).redact(text)).isprintable()


def test_a_traceback_has_its_causes_and_no_locals(kept: Kept) -> None:
    def fail() -> None:
        local = "a-local-" * 3
        try:
            raise KeyError("the first cause")
        except KeyError as error:
            raise RuntimeError(f"the second, of {len(local)}") from error

    try:
        fail()
    except RuntimeError:
        logging.getLogger("app.x").exception("it failed")
    assert "the first cause" in kept.text and "RuntimeError: the second, of 24" in kept.text and "in fail" in kept.text
    assert "test_logs.py:" in kept.text
    assert "a-local-a-local" not in kept.text


def test_what_cannot_be_shown_does_not_break_the_log_and_is_not_printed_raw(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ZeroDivisionError(KEY)

    structlog.get_logger("app.x").warning("shown", it=Broken())
    assert "<Broken>" in kept.text
    console = logs.ConsoleHandler()
    console.setFormatter(logs.build_formatter("json"))
    console.handle(logging.LogRecord("app.x", logging.ERROR, "", 0, "%d", (KEY,), None))
    said = capsys.readouterr().err
    assert json.loads(said.splitlines()[-1])["event"] == "a line of the log could not be made"
    assert MARK not in said


# ------------------------------------------------------------------ nothing secret

SECRETS = {
    "openai": KEY,
    "anthropic": f"sk-ant-api03-{MARK}_{MARK}",
    "groq": f"gsk_{MARK}{MARK}",
    "google": f"AIzaSy{MARK}{MARK}",
    "xai": f"xai-{MARK}{MARK}",
    "a personal token": f"msk_{MARK}{MARK}",
    "a bearer": f"Bearer {MARK}.{MARK}",
    "basic": f"Authorization: Basic {MARK}{MARK}==",
    "a header of google": f"'x-goog-api-key': '{MARK}'",
    "JSON": f'{{"api_key": "{MARK}", "n": 1}}',
    "JSON in JSON": f'{{\\"password\\": \\"{MARK}\\"}}',
    "a cookie": f"Cookie: session={MARK}; theme={MARK}",
    "a database": f"postgresql://modelsync:{MARK}@db.example/modelsync",
    "a password with signs": f"redis://:{MARK}/@{MARK}@redis.example:6379/0",
    "a feed": f"GET /feeds/{MARK}-{MARK}.atom",
    "a query": f"GET /signup?invite={MARK}.{MARK}&x=1",
    "a web token": f"eyJhbGciOi{MARK}.eyJzdWIi{MARK}.{MARK}",
    "a private key": f"-----BEGIN PRIVATE KEY-----\n{MARK}\n{MARK}\n-----END PRIVATE KEY-----",
    "half a private key": f"-----BEGIN RSA PRIVATE KEY-----\n{MARK}\n{MARK}",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_what_looks_like_a_secret_is_hidden_wherever_it_stands(kept: Kept, text: str) -> None:
    log = logging.getLogger("app.x")
    log.warning(f"it was {text}")  # as libraries do
    log.warning("it was %s, said %r", text, [text])
    structlog.get_logger("app.x").warning("x", one=text, many={"a": [text]}, **{f"in a name {text}": 1})
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError("again") from error
    except RuntimeError:
        log.exception("failed with")
    assert len(kept.lines) == 4
    assert all(logs.MASK in line for line in kept.lines)
    assert MARK not in kept.text


def test_a_value_is_hidden_for_its_name_alone(kept: Kept) -> None:
    structlog.get_logger("app.x").warning("x", password=MARK, headers={"Authorization": MARK, "accept": "text/html"})
    assert MARK not in kept.text and "text/html" in kept.text


def test_this_processs_own_secrets_are_hidden_without_being_kept(kept: Kept) -> None:
    logging.getLogger("app.x").warning("connecting with (%s) or cdefghij", OURS)
    assert OURS not in kept.text and "cdefghij" not in kept.text and kept.text.count(logs.MASK) == 2
    redactor = logs.Redactor([OURS])
    assert OURS not in repr(vars(redactor)) and OURS.encode() not in b"".join(redactor._digests)


def test_what_is_no_secret_stays_readable() -> None:
    for text in (
        "run 12: openai failed in an unknown way",
        "models/gemini-2.5-pro at https://api.example.com/v1/models?limit=100",
        "sk and pk are prefixes; tokens 128000; key number 7",
        "GET /history/12/results/3 of feeds and resets",
    ):
        assert logs.Redactor([OURS]).redact(text) == text


def test_the_secrets_of_a_process_are_those_it_was_given(tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text("from-a-file-0123456789")
    environ = {
        "MODELSYNC_INSTANCE": str(tmp_path),
        "SECRET_KEY": "s" * 40,
        "OPENAI_API_KEY": "sk-server",
        "GROQ_API_KEY_FILE": str(file),
        "OTHER_TOKEN_FILE": "/nowhere",
        "DATABASE_URL": "postgresql://m:p%40ssword-of-db@h/n",
        "VAULT_PUBLIC_KEY": Keyring(generate_private_key()).public,
    }
    found = config.collect_secrets(config.load(environ), environ)
    assert {"s" * 40, "sk-server", "from-a-file-0123456789", "p%40ssword-of-db", "p@ssword-of-db"} == set(found)


# ------------------------------------------------------------------ the whole of it


@both_databases
def test_failing_syncs_leave_no_key_in_any_line_and_tell_whose_they_are(
    app: Flask, alice: Person, vault: Keyring, simulator: Simulator, kept: Kept
) -> None:
    alice.row.sync_on_sign_in = False
    alice.sign_in()
    for slug in ("openai", "anthropic", "google"):
        alice.add_key(slug, KEY)
    for fault in ("unauthorized", "echo_key", "redirect_elsewhere"):  # those that are not asked again: no waiting
        for slug in ("openai", "anthropic", "google"):
            simulator.set_fault(slug, fault)
        answer = alice.post("/sync", htmx=True)
        assert answer.status_code < 400
        work_off(app, vault)
    assert any(KEY in repr(seen.headers) for seen in simulator.requests())  # it was in use
    assert len(kept.lines) > 20
    assert MARK not in kept.text
    if kept.lines[0][0] == "{":
        told = [json.loads(line) for line in kept.lines]
        asked = [one for one in told if one.get("rule") == "/sync" and one["logger"] == "app.requests"]
        assert {one["user_id"] for one in asked} == {alice.id} and all(one["status"] < 400 for one in asked)


def test_a_failure_that_nobody_thought_of_is_told_without_the_key_by_run_and_request(
    app: Flask, alice: Person, vault: Keyring, simulator: Simulator, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run_id: int, _means: object) -> None:
        raise ZeroDivisionError(f"nobody thought of {KEY} and\n{OURS}")

    alice.row.sync_on_sign_in = False
    alice.sign_in()
    alice.add_key("openai", KEY)
    monkeypatch.setattr(sync_run, "execute", broken)
    answer = alice.post("/sync", htmx=True)
    number = answer.headers["X-Request-ID"]

    class Speaking(workers.JobLoggingMixin, working._HereWorker):
        """As the forking one does."""

    monkeypatch.setattr(working, "_HereWorker", Speaking)
    work_off(app, vault)
    assert "nobody thought of" in kept.text
    assert MARK not in kept.text and OURS not in kept.text
    if kept.lines[0][0] == "{":
        failed = [told for told in map(json.loads, kept.lines) if told["event"] == "job failed"]
        assert [(one["job"], one["request_id"]) for one in failed] == [("run_sync", number)]
        assert failed[0]["run_id"] > 0 and failed[0]["ms"] >= 0
    assert issubclass(workers.SyncWorker, workers.JobLoggingMixin)


def test_one_chain_writes_each_line_once_also_after_gunicorns_master_made_one(
    app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    from app import serving

    serving._logs.configure("json", "INFO")  # as the master does, by its own copy of the module
    logs.configure("json", "INFO")
    logging.getLogger("app.x").warning("once and not twice")
    assert capsys.readouterr().err.count("once and not twice") == 1

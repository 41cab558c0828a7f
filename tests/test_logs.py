"""Logging: one chain, one line per event, secrets masked, and no text that can forge lines or control a terminal."""

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
from tests.web import worker
from tests.web.worker import work_off

MARK = "cAnArYmArK"
KEY = f"sk-good-{MARK}-in-the-log-{MARK}-7c1d"
OURS = "Xq7-our-own-secret-of-the-environment-Zz9"
LOGGERS = (
    "app.sync.run",
    "gunicorn.error",
    "gunicorn.access",
    "rq.worker",
    "sqlalchemy.engine",
    "werkzeug",
    "flask_limiter",
)


class LineCollector(logging.Handler):
    """Collects the formatted lines."""

    def __init__(self, log_format: logs.LogFormat) -> None:
        super().__init__()
        self.setFormatter(logs.build_formatter(log_format, [OURS, "aB3+/cdefghij=="]))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture(params=logs.LOG_FORMATS)
def log_lines(request: pytest.FixtureRequest) -> Iterator[LineCollector]:
    handler, root = LineCollector(request.param), logging.getLogger()
    logs.configure(request.param, "DEBUG")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)
    logging.getLogger("app").setLevel("INFO")


# ------------------------------------------------------------------ one line per event


@pytest.mark.parametrize("name", LOGGERS)
def test_every_library_goes_through_the_chain(log_lines: LineCollector, name: str) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-12345678", run_id=7, user_id=3):
        logging.getLogger(name).warning("%s happened", "something")
    (line,) = log_lines.lines
    if log_lines.formatter and line[0] == "{":
        event = json.loads(line)
        assert list(event)[:4] == ["time", "level", "logger", "event"]
        assert (event["level"], event["logger"], event["event"]) == ("warning", name, "something happened")
        assert (event["request_id"], event["run_id"], event["user_id"]) == ("r-12345678", 7, 3)
        assert event["time"].endswith("Z")
    else:
        assert f"WARNING  {name}: something happened" in line
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
def test_hostile_text_starts_no_line_and_controls_no_terminal(log_lines: LineCollector, text: str) -> None:
    logging.getLogger("app.x").warning("%s", text)
    structlog.get_logger("app.x").warning(text, **{"a" + text: [text, {"k": {text: text}}]})
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("app.x").exception(text)
    assert len(log_lines.lines) == 3
    for line in log_lines.lines:
        parts = line.split("\n    ")  # the human format puts a traceback on indented lines
        assert all(part.isprintable() for part in parts)
        assert len(parts) == 1 or "Traceback" not in line
    assert "a" in log_lines.text and "b" in log_lines.text


def test_a_lone_surrogate_is_logged(log_lines: LineCollector) -> None:
    # Formatted directly, since pytest's log capture cannot handle such text.
    line = log_lines.format(logging.makeLogRecord({"name": "app.x", "levelname": "INFO", "msg": "a\ud800b"}))
    assert line.isprintable() and "a" in line and "b" in line


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert logs.escape_unprintable(text).isprintable()
    assert logs.escape_unprintable(logs.Redactor([OURS]).redact(text)).isprintable()


def test_a_traceback_has_its_causes_and_no_locals(log_lines: LineCollector) -> None:
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
    assert (
        "the first cause" in log_lines.text
        and "RuntimeError: the second, of 24" in log_lines.text
        and "in fail" in log_lines.text
    )
    assert "test_logs.py:" in log_lines.text
    assert "a-local-a-local" not in log_lines.text


def test_a_value_that_cannot_be_formatted_is_neither_an_error_nor_printed_raw(
    log_lines: LineCollector, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ZeroDivisionError(KEY)

    structlog.get_logger("app.x").warning("shown", it=Broken())
    assert "<Broken>" in log_lines.text
    console = logs.ConsoleHandler()
    console.setFormatter(logs.build_formatter("json"))
    console.handle(logging.LogRecord("app.x", logging.ERROR, "", 0, "%d", (KEY,), None))
    stderr = capsys.readouterr().err
    assert json.loads(stderr.splitlines()[-1])["event"] == "a line of the log could not be made"
    assert MARK not in stderr


# ------------------------------------------------------------------ masking

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
def test_text_that_looks_like_a_secret_is_masked_everywhere(log_lines: LineCollector, text: str) -> None:
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
    assert len(log_lines.lines) == 4
    assert all(logs.MASK in line for line in log_lines.lines)
    assert MARK not in log_lines.text


def test_a_value_is_masked_because_of_its_name(log_lines: LineCollector) -> None:
    structlog.get_logger("app.x").warning("x", password=MARK, headers={"Authorization": MARK, "accept": "text/html"})
    assert MARK not in log_lines.text and "text/html" in log_lines.text


def test_secrets_of_the_process_are_masked_but_not_kept_in_memory(log_lines: LineCollector) -> None:
    logging.getLogger("app.x").warning("connecting with (%s) or cdefghij", OURS)
    assert OURS not in log_lines.text and "cdefghij" not in log_lines.text and log_lines.text.count(logs.MASK) == 2
    redactor = logs.Redactor([OURS])
    assert OURS not in repr(vars(redactor)) and OURS.encode() not in b"".join(redactor._digests)


def test_ordinary_text_is_not_masked() -> None:
    for text in (
        "run 12: openai failed in an unknown way",
        "models/gemini-2.5-pro at https://api.example.com/v1/models?limit=100",
        "sk and pk are prefixes; tokens 128000; key number 7",
        "GET /history/12/results/3 of feeds and resets",
    ):
        assert logs.Redactor([OURS]).redact(text) == text


def test_collected_secrets_are_those_the_process_can_read(tmp_path: Any) -> None:
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
    secrets = config.collect_secrets(config.load(environ), environ)
    assert {"s" * 40, "sk-server", "from-a-file-0123456789", "p%40ssword-of-db", "p@ssword-of-db"} == set(secrets)


# ------------------------------------------------------------------ whole requests and jobs


@both_databases
def test_failing_syncs_log_no_key_but_the_user(
    app: Flask, alice: Person, vault: Keyring, simulator: Simulator, log_lines: LineCollector
) -> None:
    alice.row.sync_on_sign_in = False
    alice.sign_in()
    for slug in ("openai", "anthropic", "google"):
        alice.add_key(slug, KEY)
    for fault in ("unauthorized", "echo_key", "redirect_elsewhere"):  # not retried, so that nothing waits
        for slug in ("openai", "anthropic", "google"):
            simulator.set_fault(slug, fault)
        response = alice.post("/sync", htmx=True)
        assert response.status_code < 400
        work_off(app, vault)
    assert any(KEY in repr(request.headers) for request in simulator.requests())  # the key was used
    assert len(log_lines.lines) > 20
    assert MARK not in log_lines.text
    if log_lines.lines[0][0] == "{":
        events = [json.loads(line) for line in log_lines.lines]
        requests = [event for event in events if event.get("rule") == "/sync" and event["logger"] == "app.requests"]
        assert {event["user_id"] for event in requests} == {alice.id}
        assert all(event["status"] < 400 for event in requests)


def test_an_unexpected_error_is_logged_without_the_key_but_with_run_and_request(
    app: Flask,
    alice: Person,
    vault: Keyring,
    simulator: Simulator,
    log_lines: LineCollector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(run_id: int, _context: object) -> None:
        raise ZeroDivisionError(f"unexpected {KEY} and\n{OURS}")

    alice.row.sync_on_sign_in = False
    alice.sign_in()
    alice.add_key("openai", KEY)
    monkeypatch.setattr(sync_run, "execute", fail)
    response = alice.post("/sync", htmx=True)
    request_id = response.headers["X-Request-ID"]

    class LoggingWorker(workers.JobLoggingMixin, worker._HereWorker):
        """Logs as `SyncWorker` does."""

    monkeypatch.setattr(worker, "_HereWorker", LoggingWorker)
    work_off(app, vault)
    assert "unexpected" in log_lines.text
    assert MARK not in log_lines.text and OURS not in log_lines.text
    if log_lines.lines[0][0] == "{":
        failed = [event for event in map(json.loads, log_lines.lines) if event["event"] == "job failed"]
        assert [(event["job"], event["request_id"]) for event in failed] == [("run_sync", request_id)]
        assert failed[0]["run_id"] > 0 and failed[0]["ms"] >= 0
    assert issubclass(workers.SyncWorker, workers.JobLoggingMixin)


def test_each_line_is_written_once_also_in_a_gunicorn_worker(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    from app import serving

    serving._logs.configure("json", "INFO")  # as the master does, with its own copy of the module
    logs.configure("json", "INFO")
    logging.getLogger("app.x").warning("once and not twice")
    assert capsys.readouterr().err.count("once and not twice") == 1

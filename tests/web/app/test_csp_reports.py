"""Browsers report broken rules of the Content-Security-Policy; what they send is bounded, shortened and not kept."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app.extensions import db
from app.web.app import csp_reports

OLD = {
    "csp-report": {
        "document-uri": "https://modelsync.example/models?q=typed",
        "effective-directive": "script-src-elem",
        "blocked-uri": "inline",
        "source-file": "https://user:pass@evil.example/x.js?key=1",
        "line-number": 7,
        "script-sample": "alert('typed')",
    }
}
NEW = [
    {
        "type": "csp-violation",
        "url": "https://modelsync.example/",
        "body": {"documentURL": "https://modelsync.example/", "effectiveDirective": "img-src", "blockedURL": "data"},
    }
]


def send(app: Flask, body: Any, kind: str = "application/csp-report") -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return app.test_client().post("/csp-reports", data=data, content_type=kind).status_code


def logged_reports(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [one.msg for one in caplog.records if one.name == "app.reports" and isinstance(one.msg, dict)]


def test_both_forms_are_told_in_a_line_without_what_was_typed(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    assert send(app, OLD) == send(app, NEW, "application/reports+json") == 204
    first, second = logged_reports(caplog)
    assert {name: first[name] for name in ("directive", "page", "blocked", "source", "line")} == {
        "directive": "script-src-elem",
        "page": "https://modelsync.example/models",
        "blocked": "inline",
        "source": "https://evil.example/x.js",
        "line": "7",
    }
    assert (second["directive"], second["page"], second["blocked"]) == ("img-src", "https://modelsync.example/", "data")
    assert "typed" not in caplog.text and "pass" not in caplog.text


def test_a_page_whose_path_is_a_secret_is_told_by_its_route(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    report = OLD["csp-report"] | {"document-uri": "https://modelsync.example/reset/a-token-that-opens-an-account"}
    assert send(app, {"csp-report": report}) == 204
    assert logged_reports(caplog)[0]["page"] == "https://modelsync.example/reset/<token>"
    assert "opens-an-account" not in caplog.text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/csp-report", 400),
        (b"{", "application/csp-report", 400),
        (b"\xff\xfe", "application/csp-report", 400),
        (b"[" * 10_000, "application/csp-report", 400),
        (b" " * (csp_reports.MAX_BODY_BYTES + 1), "application/csp-report", 413),
        (b"{}", "text/plain", 415),
        (b"null", "application/csp-report", 204),
        (b'{"csp-report": [1]}', "application/csp-report", 204),
        (b'[{"body": {"blockedURL": {"a": 1}}}, 7, "x"]', "application/reports+json", 204),
        (b'{"csp-report": {"document-uri": "http://[::1"}}', "application/csp-report", 204),
    ],
)
def test_nonsense_is_refused_or_says_nothing(app: Flask, body: bytes, kind: str, status: int) -> None:
    assert send(app, body, kind) == status


def test_what_is_told_is_bounded(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    many = [{"body": {"effectiveDirective": "x" * 400, "documentURL": "y" * 400}} for _ in range(12)]
    assert send(app, many, "application/reports+json") == 204
    lines = logged_reports(caplog)
    assert len(lines) == csp_reports.MAX_REPORTS
    assert all(len(str(value)) <= 200 for line in lines for value in line.values())


def test_it_asks_no_database_and_has_its_limit(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "app.reports")
    queries: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *arguments: queries.append(arguments[2]))
    statuses = [send(app, NEW, "application/reports+json") for _ in range(32)]
    assert statuses[:30] == [204] * 30 and set(statuses[30:]) == {429}
    assert queries == []


def test_pages_name_it_in_both_ways_and_shut_out_everything_else(app: Flask) -> None:
    headers = app.test_client().get("/login").headers
    policy = headers["Content-Security-Policy"]
    assert "report-uri /csp-reports" in policy and "report-to csp" in policy
    assert headers["Reporting-Endpoints"] == 'csp="/csp-reports"'
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert {"camera=()", "usb=()", "payment=()"} <= set(headers["Permissions-Policy"].split(", "))
    assert "unsafe" not in policy

"""The number of a request: whose it may be, where it is shown; and the one line that each request leaves."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import Any

import pytest
from flask import Flask

from app.jobs import queues
from app.web.app import request_id
from tests.conftest import Person

OWN = re.compile(r"[0-9a-f]{16}")


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[dict[str, Any]]:
    told = [one.msg for one in caplog.records if one.name == "app.requests" and one.levelno >= level]
    return [one for one in told if isinstance(one, dict)]


def behind_a_proxy(app: Flask) -> None:
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], trusted_proxies=1)


def test_every_answer_has_a_number_of_its_own(app: Flask) -> None:
    client = app.test_client()
    found = [client.get(path).headers["X-Request-ID"] for path in ("/", "/health", "/nothing", "/static/app.js", "/")]
    assert all(OWN.fullmatch(one) for one in found) and len(set(found)) == len(found)
    refused = client.post("/login", data={"email": "x"})  # without a CSRF token
    assert refused.status_code == 419 and OWN.fullmatch(refused.headers["X-Request-ID"])


def test_a_number_is_taken_from_nobody_but_a_trusted_proxy(app: Flask) -> None:
    sent = {"X-Request-ID": "from-outside-0001"}
    assert OWN.fullmatch(app.test_client().get("/health", headers=sent).headers["X-Request-ID"])
    behind_a_proxy(app)
    assert app.test_client().get("/health", headers=sent).headers["X-Request-ID"] == "from-outside-0001"


@pytest.mark.parametrize(
    "sent", ["short", "x" * 65, "with space", "a" * 10 + "\x1b[2J", "<script>alert(1)", "-leading-dash", "größe-größe"]
)
def test_a_number_that_is_not_well_formed_is_replaced(app: Flask, sent: str) -> None:
    behind_a_proxy(app)
    answer = app.test_client().get("/health", headers={"X-Request-ID": sent})
    assert OWN.fullmatch(answer.headers["X-Request-ID"])


def test_a_failure_tells_the_person_the_number_that_the_log_has(
    app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> str:
        raise ZeroDivisionError("nobody thought of this")

    alice.sign_in()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.view_functions["settings.index"] = broken
    for headers in ({}, {"HX-Request": "true"}):
        answer = alice.client.get("/settings", headers=headers)
        assert answer.status_code == 500
        number = answer.headers["X-Request-ID"]
        assert f"tell the operator this number: {number}." in answer.text
    line = lines(caplog)[-1]
    assert (line["status"], line["request_id"], line["user_id"]) == (500, number, alice.id)


def test_a_request_leaves_one_line_with_its_rule_and_nothing_that_was_typed(
    app: Flask, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    alice.sign_in()
    with caplog.at_level(logging.INFO, "app"):
        caplog.clear()
        assert alice.client.get("/models?q=what-i-look-for").status_code == 200
        assert alice.client.get("/feeds/a-secret-address-of-somebody.atom").status_code == 404
        assert alice.client.get("/no-such-thing-typed").status_code == 404
    told = lines(caplog)
    assert [(one["method"], one["rule"], one["status"]) for one in told] == [
        ("GET", "/models", 200),
        ("GET", "/feeds/<secret>.atom", 404),
        ("GET", "(none)", 404),
    ]
    assert told[0]["user_id"] == alice.id and told[0]["ms"] > 0
    assert len({one["request_id"] for one in told}) == 3
    assert "what-i-look-for" not in caplog.text and "a-secret-address" not in caplog.text


def test_machines_that_ask_every_few_seconds_are_not_told_of(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app"):
        for path in ("/health", "/static/app.js"):
            assert app.test_client().get(path).status_code == 200
        assert lines(caplog) == []
        assert app.test_client().get("/health/ready").status_code == 503
    assert [one["status"] for one in lines(caplog)] == [503]


def test_a_job_carries_the_number_of_the_request_that_asked_for_it(app: Flask, alice: Person) -> None:
    alice.row.sync_on_sign_in = False
    alice.sign_in()
    alice.add_key("openai")
    number = alice.post("/sync", htmx=True).headers["X-Request-ID"]
    (job,) = [job for queue in queues.open_queues() for job in queue.jobs]
    assert job.meta == {"request_id": number}
    assert request_id.WELL_FORMED.fullmatch(number)

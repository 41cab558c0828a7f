"""Runs `flask …` in tests."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.extensions import db

Run = Callable[..., Any]


@pytest.fixture
def run(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(*arguments, typed=…)` runs a command with `typed` on standard input; its result."""
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str, typed: str = "") -> Any:
        db.session.rollback()
        runner = app.test_cli_runner()
        result = contextvars.Context().run(runner.invoke, args=list(arguments), input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        db.session.rollback()
        db.session.expire_all()
        return result

    return invoke


def read_output(result: Any, code: int = 0) -> str:
    """The output on one line; checks the exit code."""
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())

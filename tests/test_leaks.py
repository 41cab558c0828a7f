"""Keys with a mark and passwords are planted, everything is done with them, and then everything is searched."""

from __future__ import annotations

import contextvars
import logging
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from sqlalchemy import inspect, text

from app.demo.simulator import Simulator
from app.extensions import db
from app.sync import run as sync_run
from app.sync.run import SyncContext
from app.vault import Keyring
from tests.conftest import Person, sqlite_first
from tests.web.worker import work_off

# The five with a shape and a way to sign each of their own; saving is bounded per hour.
SLUGS = ("openai", "anthropic", "google", "groq", "openrouter")
MARK = "cAnArYmArK"
PASSWORDS = ("pAsSwOrD-of-the-first-account", "pAsSwOrD-of-another-day")


def key_for(slug: str, kind: str = "good") -> str:
    return f"sk-{kind}-{MARK}-{slug}-{MARK}-4f2a"


class Told:
    """All that anybody could read."""

    def __init__(self) -> None:
        self.places: list[tuple[str, bytes]] = []

    def add(self, place: str, said: Any) -> None:
        self.places.append((place, said if isinstance(said, bytes) else str(said).encode("utf-8", "surrogateescape")))

    def hits(self, *secrets: str) -> list[str]:
        return [place for place, said in self.places for secret in secrets if secret.lower().encode() in said.lower()]


def read_database(told: Told, folder: Path) -> None:
    db.session.commit()
    for table in inspect(db.engine).get_table_names():
        for row in db.session.execute(text(f'SELECT * FROM "{table}"')):
            for name, value in row._mapping.items():
                told.add(f"{table}.{name}", bytes(value) if isinstance(value, bytes | memoryview) else value)
    for file in folder.glob("*.sqlite*"):
        told.add(file.name, file.read_bytes())


def read_redis(told: Told, url: str) -> int:
    with redis.Redis.from_url(url) as client:
        names = list(client.scan_iter())
        for name in names:
            told.add(f"redis {name!r}", name + (client.dump(name) or b""))
            kind = client.type(name)
            if kind == b"hash":
                told.add(f"redis {name!r}", repr(client.hgetall(name)))
            elif kind == b"string":
                told.add(f"redis {name!r}", client.get(name) or b"")
            elif kind == b"list":
                told.add(f"redis {name!r}", repr(client.lrange(name, 0, -1)))
            elif kind == b"zset":
                told.add(f"redis {name!r}", repr(client.zrange(name, 0, -1)))
    return len(names)


@sqlite_first
def test_no_key_and_no_password_is_found_anywhere(  # noqa: C901  # one long story, told in order
    app: Flask,
    means: SyncContext,
    vault: Keyring,
    simulator: Simulator,
    carol: Person,
    redis_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "rq", "rq.worker", "sqlalchemy.engine", "app", "flask_limiter", "werkzeug"):
        caplog.set_level(logging.DEBUG, name)
    told = Told()
    client = app.test_client()
    person = Person(carol.row, app, carol.public_key)
    person.client = client

    def post(path: str, *, htmx: bool = False, **form: str) -> Any:
        answer = person.post(path, htmx=htmx, **form)
        told.add(f"POST {path}", answer.get_data() + str(answer.headers).encode())
        return answer

    def look() -> None:
        for path in (
            "/profile",
            "/history",
            "/changes",
            "/models",
            "/api/models/sync",
            "/sync/status?poll=",
            "/nothing",
        ):
            told.add(path, client.get(path, headers={"HX-Request": "true"}).get_data())

    email = "marked@example.com"
    post("/signup", email=email, password="short")
    assert post("/signup", email=email, password=PASSWORDS[0]).status_code == 303
    post("/profile/password", current_password=PASSWORDS[0], password=PASSWORDS[1])
    post("/profile/password", current_password=PASSWORDS[0], password=PASSWORDS[1])
    post("/logout")
    post("/login", email=email, password=PASSWORDS[0])
    assert post("/login", email=email, password=PASSWORDS[1]).status_code == 303

    # Saved in both ways, refused, replaced; checked and synced by a worker.
    for number, slug in enumerate(SLUGS):
        post("/keys", htmx=bool(number % 2), provider=slug, key=key_for(slug))
        post("/keys", htmx=True, provider=slug, key=key_for(slug))
        post("/keys", htmx=True, provider=slug, key=key_for(slug) + " and more", label="odd")
        post("/keys", htmx=True, provider=slug, key=key_for(slug, "revoked"), label="revoked")
        post("/keys", htmx=True, provider=slug, key=key_for(slug, "bad"), label="bad")
    work_off(app, vault)
    post("/sync", htmx=True)
    look()
    work_off(app, vault)
    look()
    for fault in ("echo_key", "error_500", "html", "unauthorized", "redirect_elsewhere", "hang"):
        for slug in SLUGS:
            simulator.set_fault(slug, fault)
        if fault == "hang":
            simulator_means = SyncContext(
                vault=vault, client=means.client, base_urls=simulator.base_urls, total_timeout_s=0.3
            )
            new_run_id = post("/api/models/sync").json["run_id"]
            for slug in SLUGS:
                simulator.set_fault(slug, "drip", seconds=0.05)
            sync_run.execute(new_run_id, simulator_means)
        else:
            post("/sync")
            work_off(app, vault)
        look()
    simulator.clear_fault()
    first = db.session.scalar(text("SELECT min(id) FROM credentials"))
    post(f"/keys/{first}/replace", htmx=True, key=key_for("openai", "next"))
    post(f"/keys/{first}/active", active="no")
    post(f"/keys/{first}/delete")

    # The shell.
    def shell(*arguments: str, typed: str = "") -> None:
        result = contextvars.Context().run(app.test_cli_runner().invoke, args=list(arguments), input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        told.add(" ".join(arguments), result.output)

    shell("keys", "add", email, "groq", "--label", "shell", typed=key_for("groq", "shell"))
    shell("keys", "add", email, "groq", "--label", "shell", typed=key_for("groq", "shell"))
    shell("keys", "list", email)
    shell("sync", "run", email)
    shell("sync", "run", email, "--dry-run", "--json")
    shell("models", "list", email, "--json")

    look()
    read_database(told, tmp_path)
    assert read_redis(told, redis_url) > 0
    for seen in simulator.requests():
        told.add("an address", seen.path + repr(seen.query))
    log = "\n".join(
        f"{record.name} {record.getMessage()} {record.exc_text} {record.args!r}" for record in caplog.records
    )
    out, err = capfd.readouterr()
    for place, said in (("the log", log), ("the formatted log", caplog.text), ("stdout", out), ("stderr", err)):
        told.add(place, said)

    # That the search looks where things are: the keys arrived, the hints are shown, the noisy loggers spoke.
    assert {seen.slug for seen in simulator.requests() if MARK in repr(seen.headers)} == set(SLUGS)
    assert told.hits("4f2a") and told.hits(email)
    assert {"httpcore", "sqlalchemy", "rq"} <= {record.name.split(".")[0] for record in caplog.records}
    assert told.hits(MARK, *PASSWORDS) == []

"""A Redis with TLS and a password: the whole product works over it, and errors do not contain the password."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask
from sqlalchemy import select

from app import config, create_app
from app.cli import embedded_redis
from app.extensions import db
from app.jobs import enqueue, monitoring, pubsub, queues
from app.store.queries import runs
from app.store.schema.tables import RunRow
from tests.conftest import _EVERYTHING, Person, _answers, _settings, _until
from tests.installation import variables, working
from tests.live import flask, free_port
from tests.web.text_browser import words

Until = Callable[..., Any]
PASSWORD = "it's: 100% / p@ss#word?"


def program() -> str:
    """A redis-server that was built with TLS, which the embedded one is not. In CI there must be one."""
    names = ["redis-server", embedded_redis._find_server()]
    for name in names:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            # Asked for TLS without a certificate, a program with TLS complains of that, another of the option.
            told = subprocess.run(
                [name, "--port", "0", "--tls-port", str(free_port())],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
            if "tls-cert-file" in told.stdout:
                return name
    if _EVERYTHING:
        raise AssertionError("MODELSYNC_TEST_EVERYTHING=1 needs a redis-server with TLS")
    pytest.skip("there is no redis-server with TLS")


@dataclass(frozen=True)
class Signed:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def sign(folder: Path, name: str, by: Signed | None = None) -> Signed:
    """A certificate for 127.0.0.1, or without `by` an authority's; written as NAME.crt and NAME.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        # Python 3.13 refuses certificates without what RFC 5280 demands: these three.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((by.key if by else key).public_key()), critical=False
        )
        .add_extension(_key_usage(signs_certificates=by is None), critical=True)
    )
    if by:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(*plain))
    return Signed(certificate, key)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    rest = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        decipher_only=False,
        **dict.fromkeys(rest, False),
    )


@dataclass(frozen=True)
class Guarded:
    """A Redis that speaks TLS only and wants the password."""

    port: int
    folder: Path

    def url(self, *, password: str = PASSWORD, authority: str | None = "ca", host: str = "127.0.0.1") -> str:
        query = f"?ssl_ca_certs={self.folder}/{authority}.crt" if authority else ""
        return f"rediss://:{quote(password, safe='')}@{host}:{self.port}/0{query}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    name, folder = program(), tmp_path_factory.mktemp("tls")
    authority = sign(folder, "ca")
    sign(folder, "another-ca")
    sign(folder, "server", authority)
    place = Guarded(free_port(), folder)
    options = {
        "port": 0,
        "tls-port": place.port,
        "bind": "127.0.0.1",
        "tls-cert-file": folder / "server.crt",
        "tls-key-file": folder / "server.key",
        "tls-ca-cert-file": folder / "ca.crt",
        "tls-auth-clients": "no",
        "requirepass": PASSWORD,
        "save": "",
        "dir": folder,
    }
    command = [name, *(str(part) for option, value in options.items() for part in (f"--{option}", value))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis.from_url(place.url()) as client:
            _until(lambda: _answers(client))
        yield place
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def redis_url(guarded: Guarded) -> str:
    """The `app` of these tests is on the guarded Redis."""
    with redis.Redis.from_url(guarded.url()) as client:
        client.flushall()
    return guarded.url()


def silent_about_it(*texts: str) -> bool:
    return not [part for part in (PASSWORD, quote(PASSWORD, safe=""), "wr0ng-pass") for text in texts if part in text]


@pytest.mark.slow
def test_a_job_is_queued_and_worked_off_over_tls(
    app: Flask, alice: Person, settings: config.Settings, guarded: Guarded, tmp_path: Path, until: Until
) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in()
    with working(settings, tmp_path / "work.log") as part:
        until(queues.count_live_workers, 30)
        answer = alice.post("/sync", htmx=True)
        assert "notice" not in answer.text, words(answer.text)  # neither "no Redis" nor "no worker"

        def is_done() -> bool:
            db.session.rollback()
            return db.session.scalar(select(RunRow.state)) == "done"

        until(is_done, 30)
        run = runs.load_latest_run(alice.id)
        assert run is not None and [result.outcome for result in run.results] == ["complete"]
        doctor = flask("doctor", instance=tmp_path, **variables(settings))
        assert "✓ queue" in doctor.stdout and "✓ workers" in doctor.stdout
        assert part.stop() == 0
    assert "Traceback" not in part.told and silent_about_it(part.told, doctor.stdout, doctor.stderr, answer.text)


def test_who_watches_a_run_is_told_over_tls(app: Flask, until: Until) -> None:
    news = monitoring.watch_run(7)
    next(news)  # subscribed
    pubsub.publish_run_changed(7)
    next(news)
    with redis.Redis.from_url(config.current().redis_url) as client:
        assert client.pubsub_numpat() == 1
    news.close()


def test_attempts_are_counted_in_the_guarded_redis(app: Flask, alice: Person) -> None:
    assert alice.post("/login", email=alice.row.email, password="not hers").status_code != 303
    with redis.Redis.from_url(config.current().redis_url) as client:
        assert [key for key in client.scan_iter() if b"login" in key]


@pytest.mark.parametrize(
    ("changes", "says", "remedy"),
    [
        ({"password": "wr0ng-pass"}, "it refuses the password of REDIS_URL", "Correct"),
        ({"authority": "another-ca"}, "its certificate is not trusted", "ssl_ca_certs"),
        ({"authority": None}, "its certificate is not trusted", "ssl_ca_certs"),
        ({"host": "localhost"}, "Hostname mismatch", "name"),
    ],
    ids=["wrong-password", "wrong-authority", "no-authority", "wrong-name"],
)
def test_what_is_wrong_is_one_sentence_without_the_password(
    settings: config.Settings,
    guarded: Guarded,
    caplog: pytest.LogCaptureFixture,
    app: Flask,
    alice: Person,
    changes: dict[str, Any],
    says: str,
    remedy: str,
) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    url = guarded.url(**changes)
    elsewhere = create_app(_settings(settings.instance, settings.database_url, url))
    elsewhere.config["TESTING"] = True
    with elsewhere.app_context():
        result = elsewhere.test_cli_runner().invoke(args=["doctor"])
        (line,) = [line for line in result.output.splitlines() if line.startswith("✗ queue")]
        assert says in line and line.endswith(".")
        assert remedy in result.output.split(line)[1].splitlines()[1]
        assert result.exit_code == 1
        db.session.remove()  # gives its connection back, so that disposing of the engine closes it
        db.engine.dispose()
    mine = app.extensions.pop("redis", None)
    app.config["SETTINGS"] = elsewhere.config["SETTINGS"]
    try:
        alice.sign_in()
        page = alice.post("/sync", htmx=True)
    finally:
        app.extensions.pop("redis").close()
        if mine:
            app.extensions["redis"] = mine
    assert page.status_code == 200 and enqueue.NO_REDIS in words(page.text)
    logged = "\n".join(record.getMessage() + (record.exc_text or "") for record in caplog.records)
    assert silent_about_it(result.output, page.text, logged)


@pytest.mark.slow
def test_a_worker_that_is_not_let_in_says_so_in_a_sentence(
    app: Flask, settings: config.Settings, guarded: Guarded, tmp_path: Path
) -> None:
    for url, says in (
        (guarded.url(password="wr0ng-pass"), "refuses the password of REDIS_URL"),
        (guarded.url(authority="another-ca"), "certificate is not trusted"),
    ):
        done = flask("work", instance=tmp_path, **variables(settings, REDIS_URL=url))
        assert done.returncode == 1
        assert says in done.stderr and "Traceback" not in done.stderr
        assert silent_about_it(done.stdout, done.stderr)

"""A service account's JSON is exchanged for a token, and none of it leaks."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.providers import openai
from app.sync.http import errors
from app.sync.http.client import new_client
from app.sync.http.google_auth import resolve_signing_key
from app.vault import ApiKey

GOOGLE = replace(openai.PROVIDER, token_exchange="google")


class TokenDesk(BaseHTTPRequestHandler):
    """Google's token endpoint: counts requests and returns a configured response."""

    asked: ClassVar[list[dict[str, list[str]]]] = []
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append(parse_qs(body))
        answer = {"access_token": "ya29.a-token-for-an-hour", "expires_in": 3600, "token_type": "Bearer"}
        refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        data = json.dumps(answer if self.status == 200 else refusal).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def desk() -> Iterator[str]:
    TokenDesk.asked.clear()
    TokenDesk.status = 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenDesk)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def account() -> dict[str, str]:
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "sync@project.example",
        "private_key": pem.decode(),
        "private_key_id": "1",
        "token_uri": "http://169.254.169.254/token",
    }


def exchanged(account: object, desk: str) -> ApiKey | None:
    with new_client() as client:
        key = ApiKey(json.dumps(account))
        return resolve_signing_key(GOOGLE, key, client, {"google-oauth": desk})


def test_a_service_account_is_exchanged_for_a_token_at_googles_own_address(account: dict[str, str], desk: str) -> None:
    token = exchanged(account, desk)
    assert token is not None
    assert token.reveal() == "ya29.a-token-for-an-hour"
    (asked,) = TokenDesk.asked  # and not the address in the JSON
    assert asked["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_an_api_key_is_not_exchanged(desk: str) -> None:
    with new_client() as client:
        key = ApiKey("AIza-an-api-key-of-a-test")
        assert resolve_signing_key(GOOGLE, key, client, {"google-oauth": desk}) is key
        assert resolve_signing_key(openai.PROVIDER, ApiKey("{}"), client, {}) is not None
    assert TokenDesk.asked == []


@pytest.mark.parametrize("broken", [{}, {"type": "service_account"}, [], "text", {"private_key": "no key at all"}])
def test_what_is_no_service_account_is_a_rejected_key(broken: object, desk: str) -> None:
    if not isinstance(broken, dict):
        broken = {"wrapped": broken}
    with pytest.raises(errors.KeyRejected):
        exchanged(broken, desk)


def test_trouble_of_googles_own_is_not_blamed_on_the_key(
    account: dict[str, str], desk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # google-auth waits between its three tries
    TokenDesk.status = 503
    with pytest.raises(errors.Unavailable):
        exchanged(account, desk)
    assert len(TokenDesk.asked) == 3


def test_a_refused_service_account_is_a_rejected_key_that_tells_nothing(account: dict[str, str], desk: str) -> None:
    TokenDesk.status = 400
    with pytest.raises(errors.KeyRejected) as raised:
        exchanged(account, desk)
    told = "".join(traceback.format_exception(raised.value))
    assert account["private_key"].splitlines()[1] not in told
    assert raised.value.__context__ is None

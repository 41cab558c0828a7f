"""A small OpenID provider: discovery, the code flow with PKCE, RS256. Faults are turned on by its fields."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "modelsync-here", "a client secret that nobody may see"


def _rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


_KEYS = {kid: _rsa(kid) for kid in ("first", "second")}  # a pair takes a moment to make


class FakeOpenIdProvider:
    """Use as a context. Whoever comes to /authorize is signed in as `who` and sent back at once."""

    def __init__(self) -> None:
        self.who: dict[str, Any] = {"sub": "subject-1", "email": "dora@example.com", "email_verified": True}
        self.change: Callable[[dict[str, Any]], None] = lambda _claims: None
        """What is wrong with the next ID tokens."""
        self.write: Callable[[dict[str, Any]], str] = self.signed
        self.metadata: dict[str, Any] = {}
        """What discovery says otherwise."""
        self.info: dict[str, Any] | None = None
        """What /userinfo answers; the ID token then names no address."""
        self.key = _KEYS["first"]
        self.answer: dict[str, str] = {}
        """What the way back carries otherwise."""
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.broken: set[str] = set()
        """Paths that answer 500, with something that is no JSON."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._post(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> FakeOpenIdProvider:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def unsigned(self, claims: dict[str, Any]) -> str:
        parts = [json.dumps(part).encode() for part in ({"alg": "none", "kid": self.key.kid}, claims)]
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."

    def signed_by_the_client_secret(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET))

    def signed_by_another(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, _KEYS["second"])

    def new_key(self) -> None:
        self.key = _KEYS["second"]

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        self.asked.append(parts.path)
        if parts.path in self.broken:
            _send(request, 500, b"<html>oops")
        elif parts.path == "/.well-known/openid-configuration":
            _json(request, self._metadata())
        elif parts.path == "/jwks":
            _json(request, {"keys": [self.key.as_dict(private=False), {"kty": "unheard-of", "kid": "odd"}]})
        elif parts.path == "/authorize":
            self._authorize(request, {name: values[0] for name, values in parse_qs(parts.query).items()})
        elif parts.path == "/userinfo" and request.headers["Authorization"] == "Bearer an-access-token":
            _json(request, self.info)
        else:
            _send(request, 404, b"")

    def _metadata(self) -> dict[str, Any]:
        ends = ("authorization_endpoint", "authorize"), ("token_endpoint", "token"), ("jwks_uri", "jwks")
        said = {"issuer": self.issuer} | {name: f"{self.issuer}/{path}" for name, path in ends}
        if self.info is not None:
            said["userinfo_endpoint"] = f"{self.issuer}/userinfo"
        return said | self.metadata

    def _authorize(self, request: BaseHTTPRequestHandler, asked: dict[str, str]) -> None:
        assert asked["client_id"] == CLIENT_ID and asked["response_type"] == "code"
        assert set(asked["scope"].split()) == {"openid", "email"} and asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"]} | self.answer
        request.send_response(302)
        request.send_header("Location", f"{asked['redirect_uri']}?{urlencode({k: v for k, v in back.items() if v})}")
        request.end_headers()

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        sent = request.rfile.read(int(request.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(sent).items()}
        if request.path in self.broken:
            return _send(request, 500, b"<html>oops")
        asked = self.codes.pop(form.get("code", ""), None)  # good once
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        knows = request.headers.get("Authorization") == f"Basic {basic}" or form.get("client_secret") == CLIENT_SECRET
        if asked is None or not knows or form["redirect_uri"] != asked["redirect_uri"]:
            return _json(request, {"error": "invalid_grant", "error_description": "no"}, 400)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if challenge.decode() != asked["code_challenge"]:
            return _json(request, {"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims |= self.who if self.info is None else {"sub": self.who["sub"]}
        self.change(claims)
        token = {"access_token": "an-access-token", "token_type": "Bearer", "id_token": self.write(claims)}
        return _json(request, token)


def _json(request: BaseHTTPRequestHandler, said: Any, status: int = 200) -> None:
    _send(request, status, json.dumps(said).encode(), "application/json")


def _send(request: BaseHTTPRequestHandler, status: int, content: bytes, kind: str = "text/html") -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)

"""Ask an OpenID provider who somebody is: discovery, the code flow with PKCE, the ID token (OpenID Connect Core 1.0).

The only user of Authlib and its joserfc, and beside `sync/fetch.py` the only one of httpx: that asks for lists of
models at addresses people choose, this asks the one server that the operator trusts with sign-in, while a person waits.
"""

from __future__ import annotations

import hmac
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from email_validator import EmailNotValidError, validate_email
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from app.auth.settings import OpenId, is_loopback

_IN_ALL_S, _CONNECT_S, _READ_S = 10.0, 3.0, 5.0
_MOST_BYTES = 512 * 1024
_KEPT_S = 3_600.0
"""So long what a provider says of itself and its keys is not asked again, unless a key is not among them."""
_NEW_KEYS_S = 60.0
_LEEWAY_S = 60
_LONGEST_SUBJECT = 255
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures by a key of the provider's own. With HS256 the client secret would be one, with "none" nothing."""
_SCOPE = "openid email"
AWAY = "The sign-in server cannot be reached or does not answer as it should. Try again in a moment."
REFUSED = "The sign-in was not completed at the sign-in server."
UNPROVEN = "What the sign-in server answered cannot be trusted, so nobody was signed in. Try again."


class OidcError(Exception):
    """Nobody is signed in. Its text is a sentence for the person; `why` is for the log, and holds no token."""

    def __init__(self, sentence: str, why: str) -> None:
        super().__init__(sentence)
        self.why = why


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one browser has to bring back, and by which the answer is known to be meant for it."""

    state: str
    nonce: str
    verifier: str
    """Of PKCE (RFC 7636)."""

    @classmethod
    def new(cls) -> Attempt:
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))

    def told(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who the provider says it is."""

    issuer: str
    subject: str
    email: str
    """Lower case; empty where the provider names none."""
    is_verified: bool
    """Whether the provider vouches for the address."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What the provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    by_post: bool
    """Whether the client's secret goes into the form, for the few that do not take it in a header."""
    names_itself: bool
    """Whether answers carry `iss` (RFC 9207)."""


def begin(provider: OpenId, redirect_uri: str, attempt: Attempt) -> str:
    """Where to send the browser. Raises OidcError."""
    with _client() as http:
        place = _place(provider, http)
    client = _Client(provider, redirect_uri, None)
    url, _ = client.create_authorization_url(
        place.authorization_endpoint, attempt.state, attempt.verifier, nonce=attempt.nonce
    )
    return str(url)


def finish(provider: OpenId, redirect_uri: str, attempt: Attempt, answer: Mapping[str, str]) -> Claimed:
    """Who came back. answer: the query of the address the provider sent the browser to. Raises OidcError."""
    if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
        raise OidcError(UNPROVEN, "another state")
    if "error" in answer or not answer.get("code"):
        raise OidcError(REFUSED, "the provider gave no code")
    with _client() as http:
        place = _place(provider, http)
        issuer = answer.get("iss")
        if (issuer is None and place.names_itself) or (issuer is not None and issuer != place.issuer):
            raise OidcError(UNPROVEN, "another issuer in the answer")
        token = _token(provider, place, redirect_uri, attempt, answer["code"], http)
        claims = _claims(provider, place, attempt, token, http)
        return _claimed(place, claims, token, http)


class _Client(OAuth2Client):
    """Authlib's client, which sends what it has prepared by our bounded one."""

    EXTRA_AUTHORIZE_PARAMS = ("nonce",)

    def __init__(self, provider: OpenId, redirect_uri: str, http: httpx.Client | None, by_post: bool = False) -> None:
        super().__init__(
            None,
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            token_endpoint_auth_method="client_secret_post" if by_post else "client_secret_basic",
            scope=_SCOPE,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        self._http = http

    def _fetch_token(
        self, url: str, body: str = "", headers: Any = None, auth: Any = None, method: str = "POST", **_: Any
    ) -> Any:
        if self._http is None:
            raise RuntimeError("this client only makes addresses")
        url, headers, body = auth.prepare(method, url, dict(headers or {}), body)
        return self.parse_response_token(_ask(self._http, method, url, headers=headers, content=body))


def _token(
    provider: OpenId, place: _Place, redirect_uri: str, attempt: Attempt, code: str, http: httpx.Client
) -> Mapping[str, Any]:
    client = _Client(provider, redirect_uri, http, place.by_post)
    try:
        token = client.fetch_token(
            place.token_endpoint, code=code, code_verifier=attempt.verifier, grant_type="authorization_code"
        )
    except OAuth2Error:
        # Its words are the provider's, and may repeat the code.
        raise OidcError(REFUSED, "the provider refused the code") from None
    except (httpx.HTTPError, ValueError) as error:
        raise OidcError(AWAY, f"the token endpoint: {type(error).__name__}") from None
    return token if isinstance(token, Mapping) else {}


def _claims(
    provider: OpenId, place: _Place, attempt: Attempt, token: Mapping[str, Any], http: httpx.Client
) -> Mapping[str, Any]:
    """The ID token's, once everything about it was checked (OpenID Connect Core 1.0, 3.1.3.7)."""
    written = token.get("id_token")
    if not isinstance(written, str) or len(written) > 100_000:
        raise OidcError(UNPROVEN, "no ID token")
    try:
        decoded = _decoded(written, place, http)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            options={
                "iss": {"essential": True, "value": place.issuer},
                "aud": {"essential": True, "value": provider.client_id},
            },
            params={
                "nonce": attempt.nonce,
                "client_id": provider.client_id,
                "access_token": token.get("access_token"),
            },
        )
        claims.validate(now=int(time.time()), leeway=_LEEWAY_S)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise OidcError(UNPROVEN, f"ID token refused ({type(error).__name__} {getattr(error, 'claim', '')})") from None
    return claims


def _decoded(written: str, place: _Place, http: httpx.Client) -> jwt.Token:
    """A key that is not known may be a new one of the provider's: its keys are asked once more, once a minute."""
    try:
        return jwt.decode(written, _keys(place, http, _KEPT_S), algorithms=_ALGORITHMS)
    except (JoseError, ValueError):
        return jwt.decode(written, _keys(place, http, _NEW_KEYS_S), algorithms=_ALGORITHMS)


def _claimed(place: _Place, claims: Mapping[str, Any], token: Mapping[str, Any], http: httpx.Client) -> Claimed:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or "\0" in subject:
        raise OidcError(UNPROVEN, "no usable subject")
    said: Mapping[str, Any] = claims
    if "email" not in claims and place.userinfo_endpoint and isinstance(token.get("access_token"), str):
        asked = _ask(http, "GET", place.userinfo_endpoint, headers={"Authorization": f"Bearer {token['access_token']}"})
        said = _object(asked)
        if said.get("sub") != subject:  # OpenID Connect Core 1.0, 5.3.2
            raise OidcError(UNPROVEN, "user info of another subject")
    email = said.get("email")
    if not isinstance(email, str) or not _is_address(email.strip()):
        return Claimed(place.issuer, subject, "", False)
    # Some write it as a word.
    return Claimed(place.issuer, subject, email.strip().lower()[:320], said.get("email_verified") in (True, "true"))


def _is_address(email: str) -> bool:
    """One address alone: letters will be sent to it."""
    try:
        validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return True


# ------------------------------------------------------------------ what the provider says of itself

_places: dict[str, tuple[float, _Place]] = {}
_key_sets: dict[str, tuple[float, KeySet]] = {}


def _place(provider: OpenId, http: httpx.Client) -> _Place:
    found = _places.get(provider.issuer)
    if found is None or time.monotonic() - found[0] > _KEPT_S:
        said = _object(_ask(http, "GET", provider.issuer.rstrip("/") + "/.well-known/openid-configuration"))
        found = _places[provider.issuer] = time.monotonic(), _read_place(provider, said)
    return found[1]


def _read_place(provider: OpenId, said: Mapping[str, Any]) -> _Place:
    issuer = said.get("issuer")
    if not isinstance(issuer, str) or issuer.rstrip("/") != provider.issuer.rstrip("/"):
        raise OidcError(AWAY, "the provider calls itself another issuer than OIDC_ISSUER")
    ways = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return _Place(
        issuer=issuer,
        authorization_endpoint=_endpoint(said, "authorization_endpoint"),
        token_endpoint=_endpoint(said, "token_endpoint"),
        jwks_uri=_endpoint(said, "jwks_uri"),
        userinfo_endpoint=_endpoint(said, "userinfo_endpoint") if said.get("userinfo_endpoint") else "",
        by_post=isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways,
        names_itself=said.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(said: Mapping[str, Any], name: str) -> str:
    url = said.get(name)
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    if parts is None or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
        raise OidcError(AWAY, f"the provider names no safe {name}")
    return parts.geturl()


def _keys(place: _Place, http: httpx.Client, kept_s: float) -> KeySet:
    found = _key_sets.get(place.jwks_uri)
    if found is None or time.monotonic() - found[0] > kept_s:
        said = _object(_ask(http, "GET", place.jwks_uri))
        keys = said.get("keys")
        known = keys if isinstance(keys, list) else []
        usable = [key for key in known if isinstance(key, dict) and key.get("kty") != "oct"]
        found = _key_sets[place.jwks_uri] = time.monotonic(), KeySet.import_key_set({"keys": usable})
    return found[1]


# ------------------------------------------------------------------ the network


def _client() -> httpx.Client:
    timeout = httpx.Timeout(_READ_S, connect=_CONNECT_S)
    accept = {"Accept": "application/json"}
    return httpx.Client(verify=_tls(), timeout=timeout, follow_redirects=False, headers=accept)


@cache
def _tls() -> ssl.SSLContext:
    """The authorities that this machine trusts; to load them takes 20 ms."""
    return httpx.create_ssl_context()


def _ask(http: httpx.Client, method: str, url: str, **more: Any) -> httpx.Response:
    """One answer, bounded in time and size. Raises OidcError."""
    began, content = time.monotonic(), bytearray()
    try:
        with http.stream(method, url, **more) as answer:
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > _MOST_BYTES or time.monotonic() - began > _IN_ALL_S:
                    raise OidcError(AWAY, "an answer that does not end")
            request = answer.request
    except httpx.HTTPError as error:
        raise OidcError(AWAY, f"{urlsplit(url).hostname}: {type(error).__name__}") from None
    return httpx.Response(answer.status_code, content=bytes(content), request=request)


def _object(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        said = msgspec.json.decode(answer.content) if answer.status_code == 200 else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        said = None
    if not isinstance(said, dict):
        raise OidcError(AWAY, f"{answer.request.url.host} answered {answer.status_code}, or no JSON object")
    return said

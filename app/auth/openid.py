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

from app.auth.settings import OpenIdProvider, is_loopback

_TOTAL_TIMEOUT_S, _CONNECT_TIMEOUT_S, _READ_TIMEOUT_S = 10.0, 3.0, 5.0
_MAX_RESPONSE_BYTES = 512 * 1024
_CACHE_TTL_S = 3_600.0
"""So long what a provider says of itself and its keys is not asked again, unless a key is not among them."""
_MIN_KEY_REFRESH_S = 60.0
_LEEWAY_S = 60
_MAX_SUBJECT_LENGTH = 255
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures by a key of the provider's own. With HS256 the client secret would be one, with "none" nothing."""
_SCOPE = "openid email"
UNAVAILABLE = "The sign-in server cannot be reached or does not answer as it should. Try again in a moment."
DENIED = "The sign-in was not completed at the sign-in server."
UNTRUSTED = "What the sign-in server answered cannot be trusted, so nobody was signed in. Try again."


class OidcError(Exception):
    """Nobody is signed in. Its text is a sentence for the person; `why` is for the log, and holds no token."""

    def __init__(self, sentence: str, why: str) -> None:
        super().__init__(sentence)
        self.why = why


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """What one browser has to bring back, and by which the answer is known to be meant for it."""

    state: str
    nonce: str
    verifier: str
    """Of PKCE (RFC 7636)."""

    @classmethod
    def new(cls) -> PendingLogin:
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))

    def told(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class IdTokenClaims:
    """Who the provider says it is."""

    issuer: str
    subject: str
    email: str
    """Lower case; empty where the provider names none."""
    is_verified: bool
    """Whether the provider vouches for the address."""


@dataclass(frozen=True, slots=True)
class DiscoveryDocument:
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


def build_authorization_url(provider: OpenIdProvider, redirect_uri: str, attempt: PendingLogin) -> str:
    """Where to send the browser. Raises OidcError."""
    with _new_client() as http:
        place = _load_discovery(provider, http)
    client = _OAuthClient(provider, redirect_uri, None)
    url, _ = client.create_authorization_url(
        place.authorization_endpoint, attempt.state, attempt.verifier, nonce=attempt.nonce
    )
    return str(url)


def verify_callback(
    provider: OpenIdProvider, redirect_uri: str, attempt: PendingLogin, answer: Mapping[str, str]
) -> IdTokenClaims:
    """Who came back. answer: the query of the address the provider sent the browser to. Raises OidcError."""
    if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
        raise OidcError(UNTRUSTED, "another state")
    if "error" in answer or not answer.get("code"):
        raise OidcError(DENIED, "the provider gave no code")
    with _new_client() as http:
        place = _load_discovery(provider, http)
        issuer = answer.get("iss")
        if (issuer is None and place.names_itself) or (issuer is not None and issuer != place.issuer):
            raise OidcError(UNTRUSTED, "another issuer in the answer")
        token = _exchange_code(provider, place, redirect_uri, attempt, answer["code"], http)
        claims = _verify_id_token(provider, place, attempt, token, http)
        return _read_claims(place, claims, token, http)


class _OAuthClient(OAuth2Client):
    """Authlib's client, which sends what it has prepared by our bounded one."""

    EXTRA_AUTHORIZE_PARAMS = ("nonce",)

    def __init__(
        self, provider: OpenIdProvider, redirect_uri: str, http: httpx.Client | None, by_post: bool = False
    ) -> None:
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
        return self.parse_response_token(_request(self._http, method, url, headers=headers, content=body))


def _exchange_code(
    provider: OpenIdProvider,
    place: DiscoveryDocument,
    redirect_uri: str,
    attempt: PendingLogin,
    code: str,
    http: httpx.Client,
) -> Mapping[str, Any]:
    client = _OAuthClient(provider, redirect_uri, http, place.by_post)
    try:
        token = client.fetch_token(
            place.token_endpoint, code=code, code_verifier=attempt.verifier, grant_type="authorization_code"
        )
    except OAuth2Error:
        # Its words are the provider's, and may repeat the code.
        raise OidcError(DENIED, "the provider refused the code") from None
    except (httpx.HTTPError, ValueError) as error:
        raise OidcError(UNAVAILABLE, f"the token endpoint: {type(error).__name__}") from None
    return token if isinstance(token, Mapping) else {}


def _verify_id_token(
    provider: OpenIdProvider,
    place: DiscoveryDocument,
    attempt: PendingLogin,
    token: Mapping[str, Any],
    http: httpx.Client,
) -> Mapping[str, Any]:
    """The ID token's, once everything about it was checked (OpenID Connect Core 1.0, 3.1.3.7)."""
    written = token.get("id_token")
    if not isinstance(written, str) or len(written) > 100_000:
        raise OidcError(UNTRUSTED, "no ID token")
    try:
        decoded = _decode_id_token(written, place, http)
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
        raise OidcError(UNTRUSTED, f"ID token refused ({type(error).__name__} {getattr(error, 'claim', '')})") from None
    return claims


def _decode_id_token(written: str, place: DiscoveryDocument, http: httpx.Client) -> jwt.Token:
    """A key that is not known may be a new one of the provider's: its keys are asked once more, once a minute."""
    try:
        return jwt.decode(written, _load_keys(place, http, _CACHE_TTL_S), algorithms=_ALGORITHMS)
    except (JoseError, ValueError):
        return jwt.decode(written, _load_keys(place, http, _MIN_KEY_REFRESH_S), algorithms=_ALGORITHMS)


def _read_claims(
    place: DiscoveryDocument, claims: Mapping[str, Any], token: Mapping[str, Any], http: httpx.Client
) -> IdTokenClaims:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_LENGTH or "\0" in subject:
        raise OidcError(UNTRUSTED, "no usable subject")
    said: Mapping[str, Any] = claims
    if "email" not in claims and place.userinfo_endpoint and isinstance(token.get("access_token"), str):
        asked = _request(
            http, "GET", place.userinfo_endpoint, headers={"Authorization": f"Bearer {token['access_token']}"}
        )
        said = _parse_object(asked)
        if said.get("sub") != subject:  # OpenID Connect Core 1.0, 5.3.2
            raise OidcError(UNTRUSTED, "user info of another subject")
    email = said.get("email")
    if not isinstance(email, str) or not _is_email_address(email.strip()):
        return IdTokenClaims(place.issuer, subject, "", False)
    # Some write it as a word.
    return IdTokenClaims(
        place.issuer, subject, email.strip().lower()[:320], said.get("email_verified") in (True, "true")
    )


def _is_email_address(email: str) -> bool:
    """One address alone: letters will be sent to it."""
    try:
        validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return True


# ------------------------------------------------------------------ what the provider says of itself

_discovery_cache: dict[str, tuple[float, DiscoveryDocument]] = {}
_key_set_cache: dict[str, tuple[float, KeySet]] = {}


def _load_discovery(provider: OpenIdProvider, http: httpx.Client) -> DiscoveryDocument:
    found = _discovery_cache.get(provider.issuer)
    if found is None or time.monotonic() - found[0] > _CACHE_TTL_S:
        said = _parse_object(_request(http, "GET", provider.issuer.rstrip("/") + "/.well-known/openid-configuration"))
        found = _discovery_cache[provider.issuer] = time.monotonic(), _parse_discovery(provider, said)
    return found[1]


def _parse_discovery(provider: OpenIdProvider, said: Mapping[str, Any]) -> DiscoveryDocument:
    issuer = said.get("issuer")
    if not isinstance(issuer, str) or issuer.rstrip("/") != provider.issuer.rstrip("/"):
        raise OidcError(UNAVAILABLE, "the provider calls itself another issuer than OIDC_ISSUER")
    ways = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return DiscoveryDocument(
        issuer=issuer,
        authorization_endpoint=_parse_endpoint(said, "authorization_endpoint"),
        token_endpoint=_parse_endpoint(said, "token_endpoint"),
        jwks_uri=_parse_endpoint(said, "jwks_uri"),
        userinfo_endpoint=_parse_endpoint(said, "userinfo_endpoint") if said.get("userinfo_endpoint") else "",
        by_post=isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways,
        names_itself=said.get("authorization_response_iss_parameter_supported") is True,
    )


def _parse_endpoint(said: Mapping[str, Any], name: str) -> str:
    url = said.get(name)
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    if parts is None or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
        raise OidcError(UNAVAILABLE, f"the provider names no safe {name}")
    return parts.geturl()


def _load_keys(place: DiscoveryDocument, http: httpx.Client, kept_s: float) -> KeySet:
    found = _key_set_cache.get(place.jwks_uri)
    if found is None or time.monotonic() - found[0] > kept_s:
        said = _parse_object(_request(http, "GET", place.jwks_uri))
        keys = said.get("keys")
        known = keys if isinstance(keys, list) else []
        usable = [key for key in known if isinstance(key, dict) and key.get("kty") != "oct"]
        found = _key_set_cache[place.jwks_uri] = time.monotonic(), KeySet.import_key_set({"keys": usable})
    return found[1]


# ------------------------------------------------------------------ the network


def _new_client() -> httpx.Client:
    timeout = httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
    accept = {"Accept": "application/json"}
    return httpx.Client(verify=_tls_context(), timeout=timeout, follow_redirects=False, headers=accept)


@cache
def _tls_context() -> ssl.SSLContext:
    """The authorities that this machine trusts; to load them takes 20 ms."""
    return httpx.create_ssl_context()


def _request(http: httpx.Client, method: str, url: str, **more: Any) -> httpx.Response:
    """One answer, bounded in time and size. Raises OidcError."""
    began, content = time.monotonic(), bytearray()
    try:
        with http.stream(method, url, **more) as answer:
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > _MAX_RESPONSE_BYTES or time.monotonic() - began > _TOTAL_TIMEOUT_S:
                    raise OidcError(UNAVAILABLE, "an answer that does not end")
            request = answer.request
    except httpx.HTTPError as error:
        raise OidcError(UNAVAILABLE, f"{urlsplit(url).hostname}: {type(error).__name__}") from None
    return httpx.Response(answer.status_code, content=bytes(content), request=request)


def _parse_object(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        said = msgspec.json.decode(answer.content) if answer.status_code == 200 else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        said = None
    if not isinstance(said, dict):
        raise OidcError(UNAVAILABLE, f"{answer.request.url.host} answered {answer.status_code}, or no JSON object")
    return said

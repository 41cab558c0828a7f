"""OpenID Connect client: discovery, the code flow with PKCE, and the ID token (OpenID Connect Core 1.0).

The only user of Authlib and its joserfc and, besides `sync/http`, the only one of httpx. Unlike there, all
requests go to the one server that the operator trusts with sign-in, while a person waits.
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
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from app.auth.emails import is_email_address
from app.auth.settings import OpenIdProvider, is_loopback

_TOTAL_TIMEOUT_S, _CONNECT_TIMEOUT_S, _READ_TIMEOUT_S = 10.0, 3.0, 5.0
_MAX_RESPONSE_BYTES = 512 * 1024
_CACHE_TTL_S = 3_600.0
"""How long a discovery document and a key set are cached."""
_MIN_KEY_REFRESH_S = 60.0
"""A token with an unknown key reloads a key set that is older than this."""
_LEEWAY_S = 60
"""Accepted clock difference to the provider."""
_MAX_SUBJECT_LENGTH = 255
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures with a key pair of the provider. HS256 would be signed with the client secret, "none" not at all."""
_SCOPE = "openid email"
UNAVAILABLE = "The sign-in server cannot be reached or does not answer as it should. Try again in a moment."
DENIED = "The sign-in was not completed at the sign-in server."
UNTRUSTED = "What the sign-in server answered cannot be trusted, so nobody was signed in. Try again."


class OidcError(Exception):
    """The sign-in failed. Its text is a sentence for the person; `reason` is for the log and contains no token."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """Secrets of a sign-in under way, kept in the browser's session. The callback has to match them."""

    state: str
    nonce: str
    verifier: str
    """PKCE code verifier (RFC 7636)."""

    @classmethod
    def new(cls) -> PendingLogin:
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class IdTokenClaims:
    """The person's identity according to the provider."""

    issuer: str
    subject: str
    email: str
    """Lower case; empty if the provider gives none."""
    is_verified: bool
    """Whether the provider has verified the address."""


@dataclass(frozen=True, slots=True)
class DiscoveryDocument:
    """What we use of `/.well-known/openid-configuration`."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    """Empty if there is none."""
    uses_post_auth: bool
    """Whether the client secret is sent in the form, for providers that do not accept it in a header."""
    sends_issuer: bool
    """Whether callbacks carry `iss` (RFC 9207)."""


def build_authorization_url(provider: OpenIdProvider, redirect_uri: str, login: PendingLogin) -> str:
    """Where to redirect the browser. Raises OidcError."""
    with _new_client() as http:
        discovery = _load_discovery(provider, http)
    client = _OAuthClient(provider, redirect_uri, None)
    url, _ = client.create_authorization_url(
        discovery.authorization_endpoint, login.state, login.verifier, nonce=login.nonce
    )
    return str(url)


def verify_callback(
    provider: OpenIdProvider, redirect_uri: str, login: PendingLogin, query: Mapping[str, str]
) -> IdTokenClaims:
    """Who signed in. query: of the URL that the provider redirected the browser to. Raises OidcError."""
    if not hmac.compare_digest(query.get("state", "").encode(), login.state.encode()):
        raise OidcError(UNTRUSTED, "another state")
    if "error" in query or not query.get("code"):
        raise OidcError(DENIED, "the provider gave no code")
    with _new_client() as http:
        discovery = _load_discovery(provider, http)
        issuer = query.get("iss")
        if (issuer is None and discovery.sends_issuer) or (issuer is not None and issuer != discovery.issuer):
            raise OidcError(UNTRUSTED, "another issuer in the answer")
        tokens = _exchange_code(provider, discovery, redirect_uri, login, query["code"], http)
        claims = _verify_id_token(provider, discovery, login, tokens, http)
        return _read_claims(discovery, claims, tokens, http)


class _OAuthClient(OAuth2Client):
    """Authlib's client, which sends what it prepares through our bounded HTTP client."""

    EXTRA_AUTHORIZE_PARAMS = ("nonce",)

    def __init__(
        self, provider: OpenIdProvider, redirect_uri: str, http: httpx.Client | None, uses_post_auth: bool = False
    ) -> None:
        super().__init__(
            None,
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            token_endpoint_auth_method="client_secret_post" if uses_post_auth else "client_secret_basic",
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
    discovery: DiscoveryDocument,
    redirect_uri: str,
    login: PendingLogin,
    code: str,
    http: httpx.Client,
) -> Mapping[str, Any]:
    client = _OAuthClient(provider, redirect_uri, http, discovery.uses_post_auth)
    try:
        tokens = client.fetch_token(
            discovery.token_endpoint, code=code, code_verifier=login.verifier, grant_type="authorization_code"
        )
    except OAuth2Error:
        # Its message is the provider's and may repeat the code.
        raise OidcError(DENIED, "the provider refused the code") from None
    except (httpx.HTTPError, ValueError) as error:
        raise OidcError(UNAVAILABLE, f"the token endpoint: {type(error).__name__}") from None
    return tokens if isinstance(tokens, Mapping) else {}


def _verify_id_token(
    provider: OpenIdProvider,
    discovery: DiscoveryDocument,
    login: PendingLogin,
    tokens: Mapping[str, Any],
    http: httpx.Client,
) -> Mapping[str, Any]:
    """The claims of the ID token, validated as OpenID Connect Core 1.0, 3.1.3.7 requires."""
    id_token = tokens.get("id_token")
    if not isinstance(id_token, str) or len(id_token) > 100_000:
        raise OidcError(UNTRUSTED, "no ID token")
    try:
        token = _decode_id_token(id_token, discovery, http)
        claims = CodeIDToken(
            token.claims,
            token.header,
            options={
                "iss": {"essential": True, "value": discovery.issuer},
                "aud": {"essential": True, "value": provider.client_id},
            },
            params={"nonce": login.nonce, "client_id": provider.client_id, "access_token": tokens.get("access_token")},
        )
        claims.validate(now=int(time.time()), leeway=_LEEWAY_S)
        validated: Mapping[str, Any] = claims
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise OidcError(UNTRUSTED, f"ID token refused ({type(error).__name__} {getattr(error, 'claim', '')})") from None
    return validated


def _decode_id_token(id_token: str, discovery: DiscoveryDocument, http: httpx.Client) -> jwt.Token:
    """An unknown key may be one that the provider has just introduced: its keys are reloaded, at most once a minute."""
    try:
        return jwt.decode(id_token, _load_keys(discovery, http, _CACHE_TTL_S), algorithms=_ALGORITHMS)
    except (JoseError, ValueError):
        return jwt.decode(id_token, _load_keys(discovery, http, _MIN_KEY_REFRESH_S), algorithms=_ALGORITHMS)


def _read_claims(
    discovery: DiscoveryDocument, claims: Mapping[str, Any], tokens: Mapping[str, Any], http: httpx.Client
) -> IdTokenClaims:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_LENGTH or "\0" in subject:
        raise OidcError(UNTRUSTED, "no usable subject")
    profile: Mapping[str, Any] = claims
    access_token = tokens.get("access_token")
    if "email" not in claims and discovery.userinfo_endpoint and isinstance(access_token, str):
        headers = {"Authorization": f"Bearer {access_token}"}
        profile = _parse_object(_request(http, "GET", discovery.userinfo_endpoint, headers=headers))
        if profile.get("sub") != subject:  # OpenID Connect Core 1.0, 5.3.2
            raise OidcError(UNTRUSTED, "user info of another subject")
    email = profile.get("email")
    if not isinstance(email, str) or not is_email_address(email.strip()):
        return IdTokenClaims(discovery.issuer, subject, "", False)
    is_verified = profile.get("email_verified") in (True, "true")  # some providers send a string
    return IdTokenClaims(discovery.issuer, subject, email.strip().lower()[:320], is_verified)


# ------------------------------------------------------------------ discovery document and keys, cached per process

_discovery_cache: dict[str, tuple[float, DiscoveryDocument]] = {}
_key_set_cache: dict[str, tuple[float, KeySet]] = {}


def _load_discovery(provider: OpenIdProvider, http: httpx.Client) -> DiscoveryDocument:
    entry = _discovery_cache.get(provider.issuer)
    if entry is None or time.monotonic() - entry[0] > _CACHE_TTL_S:
        url = provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = _parse_object(_request(http, "GET", url))
        entry = _discovery_cache[provider.issuer] = time.monotonic(), _parse_discovery(provider, document)
    return entry[1]


def _parse_discovery(provider: OpenIdProvider, document: Mapping[str, Any]) -> DiscoveryDocument:
    issuer = document.get("issuer")
    if not isinstance(issuer, str) or issuer.rstrip("/") != provider.issuer.rstrip("/"):
        raise OidcError(UNAVAILABLE, "the provider calls itself another issuer than OIDC_ISSUER")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    has_only_post = (
        isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
    )
    return DiscoveryDocument(
        issuer=issuer,
        authorization_endpoint=_parse_endpoint(document, "authorization_endpoint"),
        token_endpoint=_parse_endpoint(document, "token_endpoint"),
        jwks_uri=_parse_endpoint(document, "jwks_uri"),
        userinfo_endpoint=_parse_endpoint(document, "userinfo_endpoint") if document.get("userinfo_endpoint") else "",
        uses_post_auth=has_only_post,
        sends_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _parse_endpoint(document: Mapping[str, Any], name: str) -> str:
    url = document.get(name)
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    if parts is None or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
        raise OidcError(UNAVAILABLE, f"the provider names no safe {name}")
    return parts.geturl()


def _load_keys(discovery: DiscoveryDocument, http: httpx.Client, max_age_s: float) -> KeySet:
    entry = _key_set_cache.get(discovery.jwks_uri)
    if entry is None or time.monotonic() - entry[0] > max_age_s:
        keys = _parse_object(_request(http, "GET", discovery.jwks_uri)).get("keys")
        # Symmetric keys ("oct") are left out: a published one would let anybody sign tokens.
        usable = (
            [key for key in keys if isinstance(key, dict) and key.get("kty") != "oct"] if isinstance(keys, list) else []
        )
        entry = _key_set_cache[discovery.jwks_uri] = time.monotonic(), KeySet.import_key_set({"keys": usable})
    return entry[1]


# ------------------------------------------------------------------ HTTP


def _new_client() -> httpx.Client:
    timeout = httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
    headers = {"Accept": "application/json"}
    return httpx.Client(verify=_tls_context(), timeout=timeout, follow_redirects=False, headers=headers)


@cache
def _tls_context() -> ssl.SSLContext:
    """Trusts this machine's certificate authorities. Cached: loading them takes 20 ms."""
    return httpx.create_ssl_context()


def _request(http: httpx.Client, method: str, url: str, **options: Any) -> httpx.Response:
    """The response, bounded in time and size. Raises OidcError."""
    started, content = time.monotonic(), bytearray()
    try:
        with http.stream(method, url, **options) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _MAX_RESPONSE_BYTES or time.monotonic() - started > _TOTAL_TIMEOUT_S:
                    raise OidcError(UNAVAILABLE, "an answer that does not end")
            request = response.request
    except httpx.HTTPError as error:
        raise OidcError(UNAVAILABLE, f"{urlsplit(url).hostname}: {type(error).__name__}") from None
    return httpx.Response(response.status_code, content=bytes(content), request=request)


def _parse_object(response: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of a successful response. Raises OidcError."""
    try:
        content = msgspec.json.decode(response.content) if response.status_code == 200 else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        host = response.request.url.host
        raise OidcError(UNAVAILABLE, f"{host} answered {response.status_code}, or no JSON object")
    return content

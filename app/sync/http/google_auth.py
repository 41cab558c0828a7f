"""Exchanges a Google service account's JSON for an access token.

google-auth builds and signs the token request; our own client sends it. The token address in the JSON is ignored:
whoever pasted the JSON wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
from google.auth import exceptions, transport
from google.oauth2 import service_account

from app.providers.contract import Provider
from app.sync.http import errors
from app.sync.http.request import post
from app.vault import ApiKey

_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_TOKEN_HOST = "https://oauth2.googleapis.com"  # noqa: S105  # an address


def resolve_signing_key(
    provider: Provider, key: ApiKey | None, client: httpx.Client, base_urls: Mapping[str, str]
) -> ApiKey | None:
    """The key itself, or the access token that it is exchanged for. Raises SyncError."""
    if provider.token_exchange != "google" or key is None or not key.reveal().startswith("{"):  # noqa: S105
        return key
    return _fetch_google_token(key, client, base_urls.get("google-oauth", _TOKEN_HOST) + "/token")


def _fetch_google_token(key: ApiKey, client: httpx.Client, url: str) -> ApiKey:
    failure: errors.SyncError
    try:
        credentials = service_account.Credentials.from_service_account_info(
            json.loads(key.reveal()) | {"token_uri": url}, scopes=_SCOPES
        )
        credentials.refresh(_GoogleTransport(client))
        if isinstance(credentials.token, str) and credentials.token:
            return ApiKey(credentials.token)
        failure = errors.KeyRejected("Google gave no access token for this service account")
    except exceptions.RefreshError as refused:
        failure = (
            errors.Unavailable()
            if refused.retryable
            else errors.KeyRejected("Google does not accept this service account")
        )
    except exceptions.TransportError:
        failure = errors.Unreachable()
    except (exceptions.GoogleAuthError, ValueError, TypeError, AttributeError, RecursionError):
        failure = errors.KeyRejected("This is not the JSON of a service account")
    # Raised outside the `except` blocks: google-auth's own errors may hold the request.
    raise failure


class _GoogleTransport(transport.Request):
    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _GoogleResponse:
        try:
            status, data = post(self._client, url, body or b"", dict(headers or {}))
        except errors.SyncError as error:
            raise exceptions.TransportError("the token request failed") from error
        return _GoogleResponse(status, data)


class _GoogleResponse(transport.Response):
    def __init__(self, status: int, data: bytes) -> None:
        self._status = status
        self._data = data

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    @property
    def data(self) -> bytes:
        return self._data

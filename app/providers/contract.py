"""What a provider file states: whom to ask, how to sign, how to read the answer, what its keys look like. No IO
here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from app.catalog.listing import ListedModel
from app.providers.paging import FurtherPage

ErrorMeaning = Literal[
    "key_rejected",
    "key_revoked",
    "key_leaked",
    "no_access",
    "missing_scope",
    "tools_only",
    "ip_not_allowed",
    "key_restricted",
    "api_disabled",
    "wrong_project",
    "quota_exhausted",
    "budget_exceeded",
    "rate_limited",
    "region_blocked",
    "maintenance",
    "overloaded",
    "unavailable",
    "access_page",
    "proxy_auth",
    "no_model_list",
    "gone",
    "refused",
]
"""What a provider's error response means for the owner of the key."""

ListScope = Literal["key", "provider"]
"""Whose models a list has: those that the key may use, or all of the provider's, which the key may not all use."""

UpdateFrequency = Literal["realtime", "daily", "weekly", "manual"]


@dataclass(frozen=True, slots=True)
class Request:
    """One unsigned GET. The fetcher adds the key, in a header."""

    path: str
    """Relative to the provider's base URL, with a leading slash."""
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """An entry of an answer that could not be read, and why. The rest of the answer is kept."""

    entry: str
    reason: str
    is_duplicate: bool = False
    """Whether the model was read before: then nothing is missing from the list."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a provider's list."""

    models: list[ListedModel]
    next: str | None = None
    """Cursor of the next page; None on the last one."""
    skipped: list[SkippedEntry] = field(default_factory=list)
    remarks: list[SkippedEntry] = field(default_factory=list)
    """Facts dropped from models that were kept."""
    ignored: list[SkippedEntry] = field(default_factory=list)
    """Entries that were read but offer no model: wildcards, placeholders, models that are shut down."""
    further: FurtherPage | None = None
    """The next page, where the envelope announces one and the provider has no cursor of its own for it."""
    total: int | None = None
    """How many entries the whole list has, as the envelope states it."""
    entry_count: int = 0
    """Entries of this page, whatever came of them."""


BuildRequest = Callable[[str | None], Request]
"""Request for a page by its cursor; None means the first page."""
ReadPage = Callable[[bytes], Page]
"""Parses a response body. Raises `parsing.InvalidResponse` and nothing else."""
Sign = Callable[[str], Mapping[str, str]]
"""Headers that carry a key."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that lists models, where a provider has several."""

    build_request: BuildRequest
    read: ReadPage
    endpoint_type: str = "CHAT_COMPLETIONS"
    """CHAT_COMPLETIONS, EMBEDDINGS, IMAGE_GENERATION …, as stored with the provider."""


@dataclass(frozen=True, slots=True)
class DocumentedModels:
    """Models that can be called but are missing from the list, taken from the provider's documentation.

    They are added to every answer and marked; the outcome is then "partial", since they may be out of date.
    """

    as_of: str
    """Date of the documentation, `2026-08-17`."""
    source: str
    """Its URL."""
    models: tuple[ListedModel, ...]
    until: str = ""
    """ISO date of the last day on which they can be called, where it is announced; they are not added after it."""

    def is_current(self, today: date) -> bool:
        return not self.until or today <= date.fromisoformat(self.until)


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """What a key looks like where no prefix identifies its provider."""

    regex: re.Pattern[str]
    """Matches the whole key."""
    confidence: Literal["certain", "shared", "ambiguous"] = "ambiguous"
    """`certain`: no other company issues such keys. `shared`: several do, so the user chooses: a key sent to the wrong
    company is leaked. `ambiguous`: other secrets look the same, so it counts only for a value without a name."""
    odds: int = 1
    """Orders the providers whose patterns match the same key, highest first; ties go by `Provider.rank`."""


def key_pattern(
    regex: str, confidence: Literal["certain", "shared", "ambiguous"] = "ambiguous", odds: int = 1
) -> KeyPattern:
    return KeyPattern(re.compile(regex), confidence, odds)


PLAIN_SK = key_pattern(r"sk-(?!lm-)[^\s]+", "shared")
"""OpenAI's original form, `sk-…`, which many others issue too; `sk-lm-…` is LM Studio's."""


def bearer(key: str) -> Mapping[str, str]:
    """`Authorization: Bearer <key>`, as most providers expect it."""
    return {"Authorization": f"Bearer {key}"}


def key_header(name: str, scheme: str = "") -> Sign:
    """Signs with the key in the header `name`, after `scheme` if there is one."""

    def sign(key: str) -> Mapping[str, str]:
        return {name: f"{scheme} {key}" if scheme else key}

    return sign


def list_at(path: str = "/models", cursor: str = "", **params: str) -> BuildRequest:
    """Requests `path` with `params`. cursor: query parameter for the next page's cursor, empty where there is one
    page.
    """

    def build_request(position: str | None) -> Request:
        return Request(path, params | ({cursor: position} if cursor and position else {}))

    return build_request


_LIST_MODELS = list_at()
_UNRANKED = 500
"""`Provider.rank` of those that no list shows first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider whose list of models we can read; everything about it is in one file."""

    slug: str
    title: str
    sentence_name: str = ""
    """What sentences call it where the title is no name, in lower case: "your server"."""
    site: str
    base_url: str
    """Of the real API, without a trailing slash. `<SLUG>_BASE_URL` in the environment overrides it."""
    read: ReadPage
    build_request: BuildRequest = _LIST_MODELS
    build_keyed_request: BuildRequest | None = None
    """Request for the narrower list of what a key may use, where it has an address of its own. It is sent instead when
    there is a key; a server that does not have it (404 or 405) is asked for `build_request`."""
    list_scope: ListScope = "provider"
    """What the list means when it is read with a key."""
    sign: Sign = bearer
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request besides the key."""
    extra_endpoints: tuple[Endpoint, ...] = ()
    """Read after the first endpoint and merged into its list."""
    format: Literal["OPENAI", "ANTHROPIC", "GEMINI"] = "OPENAI"

    keys_url: str
    """Where users create keys."""
    key_hint: str
    """What a key looks like: shown in the form, never validated against."""
    key_prefixes: tuple[str, ...] = ()
    """Prefixes of keys that only this company issues."""
    refused_keys: Mapping[str, str] = field(default_factory=dict)
    """Prefix → what such a secret is, as a phrase: the company issues it, but its API for models does not accept it."""
    key_patterns: tuple[KeyPattern, ...] = ()
    key_variables: tuple[str, ...] = ()
    """Environment variables that other programs use for its key, besides `<SLUG>_API_KEY`."""
    token_exchange: Literal["", "google"] = ""
    """How a long-lived key becomes the token that signs: "google" for a service account's JSON."""

    docs_url: str = ""
    """Documentation of its API."""
    description: str = ""
    colour: str = "#64748b"
    rank: int = _UNRANKED
    """Position in lists, lowest first; equal ranks are sorted by slug."""
    ends_on: str = ""
    """ISO date on which the provider stops serving, where it has announced one. From then on it is not offered, and its
    keys are not synced."""
    update_frequency: UpdateFrequency = "daily"

    public: bool = False
    """Whether the list can be read without a key."""
    private: bool = False
    """Whether its models belong to the key's owner alone (their deployments, their machine)."""
    regions: Mapping[str, str] = field(default_factory=dict)
    """Name → base URL, where regions have separate keys; the first is the default."""
    base_url_example: str = ""
    """Example of the base URL that the key's owner has to give, where everyone has their own; empty otherwise.
    Such a URL comes from a user, so it is only requested through the SSRF protection."""
    openai_path: str = ""
    """Path of its OpenAI-compatible API ("/v1") where the list is read from another one."""
    api_path: re.Pattern[str] | None = None
    """Paths of its APIs at the end of an address. Chat programs want them in the base URL, so people paste them here
    too; `root` removes them, since the requests add them."""
    fallback_paths: tuple[str, ...] = ()
    """Where other versions of its servers have the list, best first: tried where the base URL has none."""
    chat_path: str | None = None
    """Path of its OpenAI-compatible chat API below the base URL, or a whole URL on another host. None: the path of the
    model list, without "/models"."""
    no_snippet_reason: str = ""
    """Why no lines of code can show how to call its models, as a sentence."""
    ai_sdk_package: str = ""
    """Its own AI SDK package, as models.dev names it; empty where the one for compatible servers serves."""
    documented: DocumentedModels | None = None
    caveat: str = ""
    """Why its list is always incomplete, as a clause that follows "this list …"; makes every outcome "partial"."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint(self.build_request, self.read), *self.extra_endpoints)

    def has_ended(self, today: date) -> bool:
        return bool(self.ends_on) and today >= date.fromisoformat(self.ends_on)

    def scope_of(self, *, has_key: bool) -> ListScope:
        """What its list means, read with or without a key."""
        return self.list_scope if has_key or self.private else "provider"

    def url(self, base_url: str, path: str) -> str:
        """The URL of a request. A base URL that ends with a fallback path is the list's own URL."""
        base = base_url.rstrip("/")
        return base if base.endswith(self.fallback_paths) else join_url(self.root(base), path)

    def root(self, base_url: str) -> str:
        """The base URL without the paths of the provider's APIs."""
        base = base_url.rstrip("/")
        return self.api_path.sub("", base) if self.api_path else base

    @property
    def env_prefix(self) -> str:
        """`GOOGLE_VERTEX` for google-vertex: how its environment variables begin."""
        return self.slug.upper().replace("-", "_")

    @property
    def transformer(self) -> str:
        """What reads its list: "openai-compatible", or its own reader under its slug."""
        return "openai-compatible" if getattr(self.read, "is_standard", False) else self.slug

    @property
    def priority(self) -> Literal["fast", "slow"]:
        """ "fast" for those that lists show first."""
        return "fast" if self.rank < _UNRANKED else "slow"

    @property
    def key_variable(self) -> str:
        """Environment variable of the server's own key."""
        return f"{self.env_prefix}_API_KEY"

    @property
    def base_url_variable(self) -> str:
        """Environment variable that overrides the base URL."""
        return f"{self.env_prefix}_BASE_URL"


def join_url(base_url: str, path: str) -> str:
    """Base URL plus path, where the two may overlap: `https://host/v1` + `/v1/models`."""
    base = base_url.rstrip("/")
    segments = path.strip("/").split("/")
    for count in range(len(segments) - 1, 0, -1):
        overlap = "/" + "/".join(segments[:count])
        if base.endswith(overlap):
            return base + "/" + "/".join(segments[count:])
    return base + "/" + "/".join(segments)

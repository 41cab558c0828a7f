"""What a provider file says: where to ask, how to sign, how to read. Nothing here does IO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.catalog.listing import ListedModel

ErrorMeaning = Literal[
    "key_rejected",
    "key_revoked",
    "no_access",
    "quota_exhausted",
    "rate_limited",
    "region_blocked",
    "maintenance",
    "unavailable",
    "refused",
]
"""What a provider's error answer means for the person whose key it was."""

UpdateFrequency = Literal["realtime", "daily", "weekly", "manual"]


@dataclass(frozen=True, slots=True)
class Request:
    """One GET, unsigned: the key joins it only in the fetcher, in a header."""

    path: str
    """Below the provider's base URL, with a leading slash."""
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """An entry of an answer that could not be read, with the reason; the rest of the answer is kept."""

    entry: str
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    models: list[ListedModel]
    next: str | None = None
    """The cursor of the page that follows, None on the last one."""
    skipped: list[SkippedEntry] = field(default_factory=list)
    remarks: list[SkippedEntry] = field(default_factory=list)
    """What was left out of models that were kept."""


Ask = Callable[[str | None], Request]
"""The request for a page; None asks for the first."""
Read = Callable[[bytes], Page]
"""An answer's bytes as a page. Raises `answers.BadAnswer`, never anything else."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that lists models, where a provider has several."""

    ask: Ask
    read: Read
    endpoint_type: str = "CHAT_COMPLETIONS"
    """CHAT_COMPLETIONS, EMBEDDINGS, IMAGE_GENERATION …, as the owner's documents name them."""


@dataclass(frozen=True, slots=True)
class DocumentedModels:
    """Models that can be called but are not in the list, taken from the provider's documentation.

    They are added to every answer, marked, and the outcome is "partial": they may be out of date.
    """

    as_of: str
    """Day of the documentation, `2026-08-17`."""
    source: str
    """Its address."""
    models: tuple[ListedModel, ...]


@dataclass(frozen=True, slots=True)
class Provider:
    """Someone whose list of models we can read.

    `ask(cursor)` gives the request for a page (None: the first). `sign(key)` gives the headers that carry the
    key. `read(body)` turns an answer's bytes into a page and raises `answers.BadAnswer`, never anything else.
    """

    slug: str
    title: str
    site: str
    keys_url: str
    """Where its users make keys."""
    key_hint: str
    """What a key looks like: shown in the form, never checked against."""
    base_url: str
    """Of the real API, without a slash at its end. `<SLUG>_BASE_URL` in the environment takes its place."""
    ask: Ask
    sign: Callable[[str], Mapping[str, str]]
    read: Read
    colour: str = "#64748b"
    description: str = ""
    public: bool = False
    """Whether the list can be read without a key."""
    update_frequency: UpdateFrequency = "daily"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that every request carries besides the key."""
    format: Literal["OPENAI", "ANTHROPIC", "GEMINI"] = "OPENAI"

    more: tuple[Endpoint, ...] = ()
    """Further endpoints, read after the first and joined to it."""
    regions: Mapping[str, str] = field(default_factory=dict)
    """Name → base URL, where the provider keeps several that know different keys; the first is the default."""
    own_url: str = ""
    """Example of the base URL that the key's owner has to give, where everyone has their own; empty otherwise.
    Such an address is a stranger's choice: it is asked only behind the guard against private networks."""
    openai_path: str = ""
    """Where it answers in OpenAI's shape besides ("/v1"). Chat programs want it behind the address, so people paste
    it here too; it is left out, since the list of its own says more."""
    private: bool = False
    """Whether what it lists is the key's owner's alone (their deployments, their machine)."""
    documented: DocumentedModels | None = None
    caveat: str = ""
    """Why its list is never the whole truth, as a clause behind "this list …"; makes every outcome "partial"."""
    exchange: Literal["", "google"] = ""
    """How a long-lived key becomes the token that signs: "google" for a service account's JSON."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return (Endpoint(self.ask, self.read), *self.more)

    def url(self, base_url: str, path: str) -> str:
        return join_url(base_url.rstrip("/").removesuffix(self.openai_path), path)

    @property
    def variable(self) -> str:
        """`GOOGLE_VERTEX` for google-vertex: what its environment variables begin with."""
        return self.slug.upper().replace("-", "_")


def bearer(key: str) -> Mapping[str, str]:
    """Sign as most do: `Authorization: Bearer <key>`."""
    return {"Authorization": f"Bearer {key}"}


def join_url(base_url: str, path: str) -> str:
    """Base URL and path, where the two may share a segment: `https://host/v1` + `/v1/models`."""
    base = base_url.rstrip("/")
    segments = path.strip("/").split("/")
    for count in range(len(segments) - 1, 0, -1):
        overlap = "/" + "/".join(segments[:count])
        if base.endswith(overlap):
            return base + "/" + "/".join(segments[count:])
    return base + "/" + "/".join(segments)

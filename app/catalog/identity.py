"""Which canonical model a provider's id means, with the rule that matched, or "unknown"; never a guess."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from app.catalog.listing import Kind, ListedModel


class CanonicalModel(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One model whoever serves it. Empty fields are unknown; prices are the lab's own, USD per million tokens."""

    id: str
    """`lab/model`, lower case."""
    lab: str
    name: str
    kind: Kind = "chat"
    family: str = ""
    aliases: tuple[str, ...] = ()
    """Other plain ids for it, without a provider."""
    served: dict[str, tuple[str, ...]] = {}
    """Provider slug → the exact ids under which it serves this model, as the source declares."""
    input_modalities: tuple[str, ...] = ()
    output_modalities: tuple[str, ...] = ()
    context_length: int | None = None
    max_output_tokens: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    reasoning: bool | None = None
    structured_output: bool | None = None
    streaming: bool | None = None
    input_per_million: Decimal | None = None
    output_per_million: Decimal | None = None
    cache_read_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None
    released_on: str = ""
    knowledge_cutoff: str = ""
    deprecated_on: str = ""
    retires_on: str = ""
    successor: str = ""
    open_weights: bool | None = None
    source: str = ""
    """Letter of the catalog the fields come from, in the seed's header."""
    field_sources: dict[str, str] = {}
    """Field → letter, for fields that come from another one."""


class Match(msgspec.Struct, frozen=True):
    canonical_id: str | None
    rule: str
    """exact · link · alias · snapshot · variant · unknown"""
    variant: str = ""
    """How it is served: "free", "fp8" …"""
    snapshot: str = ""
    """Its date or "latest", where the id names one."""


UNKNOWN = Match(None, "unknown")

_SNAPSHOT = re.compile(r"[-@](20\d{2}-?[01]\d-?[0-3]\d|latest)$")
_SERVING = re.compile(r":(free|nitro|floor|online|extended|beta|exacto)$")


class CatalogIndex:
    """The catalog, ready to be asked. Built once per catalog version and shared; it does not change."""

    def __init__(self, models: Iterable[CanonicalModel]) -> None:
        self.models: dict[str, CanonicalModel] = {}
        self._served: dict[tuple[str, str], str] = {}
        self._plain: dict[str, str | None] = {}
        for model in models:
            self.models[model.id] = model
            for provider, ids in model.served.items():
                for model_id in ids:
                    self._served[provider, model_id] = model.id
            for alias in {model.id, *model.aliases}:
                self._learn(alias, model.id)
        # The bare last part of an id counts only where no second model claims it.
        for model in self.models.values():
            self._learn(model.id.partition("/")[2], model.id)

    def _learn(self, alias: str, canonical_id: str) -> None:
        plain = _plain(alias)
        if plain and self._plain.setdefault(plain, canonical_id) != canonical_id:
            self._plain[plain] = None  # claimed twice: it says nothing

    def match(self, provider: str, model: ListedModel) -> Match:
        """The canonical model that `provider` means by this listed model.

        In order: the exact (provider, id), the same without its serving suffix, the provider's own link, an
        alias, then the id without its date or its serving suffix. An id that fits two canonical models is unknown.
        """
        if canonical_id := self._served.get((provider, model.id)):
            return Match(canonical_id, "exact", *_facts(model.id))
        bare = _SERVING.sub("", model.id)
        if canonical_id := self._served.get((provider, bare)):
            return Match(canonical_id, "variant", *_facts(model.id))
        for link in (model.canonical_slug, model.hugging_face_id):
            if link and (canonical_id := self._find(link)):
                return Match(canonical_id, "link", *_facts(model.id))
        return self._by_id(model.id)

    def _by_id(self, model_id: str) -> Match:
        if canonical_id := self._find(model_id):
            return Match(canonical_id, "alias")
        variant, snapshot = _facts(model_id)
        if variant:
            bare = _SERVING.sub("", model_id)
            if canonical_id := self._find(bare) or self._find(_SNAPSHOT.sub("", bare)):
                return Match(canonical_id, "variant", variant, snapshot)
        if snapshot and (canonical_id := self._find(_SNAPSHOT.sub("", model_id))):
            return Match(canonical_id, "snapshot", variant, snapshot)
        return UNKNOWN

    def _find(self, model_id: str) -> str | None:
        return self._plain.get(_plain(model_id))


def _plain(model_id: str) -> str:
    """`models/Gemini-2.5-Pro` and `gemini-2-5-pro` are one spelling; a tier or a size stays what it is."""
    lowered = model_id.lower().removeprefix("models/")
    return re.sub(r"(?<=\d)[._](?=\d)", "-", lowered)


def _facts(model_id: str) -> tuple[str, str]:
    serving = _SERVING.search(model_id)
    snapshot = _SNAPSHOT.search(_SERVING.sub("", model_id))
    return (serving.group(1) if serving else "", snapshot.group(1) if snapshot else "")

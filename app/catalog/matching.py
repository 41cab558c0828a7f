"""Matches a provider's id to a canonical model, with the rule that matched. What is not certain is unknown."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from functools import cached_property
from math import log
from typing import Literal

import msgspec

from app.catalog import id_parser
from app.catalog.id_parser import Interpretation, ParsedId, identity_key
from app.catalog.listing import Kind, ListedModel, ModelFacts, PriceTier
from app.catalog.vocabulary import FAMILIES, LABS, ROUTER_LABS, ROUTER_WORDS

__all__ = ["UNKNOWN", "Candidate", "CanonicalModel", "CatalogIndex", "Match", "identity_key"]

_MAX_CACHED_MATCHES = 20_000
"""Size of an index's cache of matches."""
Confidence = Literal["high", "medium", "none"]


class CanonicalModel(ModelFacts, frozen=True, omit_defaults=True, kw_only=True, gc=True):
    """One model, independent of its providers. Empty fields are unknown; prices are the lab's list prices."""

    id: str
    """`lab/model`, lower case."""
    lab: str
    name: str
    kind: Kind = "chat"
    family: str = ""
    aliases: tuple[str, ...] = ()
    """Its other ids, at any provider."""
    served: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Provider slug → the exact ids under which it serves this model, as a source declares them."""
    price_tiers: tuple[PriceTier, ...] = ()
    """List prices for long input that go with the two main prices; the lowest bound first."""
    released_on: str = ""
    knowledge_cutoff: str = ""
    deprecated_on: str = ""
    retires_on: str = ""
    successor: str = ""
    open_weights: bool | None = None
    source: str = ""
    """Source of most fields: a letter of the seed's header, or a live source's name."""
    field_sources: dict[str, str] = msgspec.field(default_factory=dict)
    """Field → source, for fields from another source."""


class Match(msgspec.Struct, frozen=True):
    canonical_id: str | None
    rule: str
    """decided · exact · alias · link · rule/tokens · snapshot · variant · rule/serving · rule/version ·
    rule/tune · rule/date · rule/preview · rule/lab · unknown: the stage that matched, in the order they are tried."""
    variant: str = ""
    """Serving variant: "free", "fp8" …"""
    snapshot: str = ""
    """Date or "latest", where the id has one."""
    confidence: Confidence = "high"
    """`high`: declared by a source or a person, or equal except for words about how and when it is served. `medium`:
    equal after undoing a host's habit (a dropped "instruct", a run-on version, faster machines), and only one model
    fits. Anything less certain is unknown."""


UNKNOWN = Match(None, "unknown", confidence="none")


class Candidate(msgspec.Struct, frozen=True):
    """A model that an unknown id might mean, for a person to choose from."""

    canonical_id: str
    score: float
    """0 to 1: the share of words that both names have, weighted by rarity."""
    reason: str


class CatalogIndex:
    """Look-up of canonical models. Built once per catalog version and shared; immutable except for its cache.

    Independent of the models' order: a name that two models claim matches neither.
    decided: people's decisions, (provider, id) → canonical id, or None for "leave it unknown".
    """

    def __init__(
        self, models: Iterable[CanonicalModel], decided: Mapping[tuple[str, str], str | None] | None = None
    ) -> None:
        self.models: dict[str, CanonicalModel] = {model.id: model for model in models}
        self._decided = decided or {}
        self._matched: dict[tuple[str, str, str, str], Match] = {}
        self._served: dict[tuple[str, str], str | None] = {}
        self._plain: dict[str, str | None] = {}
        needs_lab = _find_copies(self.models.values()) | _find_routers(self.models.values())
        self._names = _NameTable(self.models.values(), needs_lab)
        self._index_served_ids()
        self._index_spellings(needs_lab)

    def _index_served_ids(self) -> None:
        for model in self.models.values():
            for provider, ids in model.served.items():
                for model_id in ids:
                    if self._served.setdefault((provider, model_id), model.id) != model.id:
                        self._served[provider, model_id] = None  # ambiguous

    def _index_spellings(self, needs_lab: Set[str]) -> None:
        for model in self.models.values():
            for alias in {model.id, *model.aliases}:
                if "/" in alias or model.id not in needs_lab:
                    self._learn(alias, model.id)
        # After all aliases: the last part of an id counts only where no other model claims it.
        for model in self.models.values():
            if model.id not in needs_lab:
                self._learn(model.id.partition("/")[2], model.id)

    def _learn(self, alias: str, canonical_id: str) -> None:
        plain = _normalize_id(alias)
        if plain and self._plain.setdefault(plain, canonical_id) != canonical_id:
            self._plain[plain] = None  # ambiguous

    def match(self, provider: str, model: ListedModel) -> Match:
        """The canonical model that `provider` means by this listed model.

        Stages, the first match wins: a person's decision, the exact (provider, id), an alias, the provider's own link,
        the rules over words. An id that fits two canonical models is unknown.
        """
        # Cached: a sync matches each model several times, for its count, its changes, its row and its projection.
        key = provider, model.id, model.canonical_slug, model.hugging_face_id
        if (match := self._matched.get(key)) is None:
            if len(self._matched) >= _MAX_CACHED_MATCHES:
                self._matched.clear()
            match = self._matched[key] = self._add_variant(provider, model.id, self._match(provider, model))
        return match

    def _add_variant(self, provider: str, model_id: str, match: Match) -> Match:
        """The match with what the id says about serving and date, whichever rule found the model."""
        if match.canonical_id is None:
            return match
        name, own = id_parser.parse(model_id), id_parser.parse(match.canonical_id)
        words = id_parser.variant_words(name, own)
        if mark := id_parser.serving_mark(name, provider):
            words += (mark,) if mark not in own.words else ()
        return msgspec.structs.replace(match, variant="-".join(words), snapshot=name.snapshot)

    def identity(self, provider: str, model: ListedModel) -> tuple[str, str, str] | None:
        """What two ids of one model share: canonical id, serving variant and snapshot. None if unknown."""
        match = self.match(provider, model)
        return (match.canonical_id, match.variant, match.snapshot) if match.canonical_id else None

    def _match(self, provider: str, model: ListedModel) -> Match:
        decision = self._decided.get((provider, model.id), "")
        if decision is None:
            return UNKNOWN
        if decision in self.models:
            return Match(decision, "decided")
        linked = self._follow_links(provider, model)
        if linked and _is_moving(model.id):
            return Match(linked, "link")  # what a moving name means today, its provider knows best
        if canonical_id := self._served.get((provider, model.id)):
            return Match(canonical_id, "exact")
        if canonical_id := self._plain.get(_normalize_id(model.id)):
            return Match(canonical_id, "alias")
        if linked:
            return Match(linked, "link")
        return self._match_by_rules(provider, model.id)

    def _follow_links(self, provider: str, model: ListedModel) -> str | None:
        """The model that the provider itself says is behind the id."""
        for link in (model.canonical_slug, model.hugging_face_id):
            if link and link != model.id and (canonical_id := self._resolve_link(provider, link)):
                return canonical_id
        return None

    def _resolve_link(self, provider: str, link: str) -> str | None:
        return (
            self._served.get((provider, link))
            or self._plain.get(_normalize_id(link))
            or self._match_name(id_parser.parse(link), sure=True).canonical_id
        )

    def _match_by_rules(self, provider: str, model_id: str) -> Match:
        bare, colon, tag = model_id.rpartition(":")
        if colon and id_parser.is_serving_tag(tag.lower()) and (canonical_id := self._served.get((provider, bare))):
            return Match(canonical_id, "variant")
        match = self._match_name(id_parser.parse(model_id))
        if match is UNKNOWN:
            for plain in id_parser.provider_spellings(model_id, provider):
                match = self._match_name(id_parser.parse(plain))
                if match is not UNKNOWN:
                    return match
        return match

    def _match_name(self, name: ParsedId, *, sure: bool = False) -> Match:
        """The one model that the words of the name mean. sure: without the rules of medium confidence."""
        if not self._names.could_match(name):
            return UNKNOWN
        for interpretation in id_parser.interpretations(name):
            if sure and not interpretation.sure:
                return UNKNOWN
            matches = self._names.find(interpretation, name)
            if len(matches) > 1:
                return UNKNOWN
            for canonical_id in matches:
                confidence: Confidence = "high" if interpretation.sure else "medium"
                return Match(canonical_id, interpretation.rule, confidence=confidence)
        by_lab = None if sure else self._names.find_by_lab(name)
        return Match(by_lab, "rule/lab", confidence="medium") if by_lab else UNKNOWN

    def candidates(self, provider: str, model: ListedModel, limit: int = 5) -> list[Candidate]:
        """The most similar canonical models, best first, for a person to choose from; never a match."""
        name = id_parser.parse(model.hugging_face_id or model.id)
        return self._similarity.nearest(name, limit)

    @cached_property
    def _similarity(self) -> _SimilarityIndex:
        return _SimilarityIndex(self.models.values())


def _is_moving(model_id: str) -> bool:
    """Whether an id means another model after the next release: `mistral-small-latest`, `~openai/gpt-latest`."""
    return model_id.startswith("~") or model_id.lower().endswith("-latest")


def _normalize_id(model_id: str) -> str:
    """One spelling for `models/Gemini-2.5-Pro` and `gemini-2-5-pro`; tiers and sizes stay as they are."""
    lowered = model_id.lower().removeprefix("models/")
    return _BETWEEN_DIGITS.sub("-", lowered) if "." in lowered or "_" in lowered else lowered


_BETWEEN_DIGITS = re.compile(r"(?<=\d)[._](?=\d)")
_Table = defaultdict[str, set[str]]


class _NameTable:
    """The catalog's ids and aliases, by the keys that interpretations of other ids look up."""

    def __init__(self, models: Collection[CanonicalModel], needs_lab: Set[str]) -> None:
        self._models = {model.id: model for model in models}
        self._needs_lab = needs_lab
        self._labs_of = _labs_by_organisation(models)
        self._labs = {model.lab for model in models}
        self._words = self._labs | LABS.keys()
        self._days: set[str] = set()
        self._ids, self._aliases, self._shorter = _new_table(), _new_table(), _new_table()
        self._tunes, self._undated, self._previews = _new_table(), _new_table(), _new_table()
        self._releases, self._unlabbed = _new_table(), _new_table()
        for model in models:
            own = id_parser.parse(model.id)
            self._ids[_full_key(own)].add(model.id)
            self._shorten(own, model)
            for alias in model.aliases:
                name = id_parser.parse(alias)
                self._aliases[_full_key(name)].add(model.id)
                self._shorten(name, model)
        self._twins = _find_twins(models)

    def _shorten(self, name: ParsedId, model: CanonicalModel) -> None:
        """Index the shorter names that can mean the model."""
        self._words.update(name.words, name.tags)
        self._days.update(name.days, (day[-4:] for day in id_parser.snapshot_day(name.snapshot)))
        kept, _ = id_parser.base_words(name)
        if not kept or name.snapshot == "latest":
            return  # "latest" moves, so it says nothing about the undated name
        self._shorter[id_parser.word_key(kept, name.days)].add(model.id)
        for day in id_parser.snapshot_day(name.snapshot):
            self._shorter[id_parser.word_key(kept, (day,))].add(model.id)
            self._shorter[id_parser.word_key(kept, (day[-4:],))].add(model.id)
        if name.days or id_parser.has_size(kept):
            self._tunes[id_parser.word_key(id_parser.drop_tunes(kept), name.days)].add(model.id)
            self._undated[id_parser.word_key(id_parser.drop_tunes(kept))].add(model.id)
        if name.days:
            self._releases[id_parser.release_key(kept, name.days)].add(model.id)
        if "preview" in kept:
            self._previews[id_parser.word_key((word for word in kept if word != "preview"), name.days)].add(model.id)
        self._unlabbed[_key_without_lab(model.lab, kept, name.days)].add(model.id)

    def could_match(self, name: ParsedId) -> bool:
        """Whether the catalog has all of the name's parts. Cheap: most ids of a large hub are ruled out here."""
        org = name.org
        known = not org or org in self._labs_of or LABS.get(org, org) in self._labs
        return known and self._days.issuperset(name.days) and not id_parser.has_unknown_words(name, self._words)

    def find(self, interpretation: Interpretation, name: ParsedId) -> Set[str]:
        """The models with that key, of the name's lab if it has one."""
        match interpretation.table:
            case "tunes":
                matches = self._find_tuned(interpretation.key, name)
            case "releases":
                matches = self._find_release(interpretation.key, name)
            case "previews":
                matches = self._filter_by_org(self._previews.get(interpretation.key), name.org)
            case "names":
                matches = self._find_by_name(interpretation.key, name.org)
        if not matches:
            return matches
        return {self._twins.get(canonical_id, canonical_id) for canonical_id in matches}

    def _find_by_name(self, key: str, org: str) -> Set[str]:
        """Ids before aliases, and both before names that are equal only when shortened."""
        for table in (self._ids, self._aliases, self._shorter):
            if matches := self._filter_by_org(table.get(key), org):
                return matches
        return frozenset()

    def _filter_by_org(self, claimed: set[str] | None, org: str) -> Set[str]:
        if not claimed or not org:
            return claimed - self._needs_lab if claimed else frozenset()
        labs = self._labs_of.get(org) or {LABS.get(org, org)}
        return {canonical_id for canonical_id in claimed if self._models[canonical_id].lab in labs}

    def _find_tuned(self, key: str, name: ParsedId) -> Set[str]:
        """The model whose "instruct" was dropped or added, or whose "chat" was dropped, unless it has a sibling.

        A repository's full name never means another model's base, and a base model never a chat model.
        """
        matches = self._filter_by_org(self._tunes.get(key), name.org)
        if matches and not name.days:
            matches = self._filter_by_org(
                self._undated.get(key), name.org
            )  # ambiguous between the first edition and `-2507`
        sizes = id_parser.active_sizes(name.words)
        if sizes:
            matches = {one for one in matches if sizes >= id_parser.active_sizes(id_parser.parse(one).words)}
        if len(matches) != 1:
            return matches
        (canonical_id,) = matches
        id_tunes, model_tunes = (
            id_parser.tunes_in(name.words + name.tags),
            id_parser.tunes_in(id_parser.parse(canonical_id).words),
        )
        if id_tunes:
            fits = id_tunes == model_tunes or (id_tunes == {"instruct"} and not model_tunes)
        else:
            fits = not name.cased and self._models[canonical_id].kind != "completion"
        return matches if fits else frozenset()

    def _find_release(self, key: str, name: ParsedId) -> Set[str]:
        """The model of that family, tier and day, where only one of the names has size, version or tune."""
        matches = self._filter_by_org(self._releases.get(key), name.org)
        return {one for one in matches if id_parser.are_compatible(name.words, id_parser.parse(one).words)}

    def find_by_lab(self, name: ParsedId) -> str | None:
        """The model whose name repeats or omits its lab's: `deepseek.r1`, `qwen-qwq-32b`."""
        org = name.org or next(iter(name.words), "")
        labs = self._labs_of.get(org) or {LABS.get(org, "")}
        kept, dropped = id_parser.base_words(name)
        if len(labs) != 1 or dropped or not kept:
            return None
        (lab,) = labs
        matches = self._unlabbed.get(_key_without_lab(lab, kept, name.days), set())
        return next(iter(matches)) if len(matches) == 1 else None


def _new_table() -> _Table:
    return defaultdict(set)


def _full_key(name: ParsedId) -> str:
    revision = (name.revision,) if name.revision else ()
    return id_parser.word_key((*name.words, *name.tags, *revision), name.days + id_parser.snapshot_day(name.snapshot))


def _find_copies(models: Collection[CanonicalModel]) -> Set[str]:
    """Models of others that bear nothing but the name of a lab's: `pearl-ai/gemma-4-31b-it`. Without its organisation
    such a name means the lab's model, also while the catalog lacks that.
    """
    names = {model.id: id_parser.parse(model.id).words for model in models}
    vocabulary: defaultdict[str, set[str]] = defaultdict(set)
    for model in models:
        vocabulary[LABS.get(model.lab, model.lab)].update(names[model.id])
    copies = set()
    for model in models:
        lab = FAMILIES.get(next(iter(names[model.id]), ""), "")
        own = LABS.get(model.lab, model.lab)
        if lab and own != lab and all(word in vocabulary[lab] or word[0].isdigit() for word in names[model.id]):
            copies.add(model.id)
    return copies


def _find_routers(models: Iterable[CanonicalModel]) -> Set[str]:
    """Routers, which only their lab identifies: "auto" or "free" alone is a router of whichever server lists it."""
    return {
        model.id
        for model in models
        if model.lab in ROUTER_LABS or ROUTER_WORDS.issuperset(re.split(r"[^a-z0-9]+", model.id.partition("/")[2]))
    }


def _find_twins(models: Iterable[CanonicalModel]) -> dict[str, str]:
    """Models that are twice in the catalog, with the words of their ids in another order → the one to match."""
    groups: defaultdict[tuple[str, str, str], list[CanonicalModel]] = defaultdict(list)
    for model in models:
        groups[model.lab, model.kind, _full_key(id_parser.parse(model.id))].append(model)
    chosen: dict[str, str] = {}
    for group in groups.values():
        first = min(group, key=lambda model: (-len(model.served), model.id))
        chosen |= {model.id: first.id for model in group if model is not first}
    return chosen


def _key_without_lab(lab: str, words: Iterable[str], days: tuple[str, ...]) -> str:
    """The key of a name without its lab's name, behind the lab."""
    return f"{lab}/{id_parser.word_key((word for word in words if LABS.get(word, word) != lab), days)}"


def _labs_by_organisation(models: Iterable[CanonicalModel]) -> dict[str, set[str]]:
    """Organisation, as spelled in served ids → its lab; without those that serve models of several labs."""
    labs: defaultdict[str, set[str]] = defaultdict(set)
    for model in models:
        labs[model.lab].add(model.lab)
        for ids in model.served.values():
            for one in ids:
                if "/" in one:
                    labs[one.lower().rsplit("/", 2)[-2]].add(model.lab)
    return {org: names for org, names in labs.items() if len(names) == 1 and org not in LABS}


# ------------------------------------------------------------------ candidates


class _SimilarityIndex:
    """Finds models with similar names, weighting words by rarity (inverse document frequency)."""

    def __init__(self, models: Collection[CanonicalModel]) -> None:
        self._words = {model.id: _all_words(id_parser.parse(model.id)) for model in models}
        self._lab = {model.id: model.lab for model in models}
        frequency = Counter(word for words in self._words.values() for word in words)
        self._weight = {word: log(1 + len(self._words) / count) for word, count in frequency.items()}
        self._with_word = _new_table()
        for canonical_id, words in self._words.items():
            for word in words:
                self._with_word[word].add(canonical_id)

    def nearest(self, name: ParsedId, limit: int) -> list[Candidate]:
        words = _all_words(name)
        lab = LABS.get(name.org, name.org)
        shared = {canonical_id for word in words for canonical_id in self._with_word.get(word, ())}
        scored = [self._score(canonical_id, words, lab) for canonical_id in shared]
        near = [candidate for candidate in scored if candidate.score >= _MIN_SCORE]
        return sorted(near, key=lambda candidate: (-candidate.score, candidate.canonical_id))[:limit]

    def _score(self, canonical_id: str, words: Set[str], lab: str) -> Candidate:
        own = self._words[canonical_id]
        rare = log(1 + len(self._words))
        score = self._sum(own & words, rare) / self._sum(own | words, rare)
        if lab and lab != self._lab[canonical_id]:
            score *= _OTHER_LAB_FACTOR
        return Candidate(canonical_id, round(score, 3), _describe_difference(words - own, own - words))

    def _sum(self, words: Iterable[str], rare: float) -> float:
        return sum(self._weight.get(word, rare) for word in words)


_MIN_SCORE = 0.3
_OTHER_LAB_FACTOR = 0.6


def _all_words(name: ParsedId) -> Set[str]:
    return {*id_parser.base_words(name)[0], *name.days}


def _describe_difference(only_id: Set[str], only_catalog: Set[str]) -> str:
    """`the id adds vl; the catalog adds 2507`."""
    additions = [
        f"{who} adds {' '.join(sorted(words))}"
        for who, words in (("the id", only_id), ("the catalog", only_catalog))
        if words
    ]
    return "; ".join(additions) or "the same words, and more than one model has them"

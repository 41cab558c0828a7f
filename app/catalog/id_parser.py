"""Parses a model id: organisation, base words, and the words that only say how or when it is served.

Pure text processing, without a catalog. `parse("us.anthropic.claude-3-5-sonnet-20241022-v2:0")` is the organisation
`anthropic`, the words `claude 3.5 sonnet`, the snapshot `20241022` and the revision `2`. Sizes, tiers, versions, tunes
and specialisations are ordinary words and never dropped: only those in `SERVING`, quantisations and full dates are,
and only by `base_words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from functools import lru_cache
from typing import Literal

import msgspec

from app.catalog.vocabulary import (
    EFFORTS,
    FAMILIES,
    FAMILIES_NAMED_AS_LABS,
    HOSTS,
    LABS,
    MARKS,
    NUMBERED_EDITIONS,
    OWN_SPEEDS,
    REGIONS,
    SERVING,
    SPEEDS,
    SWITCHES,
    SYNONYMS,
    TAGS,
    TUNES,
    VENDORS,
)

Words = tuple[str, ...]

_DROPPABLE = SPEEDS.union(EFFORTS, TUNES, TAGS, *(words for words, _ in SWITCHES.values()))
_RUN_ON = re.compile(r"^([a-z]?[1-9])([1-9])$")
_EDITION = re.compile(r"\d{1,2}")
_FIGURE = re.compile(r"\d")
_NO_FIGURE = re.compile(r"\D")
_QUANTISATION = re.compile(
    r"(?:nv|mx)?fp\d{1,2}|b?f16|u?int[2-8]|[2-8]-?bits?|\d(?:\.\d+)?bpw|[it]?q\d[0-9a-z]*|w\d+a\d+(?:fp8)?|"
    r"dynamic"
)
# `q4_k_m` and `UD-Q4-K-XL`, of llama.cpp
_LLAMA_CPP = re.compile(r"(?<![a-z0-9])([it]?q\d)[-_](k|\d|x{0,2}[sl]|m|nl)(?:[-_]((?:x{0,2}[sl]|m)|\d))?(?![a-z0-9])")
_CHUNK = re.compile(r"[a-z0-9.]+")
_DOT = re.compile(r"\.(?!\d)|(?<!\d)\.")  # not a decimal point
_REGION = re.compile(rf"(?:{'|'.join(sorted(REGIONS))})(?:-[a-z]{{4,}}-?\d{{0,2}})?")
_SIZE = re.compile(r"[ae]?\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)?[bmte]")
_ACTIVE_SIZE = re.compile(r"a\d+(?:\.\d+)?b")
_NUMBER = re.compile(r"v?(\d+(?:\.\d+)*)")
_LETTER_AND_VERSION = re.compile(r"[a-z]?(\d{1,2}(?:\.\d+)?)[a-z]?")
_WITH_EFFORT = frozenset({"gpt", "o1", "o3", "o4", "claude", "gemini", "grok"})
_WORD_AND_NUMBER = re.compile(r"([a-z]{2,}?)v?(\d.*)")
_POINT = re.compile(r"(?<=\d)p(?=\d)")
# `3-5` is 3.5 unless the second number is a size, a context or a longer word.
_SPLIT_VERSION = re.compile(r"(?<![\d.])(\d{1,2})[-_](\d{1,2})(?=v?(?:[-_:@/+ ]|$))")
_FIGURES = re.compile(r"\d\d-?\d\d(?![\da-z])")  # no date has fewer
_WHOLE_DATE = re.compile(
    r"(?<![\d.])(20[2-3]\d([-_.]?)(?:0[1-9]|1[0-2])\2(?:0[1-9]|[12]\d|3[01])"
    r"|2[3-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?![\da-z])"
)
_MONTH_OF_YEAR = re.compile(r"(?<![\d.])(0[1-9]|1[0-2])-20(2\d)(?!\d)|(?<![\d.])20(2\d)-(0[1-9]|1[0-2])(?![\d])")
_DAY = re.compile(r"(?<=[-_@:])(?<!thinking:)(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?=$|[-_:@])")
_YEAR_MONTH = re.compile(r"(?<=[-_@:])(2[3-9](?:0[1-9]|1[0-2]))(?=$|[-_:@])")
# `us.anthropic.claude…`: a region and a vendor, as Bedrock writes them.
_DOTTED = re.compile(
    r"(?:(?:us|eu|apac|au|jp|ca|sa|me|af|in|global|us-gov)\.)?(?:([a-z][a-z0-9]*(?:-[a-z]+)?)\.)?(?=[a-z])"
)
_REVISION = re.compile(r"-v?(\d+):(\d+)((?::\w+)?)$")
_FIRST_EDITION = re.compile(r"(?:nova|claude|titan)-.+-v1$")  # as gateways hand Bedrock's `-v1:0` on
_NEGATED = re.compile(r"(?<![a-z])non?-?(?=thinking|think|reasoning)")
_LEADING_LAB = re.compile(
    "(" + "|".join(sorted(LABS.keys() - FAMILIES_NAMED_AS_LABS, key=len, reverse=True)) + r")[-_.](?=[a-z])"
)


class ParsedId(msgspec.Struct, frozen=True, gc=False):
    """The parts of an id; words in their order."""

    org: str
    """The maker by the id's path or prefix; empty if that is missing, or only names who serves it."""
    words: tuple[str, ...]
    """The name without dates, tags and the fields below; "3-5", "3p5" and "v3.5" all become "3.5"."""
    tags: tuple[str, ...] = ()
    """The parts behind colons."""
    days: tuple[str, ...] = ()
    """Dates without year or day, as four digits: they can be the version (`kimi-k2-0905`)."""
    snapshot: str = ""
    """A full date as written, or "latest"."""
    revision: str = ""
    """The vendor's revision number: the 2 of Bedrock's `-v2:0`, the 001 of Gemini's `-001`."""
    cased: bool = False
    """Whether the name has capitals: then it is a repository's, which states "Instruct" where it applies."""


@lru_cache(maxsize=32_768)
def parse(model_id: str) -> ParsedId:
    """The parts of an id. Accepts any text; what is not an id has no words."""
    *path, plain = model_id.strip().split("/")
    cased = bool(path) and plain != plain.lower()
    org = _organisation(path)
    plain = plain.lower().replace("@default", "").removeprefix("hf:")
    plain, dotted = _strip_vendor(plain)
    plain, revision = _strip_revision(plain)
    plain, leading = _strip_lab(plain)
    plain, snapshot, days = _strip_dates(plain)
    if "no" in plain:
        plain = _NEGATED.sub("non", plain)
    plain, _, rest = plain.replace("@", ":").partition(":")
    tags = tuple(_split_tags(rest)) if rest else ()
    words = _split_words(plain)
    if len(words) > 1 and words[-1] == "latest":
        words, snapshot = words[:-1], snapshot or "latest"
    if words[:1] == ("gemini",) and len(words[-1]) == 3 and words[-1].startswith("00"):
        words, revision = words[:-1], words[-1]
    return ParsedId(org or dotted or leading, words, tags, days, snapshot, revision, cased)


def _split_tags(text: str) -> Iterator[str]:
    for tag in text.split(":"):
        if _REGION.fullmatch(tag):
            yield tag
        else:
            yield from _split_words(tag)


def _organisation(path: list[str]) -> str:
    """The path part nearest to the name that is a lab; otherwise the nearest that is not a host."""
    if not path:
        return ""
    parts = [part.lower().removeprefix("hf:").removeprefix("~") for part in reversed(path) if part[:4] != "arn:"]
    named = [part for part in parts if part not in HOSTS]
    return next((part for part in named if part in LABS), named[0] if named else "")


def provider_spellings(model_id: str, provider: str) -> Iterator[str]:
    """The id without this provider's own prefix, or without its mark: `gpt-5` of `databricks-gpt-5`, `qwen-plus` of
    `qwen-plus-us`.

    A host's name is dropped only before a known family or lab, a mark only for the provider that uses it, and the
    number of an edition only behind a name that has a size or version itself: `claude-opus-5` is the model's own 5.
    """
    plain = model_id.rpartition("/")[2].lower()
    host, dash, rest = plain.partition("-")
    if dash and host not in LABS and (host == provider or host in HOSTS):
        name = parse(rest)
        if name.org or (name.words and name.words[0] in FAMILIES):
            yield rest
    rest, dash, mark = plain.rpartition("-")
    if dash and mark in MARKS.get(provider, ()):
        yield rest
    if dash and provider in NUMBERED_EDITIONS and _EDITION.fullmatch(mark) and _FIGURE.search(rest):
        yield rest


def serving_mark(name: ParsedId, provider: str) -> str:
    """The provider's own suffix of an id, such as Poe's `-fw` for Fireworks' machines; empty without one."""
    last = name.words[-1] if len(name.words) > 1 else ""
    return last if last in MARKS.get(provider, ()) else ""


def _strip_vendor(plain: str) -> tuple[str, str]:
    match = _DOTTED.match(plain) if "." in plain else None
    if match is None or not match.end() or (match[1] and match[1] not in VENDORS):
        return plain, ""
    return plain[match.end() :], match[1] or ""


def _strip_revision(plain: str) -> tuple[str, str]:
    """`-v1:0` is Bedrock's first revision of a model; `-v0:2` and `-v2:1` are the versions 0.2 and 2.1."""
    match = _REVISION.search(plain) if ":" in plain else None
    if match is None:
        return (plain[:-3], "1") if plain.endswith("-v1") and _FIRST_EDITION.match(plain) else (plain, "")
    if match[2] != "0":
        return f"{plain[: match.start()]}-v{match[1]}.{match[2]}", ""
    return plain[: match.start()], match[1]


def _strip_lab(plain: str) -> tuple[str, str]:
    """`openai-gpt-5` is OpenAI's `gpt-5`; `mistral-small` keeps its lab, which is part of the name."""
    match = _LEADING_LAB.match(plain)
    if match is None:
        return plain, ""
    return plain[match.end() :], match[1]


def _strip_dates(plain: str) -> tuple[str, str, Words]:
    """The id without dates, the full date as written, and dates without year or day as four digits."""
    snapshot, days = "", list[str]()
    if _FIGURES.search(plain) is None:
        return plain, snapshot, ()
    match = _WHOLE_DATE.search(plain)
    if match and match.start():
        plain, snapshot = plain[: match.start() - 1] + plain[match.end() :], match[1]

    def keep(match: re.Match[str]) -> str:
        month, year, also_year, also_month = match.groups()
        days.append(f"{year or also_year}{month or also_month}")
        return ""

    def keep_day(match: re.Match[str]) -> str:
        days.append("".join(match.groups()))
        return ""

    plain = _DAY.sub(keep_day, _MONTH_OF_YEAR.sub(keep, plain))
    return _YEAR_MONTH.sub(keep_day, plain), snapshot, tuple(days)


def _split_words(text: str) -> Words:
    if "q" in text:
        text = _LLAMA_CPP.sub(_join_quantisation, text)
    words: list[str] = []
    for chunk in _CHUNK.findall(_SPLIT_VERSION.sub(r"\1.\2", text)):
        words += _split_chunk(chunk)
    return tuple(words)


def _join_quantisation(match: re.Match[str]) -> str:
    return "".join(filter(None, match.groups()))


@lru_cache(maxsize=16_384)
def _split_chunk(chunk: str) -> Words:
    """The words of one run of letters and digits: `qwen2.5` → qwen, 2.5; `v3p1` → 3.1; `8x7b` stays."""
    if "." in chunk and _DOT.search(chunk):
        return tuple(word for part in _DOT.split(chunk) if part for word in _split_chunk(part))
    chunk = SYNONYMS.get(chunk, chunk)
    if is_serving(chunk):
        return (chunk,)
    chunk = _POINT.sub(".", chunk).removesuffix(".0")
    if number := _NUMBER.fullmatch(chunk):
        return (number[1],)
    if not _SIZE.fullmatch(chunk) and (pair := _WORD_AND_NUMBER.fullmatch(chunk)):
        return (pair[1], *_split_chunk(pair[2]))
    return (chunk,)


@lru_cache(maxsize=16_384)
def is_serving(word: str) -> bool:
    """Whether the word only says how a model is served: quantisation, file format, contract."""
    return word in SERVING or _QUANTISATION.fullmatch(word) is not None


def has_size(words: Iterable[str]) -> bool:
    return any(map(_is_size, words))


def word_key(words: Iterable[str], days: Iterable[str] = ()) -> str:
    """Key of a name: independent of the order of words, but not of versions."""
    names: set[str] = set()
    numbers: list[str] = []
    for word in words:
        if word[-1].isdigit() and word[0].isdigit():  # `_is_version`, inline: this is the innermost loop
            numbers.append(word)
        else:
            names.add(word)
    return f"{' '.join(sorted(names))}|{' '.join(numbers)}|{' '.join(days)}"


def has_unknown_words(name: ParsedId, known: Set[str]) -> bool:
    """Whether a word is unknown and cannot be dropped: then no interpretation can match."""
    for word in name.words:
        if word not in known and word not in _DROPPABLE and not is_serving(word) and _insert_point(word) == word:
            return True
    return any(tag not in known and not is_serving_tag(tag) for tag in name.tags)


def is_serving_tag(tag: str) -> bool:
    """Whether a part behind a colon only says how a model is served: also a region, or a number of tokens to think."""
    return tag in TAGS or tag in EFFORTS or tag.isdigit() or is_serving(tag) or _REGION.fullmatch(tag) is not None


def base_words(name: ParsedId) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words without serving words, and the serving words."""
    kept: list[str] = []
    dropped: list[str] = []
    for word in name.words:
        (dropped if is_serving(word) else kept).append(word)
    for tag in name.tags:
        (dropped if is_serving_tag(tag) else kept).append(tag)
    return tuple(kept), tuple(dropped)


def variant_words(name: ParsedId, own: ParsedId) -> Words:
    """What an id says about serving, and the model's own id does not: `free`, `fp8`, `turbo`, `thinking`."""
    own_words = {*own.words, *own.tags}
    droppable = SPEEDS | _droppable_modes(name.words)
    served = [word for word in name.words if word in droppable or is_serving(word)]
    served += [tag for tag in name.tags if is_serving_tag(tag) or tag in droppable]
    return tuple(word for word in dict.fromkeys(served) if word not in own_words)


def drop_tunes(words: Words) -> Iterator[str]:
    """The words without "instruct" and "chat", and without the active size of a mixture that has a total size."""
    total = any(_is_size(word) and not _ACTIVE_SIZE.fullmatch(word) for word in words)
    return (word for word in words if word not in TUNES and not (total and _ACTIVE_SIZE.fullmatch(word)))


def active_sizes(words: Iterable[str]) -> Set[str]:
    """The active sizes of a mixture of experts: the a22b of `qwen3-235b-a22b`."""
    return {word for word in words if _ACTIVE_SIZE.fullmatch(word)}


def tunes_in(words: Iterable[str]) -> Set[str]:
    """Which of instruct and chat a name has; "it" is Google's instruct."""
    return {"instruct" if word == "it" else word for word in words if word in TUNES}


def release_key(words: Iterable[str], days: Words) -> str:
    """Key without sizes, versions and tunes: a lab releases one model per family, tier and month."""
    return word_key((word for word in words if not (word in TUNES or _is_size(word) or _is_version(word))), days)


def are_compatible(one: Words, other: Words) -> bool:
    """Whether two names can mean one release: size, version and tune are equal, or only one of them has it."""
    for left, right in zip(_measures(one), _measures(other), strict=True):
        if left and right and left != right:
            return False
    return True


def _measures(words: Words) -> tuple[Set[str], Set[str], Set[str]]:
    sizes, versions = (frozenset(filter(is_measure, words)) for is_measure in (_is_size, _is_version))
    return sizes, versions, tunes_in(words)


def _is_size(word: str) -> bool:
    return _SIZE.fullmatch(word) is not None


def _is_version(word: str) -> bool:
    return word[0].isdigit() and word[-1].isdigit()


def snapshot_day(snapshot: str) -> tuple[str, ...]:
    """`2024-08-06` and `20240806` are the same day; "latest" is a separate value."""
    return (_NO_FIGURE.sub("", snapshot) or snapshot,) if snapshot else ()


class Interpretation(msgspec.Struct, frozen=True, gc=False):
    """One way to interpret an id: the key to look up in a table."""

    table: Literal["names", "tunes", "previews", "releases"]
    key: str
    rule: str
    sure: bool = True


def interpretations(name: ParsedId) -> Iterator[Interpretation]:
    """Interpretations of a name, least changed first; the first that the catalog has wins."""
    if not name.words:
        return
    words, days, day = (*name.words, *name.tags), name.days, snapshot_day(name.snapshot)
    if name.revision:
        yield Interpretation("names", word_key((*words, name.revision), days + day), "rule/tokens")
        if not (name.snapshot or name.revision == "1" or name.revision.startswith("00")):
            return  # a separate model, such as `titan-embed-text-v2:0`
    yield Interpretation("names", word_key(words, days + day), "rule/tokens")
    if name.snapshot:
        yield Interpretation("names", word_key(words, days), "snapshot")
    kept, dropped = base_words(name)
    if not kept:
        return
    if dropped:
        if day:
            yield Interpretation("names", word_key(kept, days + day), "variant")
        yield Interpretation("names", word_key(kept, days), "variant")
    yield from _undo_host_habits(kept, days, day)


def _undo_host_habits(words: Words, days: Words, day: Words) -> Iterator[Interpretation]:
    """Undoes what hosts do to names; none of it is certain."""
    kept = _strip_speed(words)
    if kept != words:
        if day:
            yield Interpretation("names", word_key(kept, days + day), "rule/serving", sure=False)
        yield Interpretation("names", word_key(kept, days), "rule/serving", sure=False)
    apart = tuple(_insert_point(word) for word in kept)
    if apart != kept:
        yield Interpretation("names", word_key(apart, days), "rule/version", sure=False)
    if days or has_size(kept):
        yield Interpretation("tunes", word_key(drop_tunes(kept), days), "rule/tune", sure=False)
    if len(days) == 1 and days[0] > "1231":  # a month of a year, not a day of a month
        yield Interpretation("releases", release_key(kept, days), "rule/date", sure=False)
    if "preview" not in kept:
        yield Interpretation("previews", word_key(kept, days), "rule/preview", sure=False)


def _strip_speed(words: Words) -> Words:
    """The words without those for faster machines or reasoning, unless they are the lab's own tier."""
    if _DROPPABLE.isdisjoint(words):
        return words
    family = next((word for word in words if word in OWN_SPEEDS), "")
    own = OWN_SPEEDS[family] if family else frozenset[str]() if has_size(words) else SPEEDS
    droppable = (SPEEDS - own) | _droppable_modes(words)
    return tuple(word for word in words if word not in droppable)


def _droppable_modes(words: Words) -> Set[str]:
    """The words of this name that set a model's reasoning or its tools, as a request could do."""
    if not words:
        return frozenset()
    modes, first_version = SWITCHES.get(words[0], (frozenset[str](), 0.0))
    if first_version and _version_of(words) < first_version:
        modes = frozenset()
    return modes | EFFORTS if _has_effort_setting(words) else modes


def _version_of(words: Words) -> float:
    """The first number in a name, which may follow a letter ("k2.5"); 0 without one. A size is no version."""
    matches = (_LETTER_AND_VERSION.fullmatch(word) for word in words[1:])
    return next((float(match[1]) for match in matches if match), 0.0)


def _has_effort_setting(words: Words) -> bool:
    """`gpt-5-high` and `o3-low` set the reasoning effort of a model; in image models the word is a quality."""
    return "image" not in words and words[0] in _WITH_EFFORT and len(words) > 1


@lru_cache(maxsize=16_384)
def _insert_point(word: str) -> str:
    """`54` can be 5.4 and `m21` M2.1, at hosts that write no points."""
    return _RUN_ON.sub(r"\1.\2", word)


def identity_key(model_id: str) -> str:
    """Key under which two providers' ids are the same model: lab, words, versions, days.

    Only serving words, a full date and a host's prefix are dropped. So two ids with one key are one model, but a model
    can have two keys, where a host shortens its name. Ids that name no model have the key "".
    """
    name = parse(model_id)
    kept, _ = base_words(name)
    if not kept:
        return ""
    org = name.org or FAMILIES.get(kept[0], "")
    return f"{LABS.get(org, org)}/{word_key(kept, name.days)}"

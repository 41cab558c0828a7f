"""Finds API keys in pasted text, and the provider of each: by its form, or by the name of its variable. Pure; nothing
is stored or requested.

People paste a key, several of them, or a whole `.env` file. A key is assigned to a provider only where its form or its
variable identifies the provider; where several are possible they are all named and a person decides, since a key sent
to the wrong company is given away.

No text of a line leaves this module except as `Detection.key` or `Detection.base_url`, which no `repr` shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from urllib.parse import urlsplit

from app.providers import addresses, foreign_keys
from app.providers.contract import KeyPattern, Provider
from app.providers.foreign_keys import ForeignService
from app.providers.key_cleaning import CleanedKey, clean_key, normalize, split_assignment

MAX_TEXT_LENGTH, MAX_LINES, MAX_KEYS = 64 * 1024, 500, 50
"""Limits of one paste: characters, lines, keys."""
MIN_KEY_LENGTH, MAX_KEY_LENGTH = 8, 8_000

URL_SUFFIXES = ("_BASE_URL", "_API_BASE", "_API_BASE_URL", "_ENDPOINT", "_HOST", "_URL")
"""How a variable ends that holds a base URL; it begins like the variable of the key it belongs to."""
_PLACEHOLDER = re.compile(r"(?i)^(?:<.*>|\[.*\]|\$\{?\w+\}?|%\w+%|x{3,}|change.?me|none|null|todo)$|your|\.{3}|…|\*{3}")
_INLINE_ASSIGNMENT = re.compile(
    r"""(?i)\b(?P<name>[a-z]\w*(?:key|token))["']?\s*[=:]\s*["']?(?P<value>[^\s"',;{}]{8,})"""
)
_URL = re.compile(r"(?i)https?://")
_OWN_SERVER = "openai-compatible"
"""Slug of the provider under which a service without a file of its own can be added."""
_LITERAL_PREFIX = re.compile(r"[\w-]*")


@dataclass(frozen=True, slots=True)
class _Tables:
    """What the provider files say about keys, for look-up."""

    by_prefix: dict[str, tuple[str, ...]]
    """Prefix → slugs, best rank first."""
    patterns: tuple[tuple[KeyPattern, str], ...]
    """Patterns with their provider's slug, likeliest first."""
    by_variable: dict[str, str]
    by_stem: dict[str, str]
    """Variable without its ending, `OPENAI` for OPENAI_API_KEY → slug."""
    refused: dict[str, tuple[str, str]]
    """Prefix of a secret that its own company's API refuses → slug, and what it is."""
    by_host: dict[str | None, str]
    providers: Mapping[str, Provider]


@cache
def _tables() -> _Tables:
    from app.providers import PROVIDERS  # on first use: while this module loads, they are still being collected

    by_prefix: dict[str, tuple[str, ...]] = {}
    by_variable: dict[str, str] = {}
    by_stem: dict[str, str] = {}
    refused: dict[str, tuple[str, str]] = {}
    by_host: dict[str | None, str] = {}
    patterns = []
    for slug, provider in PROVIDERS.items():
        patterns += [(pattern, slug) for pattern in provider.key_patterns]
        for prefix in provider.key_prefixes:
            by_prefix[prefix] = (*by_prefix.get(prefix, ()), slug)
        for variable in (provider.key_variable, *provider.key_variables):
            by_variable.setdefault(variable, slug)
            by_stem.setdefault(_stem(variable), slug)
        refused |= {prefix: (slug, what) for prefix, what in provider.refused_keys.items()}
        if not provider.base_url_example:
            for url in (provider.base_url, *provider.regions.values()):
                by_host.setdefault(urlsplit(url).hostname, slug)
    patterns.sort(key=lambda pair: -pair[0].odds)
    return _Tables(by_prefix, tuple(patterns), by_variable, by_stem, refused, by_host, PROVIDERS)


class PasteTooLarge(Exception):
    """The text exceeds the limits. The message is a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """A provider that a key may belong to, and the region where it has several."""

    slug: str
    region: str = ""

    @property
    def provider(self) -> Provider:
        return _tables().providers[self.slug]

    @property
    def label(self) -> str:
        return f"{self.provider.title}, {self.region}" if self.region else self.provider.title

    @property
    def value(self) -> str:
        """As the form field submits it."""
        return f"{self.slug}/{self.region}" if self.region else self.slug


@dataclass(frozen=True, slots=True)
class Detection:
    """A key in the pasted text."""

    line: int
    """Line number, from 1."""
    evidence: str
    """What identifies the provider: a known variable's name or the key's prefix; neither is secret."""
    choices: tuple[ProviderChoice, ...]
    """Possible providers, likeliest first."""
    is_certain: bool
    """Whether the first choice can be taken without asking."""
    key: str = field(repr=False)
    base_url: str = field(default="", repr=False)
    """The URL given beside the key, for servers of the user's own."""
    note: str = ""
    """What to know before saving, as sentences."""
    suggested_url: str = ""
    """Address of a service that is not among the providers, for the user to confirm."""
    suggested_label: str = ""
    login: str = field(default="", repr=False)
    """`user:password` that stood in that URL."""

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    def needs_base_url(self, choice: ProviderChoice) -> bool:
        return bool(choice.provider.base_url_example) and not self.base_url


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A line without a usable key, and why; without any of its text."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedPaste:
    detections: tuple[Detection, ...]
    unrecognised: tuple[Unrecognised, ...]


def parse_paste(text: str, today: date | None = None) -> ParsedPaste:
    """The keys in `text` with their providers. Raises PasteTooLarge and nothing else.

    today: in UTC, by which a provider has ended or not.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise PasteTooLarge(f"That is more than {MAX_TEXT_LENGTH // 1024} kB. Paste the lines with keys only.")
    lines = normalize(text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise PasteTooLarge(f"Those are more than {MAX_LINES} lines. Paste the lines with keys only.")
    base_urls = _find_base_urls(lines)
    detections: list[Detection] = []
    unrecognised: list[Unrecognised] = []
    first_lines: dict[str, int] = {}
    for line, entry in _split_entries(lines):
        result = entry if isinstance(entry, str) else _detect(line, *entry, base_urls)
        if isinstance(result, Detection) and (ended := _describe_end(result.choices, today or _today())):
            result = f"holds a key of {ended}"
        if isinstance(result, str):
            unrecognised.append(Unrecognised(line, result))
        elif result.key in first_lines:
            unrecognised.append(Unrecognised(line, f"is the same key as line {first_lines[result.key]}"))
        else:
            first_lines[result.key] = line
            detections.append(result)
    if len(detections) > MAX_KEYS:
        raise PasteTooLarge(f"Those are more than {MAX_KEYS} keys. Paste them in parts.")
    return ParsedPaste(tuple(detections), tuple(unrecognised))


_Assignment = tuple[str, str]
"""A variable's name, empty for a bare value, and its value."""


def _split_entries(lines: list[str]) -> Iterator[tuple[int, _Assignment | str]]:
    """Line number with the assignment on it, or with the reason why there is none."""
    skip_to = 0
    for number, line in enumerate(lines, 1):
        stripped = line.strip().rstrip(",").strip()
        if number <= skip_to or stripped.startswith(("#", "//", ";")):
            continue
        cleaned = CleanedKey("", stripped) if _match_certain(stripped) else clean_key(line)
        if "{" in stripped and '"type"' in "".join(lines[number - 1 : number + 20]):
            parsed = _service_account("\n".join([line, *lines[number:]]))
            if parsed is not None:
                account, further_lines = parsed
                skip_to = number + further_lines
                yield number, (cleaned.name, account)
                continue
        yield from ((number, entry) for entry in _entries_of(stripped, cleaned))


def _entries_of(stripped: str, cleaned: CleanedKey) -> Iterator[_Assignment | str]:
    """The assignments on one line."""
    if not stripped.strip("{}[]()'\"") or (_url_suffix(cleaned.name) and _URL.match(cleaned.key)):
        return  # a base URL belongs to the key beside it
    if cleaned.is_password:
        yield "holds a user name and password, not an API key"
    elif several := _several_assignments(stripped):
        yield from several
    elif cleaned.name:
        yield cleaned.name, cleaned.key
    elif " " not in cleaned.key:
        yield "", cleaned.key.strip("<>()")
    else:
        yield from _bare_keys(stripped)


def _several_assignments(stripped: str) -> list[_Assignment]:
    """The variables of a line with more than one, such as JSON on a single line."""
    found = [(match["name"].upper(), match["value"]) for match in _INLINE_ASSIGNMENT.finditer(stripped)]
    return found if len(found) > 1 else []


def _bare_keys(stripped: str) -> Iterator[_Assignment | str]:
    """The keys of a line without variable names."""
    tokens = [token.strip("'\"`<>()") for token in re.split(r"[\s,;]+", stripped)]
    keys = [token for token in tokens if _match_certain(token)] if len(tokens) > 1 else tokens
    if not keys:
        yield "holds no key that we know"
    for key in keys:
        yield "", key


def _detect(line: int, name: str, value: str, base_urls: dict[str, tuple[str, str]]) -> Detection | str:
    """The key of one assignment; or why there is none, as the end of a sentence about the line."""
    if value.startswith("{") and _service_account(value):
        return Detection(line, "a service account's JSON", _choices(_google_exchange()), True, value)
    base_url, login = base_urls.get(_stem(name), ("", "")) if name else ("", "")
    if reason := _refusal(value):
        return f"holds {reason}"
    if (foreign := _match_prefix(value)) and not base_url:
        return _detect_foreign(line, f"its beginning {foreign[0]}…", foreign[1], value)
    if certain := _match_certain(value):
        prefix, slugs = certain
        return _validate(Detection(line, f"its beginning {prefix}…", _choices(slugs), True, value))
    known = _find_by_variable(name)
    if value and (known or base_url):
        return _validate(_detect_by_name(line, name, known, value, base_url, login))
    return _detect_by_form(line, name, value)


def _detect_by_form(line: int, name: str, value: str) -> Detection | str:
    """A key that no prefix, provider's variable or address identifies."""
    if not value:
        return "is empty"
    slugs = _match_patterns(value, ("shared",) if name else ("shared", "ambiguous"))
    company = _find_company(name)
    if isinstance(company, ForeignService):
        return _detect_foreign(line, name, company, value)
    if not slugs:
        return "holds no key that we know"
    if company:
        return _detect_foreign(line, name, ForeignService(company), value)
    return _validate(Detection(line, "its form", _choices(slugs), False, value))


def _describe_end(choices: tuple[ProviderChoice, ...], today: date) -> str:
    """The provider with the date on which it ended, where all that a key may belong to have; else empty."""
    if not all(choice.provider.has_ended(today) for choice in choices):
        return ""
    provider = choices[0].provider
    return f"{provider.title}, which ended on {date.fromisoformat(provider.ends_on):%-d %B %Y}"


def _today() -> date:
    return datetime.now(UTC).date()


def _refusal(value: str) -> str:
    """What a secret is that its own company's API refuses, and what to do instead; empty for all others."""
    for prefix, (slug, what) in _tables().refused.items():
        if value.startswith(prefix):
            return f"{what}. Create an API key at {_tables().providers[slug].keys_url}"
    return ""


def _match_prefix(value: str) -> tuple[str, ForeignService] | None:
    matches = (pair for pair in foreign_keys.BY_PREFIX.items() if value.startswith(pair[0]))
    return next(matches, None) if " " not in value else None


def _find_by_variable(name: str) -> str | None:
    """The provider whose key this variable holds; also for spellings such as OPENAI_APIKEY and OPENAI_API_KEY_2."""
    tables = _tables()
    stem = _stem(name)
    return tables.by_variable.get(name) or (tables.by_stem.get(stem) if stem not in ("", name) else None)


def _find_company(name: str) -> ForeignService | str | None:
    """The company that a variable names, by its title where only the name is known; None if it names none."""
    for prefix, service in foreign_keys.BY_VARIABLE.items():
        if name.startswith(f"{prefix}_"):
            return service
    stem = _stem(name)
    words = [word for word in re.split(r"[_.-]", stem) if word and not word.isdigit()]
    if stem in ("", name) or all(word in foreign_keys.GENERIC_WORDS for word in words):
        return None
    return " ".join(words).title()


def _detect_foreign(line: int, evidence: str, service: ForeignService, value: str) -> Detection | str:
    """A key of a service without a file here: to be added as a server of one's own, or named and left out."""
    if evidence.startswith("its beginning") and not service.base_url:
        return f"holds a key of {service.title}, which is not among our providers"
    note = f"{service.title} is not supported yet: add it as a compatible server"
    note += (
        f" at this address. {service.remark}".rstrip() if service.base_url else ", if it has an OpenAI-compatible API."
    )
    choices = _choices((_OWN_SERVER,))
    return _validate(Detection(line, evidence, choices, True, value, "", note, service.base_url, service.title[:60]))


def _detect_by_name(line: int, name: str, known: str | None, value: str, base_url: str, login: str) -> Detection:
    """A key identified by its variable, and perhaps by a base URL beside it."""
    by_host = _tables().by_host.get(urlsplit(base_url).hostname) if base_url else None
    if by_host:
        choices = _choices((by_host,))
        by_url = next((one for one in choices if one.provider.regions.get(one.region) == base_url), choices[0])
        choices = (by_url, *(choice for choice in choices if choice != by_url))
        return Detection(line, name if known == by_host else "the address beside it", choices, True, value)
    if base_url:
        # OpenAI's variables are used for every server with an OpenAI-compatible API.
        own_server = known if known and _tables().providers[known].base_url_example else _OWN_SERVER
        choices = _choices((own_server,))
        return Detection(line, "the address beside it", choices, True, value, base_url, login=login)
    return Detection(line, name, _choices((known or "",)), True, value)


def _validate(detection: Detection) -> Detection | str:
    return invalid_key_reason(detection.key) or detection


def invalid_key_reason(value: str) -> str:
    """Why this cannot be a key, as the end of a sentence about the line; empty if it may be one."""
    if _PLACEHOLDER.search(value):
        return "holds a placeholder, not a key"
    if len(value) < MIN_KEY_LENGTH:
        return "holds something too short for a key"
    if len(value) > MAX_KEY_LENGTH:
        return f"holds something longer than any key ({MAX_KEY_LENGTH} characters at most)"
    if not value.isascii() or not value.isprintable() or " " in value:
        return "has spaces or characters that no key has"
    return ""


class InvalidKey(ValueError):
    """The message is a sentence that says what to do, without any of the text."""


def parse_key(text: str, provider: Provider, today: date | None = None) -> str:
    """The key in a text that was typed or piped in for `provider`. Raises InvalidKey.

    A key that another company issued, or that `provider` does not accept, is refused before it is stored or sent; a
    server of the user's own may take any.
    """
    cleaned = clean_key(text) if "\n" not in text.strip() else _clean_lines(text)
    key = cleaned.key
    if text.lstrip().startswith("{") and (key.startswith(("{", "[")) or invalid_key_reason(key)):
        # A service account's JSON, which a form may have folded into one line.
        if not key.startswith("{") or not _is_json(key):
            raise InvalidKey("That begins like a service account's JSON but is not whole. Paste all of it.")
        return key
    if reason := _describe_invalid(cleaned):
        raise InvalidKey(reason)
    if ended := _describe_end((ProviderChoice(provider.slug),), today or _today()):
        raise InvalidKey(f"That would be a key of {ended}.")
    if not provider.base_url_example and (reason := _describe_mismatch(key, provider)):
        raise InvalidKey(reason)
    return key


def _clean_lines(text: str) -> CleanedKey:
    """Of several lines: JSON as a whole, or the only one that holds a key, such as the header of a curl command."""
    stripped = normalize(text).strip()
    if stripped.startswith("{") and "private_key" in stripped:
        return CleanedKey("", stripped)
    cleaned = [clean_key(line) for line in stripped.splitlines()]
    usable = [one for one in cleaned if not invalid_key_reason(one.key) and not _URL.match(one.key)]
    return usable[0] if len(usable) == 1 else CleanedKey("", stripped)


def _describe_invalid(cleaned: CleanedKey) -> str:
    key = cleaned.key
    if cleaned.is_password:
        return "That is a user name and password, not an API key. Copy the key alone."
    if len(key) > MAX_KEY_LENGTH:
        return f"That is longer than any key ({MAX_KEY_LENGTH} characters at most). Paste the key alone."
    if _PLACEHOLDER.search(key):
        return "That is a placeholder, not a key. Copy the key from the provider's site."
    if len(key) < MIN_KEY_LENGTH:
        return "That is too short for a key. Copy it again from the provider's site."
    if _URL.match(key):
        return "That is an address, not a key. Copy the key alone."
    if invalid_key_reason(key):
        return "That has spaces or characters that no key has. Copy the key alone, on one line."
    return ""


def _describe_mismatch(key: str, provider: Provider) -> str:
    """Why `provider` cannot accept this key, as sentences."""
    if what := _refusal(key):
        return f"That is {what}."
    certain = _match_certain(key)
    if certain and provider.slug not in certain[1]:
        titles = " or ".join(_tables().providers[slug].title for slug in certain[1])
        return f"That is a key of {titles}. Add it there, so that {provider.title} never sees it."
    foreign = None if certain else _match_prefix(key)
    if foreign is None:
        return ""
    service = foreign[1]
    if not service.base_url:
        return f"That is a key of {service.title}, which is not among our providers."
    where = f" at {service.base_url}. {service.remark}".rstrip()
    own_server = _tables().providers[_OWN_SERVER].title
    return f"That is a key of {service.title}, which {provider.title} does not accept. Add it as “{own_server}”{where}"


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _match_certain(value: str) -> tuple[str, tuple[str, ...]] | None:
    """Prefix of a key that only one company issues, and that company's providers."""
    if not value or any(character.isspace() for character in value):
        return None
    tables = _tables()
    for prefix, slugs in tables.by_prefix.items():
        if value.startswith(prefix):
            return prefix, slugs
    for pattern, slug in tables.patterns:
        if pattern.confidence == "certain" and pattern.regex.fullmatch(value):
            literal = _LITERAL_PREFIX.match(pattern.regex.pattern)
            return literal[0] if literal else "", (slug,)
    return None


def _match_patterns(value: str, confidences: tuple[str, ...]) -> tuple[str, ...]:
    """Slugs whose patterns match, likeliest first."""
    matches = (
        slug
        for pattern, slug in _tables().patterns
        if pattern.confidence in confidences and pattern.regex.fullmatch(value)
    )
    return tuple(dict.fromkeys(matches))


def _choices(slugs: tuple[str, ...]) -> tuple[ProviderChoice, ...]:
    return tuple(
        ProviderChoice(slug, region) for slug in slugs for region in _tables().providers[slug].regions or ("",)
    )


def _google_exchange() -> tuple[str, ...]:
    return tuple(slug for slug, provider in _tables().providers.items() if provider.token_exchange == "google")  # noqa: S105


def _stem(name: str) -> str:
    """`OPENAI` for OPENAI_API_KEY."""
    return re.sub(r"[_.-]?(?:API[_-]?)?(?:KEY|TOKEN)(?:_?\d+)?$", "", name)


def _url_suffix(name: str) -> str | None:
    return next((suffix for suffix in URL_SUFFIXES if name.endswith(suffix)), None)


def _find_base_urls(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Valid base URLs in the text with their logins, by the stem of their variable."""
    base_urls: dict[str, tuple[str, str]] = {}
    for line in lines:
        assignment = split_assignment(line.strip())
        if assignment is None:
            continue
        name, value = assignment[0], clean_key(assignment[1]).key
        suffix = _url_suffix(name)
        if suffix and _URL.match(value):
            try:
                base_urls[name.removesuffix(suffix)] = addresses.split_login(value, value)
            except addresses.InvalidBaseURL:
                continue
    return base_urls


def _service_account(text: str) -> tuple[str, int] | None:
    """A service account's JSON that begins on the first line, and the number of lines it covers after that."""
    begin = text.index("{")
    try:
        value, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("type") != "service_account":
        return None
    return text[begin:end], text.count("\n", begin, end)

"""Decisions, conflicts and entries of the audit log in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from app.catalog import humanize
from app.catalog.changes import FieldChange
from app.catalog.listing import PRICES
from app.catalog.overrides import LIMITS, from_json
from app.store.audit import AuditLine
from app.store.decisions import ADOPT, DISMISSED, FINE
from app.store.sources import RefreshLine
from app.web.app.filters import title

UNDECIDED = "nothing decided"
_MOST_CHANGES = 50
_TITLES = {
    "context_length": "context window",
    "max_output_tokens": "longest answer",
    "tools": "tool use",
    **{name: f"{name.removesuffix('_per_million').replace('_', ' ')} price" for name in PRICES},
}
_PLAIN = frozenset({"provider", "user", "job", "sync", "plan", "test"})
"""Actions whose states are words for people already."""
_UNTOLD = frozenset({"id", "lab", "source", "field_sources", "reason"})


def field_title(field: str) -> str:
    return _TITLES.get(field, field.replace("_", " "))


def fact(value: Any, field: str) -> str:
    """One value, exactly: two that differ must not look alike."""
    if value is None or value in ("", [], ()):
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in PRICES:
        return f"${Decimal(str(value)):f}" if Decimal(str(value)) else "free"
    if field in LIMITS:
        return f"{humanize.number(int(value))} tokens"
    if isinstance(value, Mapping):
        return "; ".join(f"{title(slug)}: {', '.join(ids)}" for slug, ids in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def about(line: AuditLine) -> str:
    """What an entry of the audit log is about."""
    return _ABOUT[line.action](line.subject) if line.action in _ABOUT else line.subject


def steps(line: AuditLine) -> list[tuple[str, str, str]]:
    """What an entry changed: (field or empty, before, after), each in words."""
    before, after = _facts(line, line.before), _facts(line, line.after)
    if line.action == "canonical" and not (before and after):
        return [("", _sum(before), _sum(after))]
    names = list(dict.fromkeys([*before, *after]))
    told = [(name, before.get(name, UNDECIDED), after.get(name, UNDECIDED)) for name in names]
    return [step for step in told if step[1] != step[2]] or [("", "the same", "with another reason")]


def _sum(facts: Mapping[str, str]) -> str:
    """A model that was made or taken away, whole."""
    return "; ".join(f"{name} {value}" for name, value in facts.items()) or "none"


def _facts(line: AuditLine, state: Mapping[str, Any] | None) -> dict[str, str]:
    if state is None:
        return {}
    if line.action == "override":
        facts = from_json(dict(state)).facts
        return {field_title(name): fact(value, name) for name, value in facts.items()}
    if line.action == "canonical":
        told = {name: value for name, value in state.items() if name not in _UNTOLD}
        return {field_title(name): fact(value, name) for name, value in told.items()}
    if line.action == "match":
        return {"": state["canonical_id"] or "left unknown"}
    if line.action in _PLAIN:
        return {name: fact(value, "") for name, value in state.items()}
    if line.action == "field":
        return {"": fact(state["value"], line.subject.rpartition("#")[2])}
    return {"": _setting(line.subject, state["value"])}


def _setting(name: str, value: Any) -> str:
    if name.startswith(FINE):
        field = name.rpartition("#")[2]
        return f"fine: {fact(value['catalog'], field)} in the catalog, {fact(value['provider'], field)} there"
    if name.startswith(DISMISSED):
        return "dismissed"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _about_match(subject: str) -> str:
    slug, _, model_id = subject.partition("/")
    return f"What {title(slug)} means by {model_id}"


def _about_field(subject: str) -> str:
    canonical_id, _, field = subject.rpartition("#")
    return f"{field_title(field).capitalize()} of {canonical_id} in the catalog"


def _about_override(subject: str) -> str:
    slug, _, rest = subject.partition("/")
    canonical_id, _, priority = rest.rpartition("@")
    return f"{canonical_id} at {title(slug)}" + (f", priority {priority}" if priority != "100" else "")


def _about_setting(name: str) -> str:
    if name == ADOPT:
        return "Adopting proposals by themselves"
    if name.startswith(DISMISSED):
        return f"The proposal {name.removeprefix(DISMISSED)}"
    if name.startswith(FINE):
        subject, _, field = name.removeprefix(FINE).rpartition("#")
        slug, _, model_id = subject.partition("/")
        return f"{field_title(field).capitalize()} of {model_id} at {title(slug)}"
    return f"Setting {name}"


def _titles(slugs: str) -> str:
    return ", ".join(title(slug) for slug in slugs.split(", "))


_ABOUT: dict[str, Callable[[str], str]] = {
    "match": _about_match,
    "canonical": lambda subject: f"The canonical model {subject}",
    "field": _about_field,
    "override": _about_override,
    "setting": _about_setting,
    "provider": lambda slug: f"The settings of {title(slug)}",
    "user": lambda email: f"The account {email}",
    "job": lambda job_id: f"The failed job {job_id}",
    "sync": lambda slugs: f"A sync with the server's own keys: {_titles(slugs)}",
    "test": lambda slugs: f"A test with the server's own key, if it has one: {_titles(slugs)}",
    "plan": lambda slugs: f"A dry run with the server's own keys: {_titles(slugs)}",
}


def catalog_changes(refresh: RefreshLine) -> list[tuple[str, str, list[str]]]:
    """What a refresh did: (added, changed or removed; canonical id; what of it), the first of them."""
    return [
        (kind, canonical_id, [humanize.field_sentence(FieldChange(*change)) for change in changes])
        for kind, canonical_id, changes in refresh.changes[:_MOST_CHANGES]
    ]


def host(url: str) -> str:
    """Where an address leads; a file has no host, and is called by its name."""
    parts = urlsplit(url)
    return parts.hostname or parts.path.rpartition("/")[2]


FILTERS: dict[str, Callable[..., Any]] = {
    "about": about,
    "steps": steps,
    "fact": fact,
    "field_title": field_title,
    "catalog_changes": catalog_changes,
    "host": host,
}

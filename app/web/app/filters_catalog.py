"""Jinja filters for decisions, conflicts and audit log entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from app.catalog import humanize
from app.catalog.changes import FieldChange
from app.catalog.listing import LIMITS, PRICES
from app.catalog.overrides import parse_override
from app.providers import provider_title
from app.store.audit import AuditView
from app.store.decisions import ACCEPTED_PREFIX, AUTO_ADOPT, DISMISSED_PREFIX
from app.store.sources import RefreshView

UNDECIDED = "nothing decided"
_MAX_CHANGES = 50
_TITLES = {
    "context_length": "context window",
    "max_output_tokens": "longest answer",
    "tools": "tool use",
    **{name: f"{name.removesuffix('_per_million').replace('_', ' ')} price" for name in PRICES},
}
_PLAIN_ACTIONS = frozenset({"provider", "user", "job", "sync", "plan", "test"})
"""Actions whose stored states are already readable."""
_HIDDEN_FIELDS = frozenset({"id", "lab", "source", "field_sources", "reason"})


def field_title(field: str) -> str:
    return _TITLES.get(field, field.replace("_", " "))


def format_fact(value: Any, field: str) -> str:
    """A fact's value, unabbreviated: two different values must not look alike."""
    if value is None or value in ("", [], ()):
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in PRICES:
        return f"${Decimal(str(value)):f}" if Decimal(str(value)) else "free"
    if field in LIMITS:
        return f"{humanize.format_number(int(value))} tokens"
    if isinstance(value, Mapping):
        return "; ".join(f"{provider_title(slug)}: {', '.join(ids)}" for slug, ids in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def entry_title(line: AuditView) -> str:
    """What an audit log entry is about."""
    return _ENTRY_TITLES[line.action](line.subject) if line.action in _ENTRY_TITLES else line.subject


def entry_changes(line: AuditView) -> list[tuple[str, str, str]]:
    """What an audit log entry changed: (field or "", before, after)."""
    before, after = _describe_state(line, line.before), _describe_state(line, line.after)
    if line.action == "canonical" and not (before and after):
        return [("", _describe_model(before), _describe_model(after))]
    names = list(dict.fromkeys([*before, *after]))
    changes = [(name, before.get(name, UNDECIDED), after.get(name, UNDECIDED)) for name in names]
    return [step for step in changes if step[1] != step[2]] or [("", "the same", "with another reason")]


def _describe_model(facts: Mapping[str, str]) -> str:
    """A created or deleted model in one line."""
    return "; ".join(f"{name} {value}" for name, value in facts.items()) or "none"


def _describe_state(line: AuditView, state: Mapping[str, Any] | None) -> dict[str, str]:
    if state is None:
        return {}
    if line.action == "override":
        facts = parse_override(dict(state)).facts
        return {field_title(name): format_fact(value, name) for name, value in facts.items()}
    if line.action == "canonical":
        visible = {name: value for name, value in state.items() if name not in _HIDDEN_FIELDS}
        return {field_title(name): format_fact(value, name) for name, value in visible.items()}
    if line.action == "match":
        return {"": state["canonical_id"] or "left unknown"}
    if line.action in _PLAIN_ACTIONS:
        return {name: format_fact(value, "") for name, value in state.items()}
    if line.action == "field":
        return {"": format_fact(state["value"], line.subject.rpartition("#")[2])}
    return {"": _describe_setting(line.subject, state["value"])}


def _describe_setting(name: str, value: Any) -> str:
    if name.startswith(ACCEPTED_PREFIX):
        field = name.rpartition("#")[2]
        in_catalog, at_provider = format_fact(value["catalog"], field), format_fact(value["provider"], field)
        return f"fine: {in_catalog} in the catalog, {at_provider} there"
    if name.startswith(DISMISSED_PREFIX):
        return "dismissed"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _match_title(subject: str) -> str:
    slug, _, model_id = subject.partition("/")
    return f"What {provider_title(slug)} means by {model_id}"


def _field_entry_title(subject: str) -> str:
    canonical_id, _, field = subject.rpartition("#")
    return f"{field_title(field).capitalize()} of {canonical_id} in the catalog"


def _override_title(subject: str) -> str:
    slug, _, rest = subject.partition("/")
    canonical_id, _, priority = rest.rpartition("@")
    return f"{canonical_id} at {provider_title(slug)}" + (f", priority {priority}" if priority != "100" else "")


def _setting_title(name: str) -> str:
    if name == AUTO_ADOPT:
        return "Adopting proposals by themselves"
    if name.startswith(DISMISSED_PREFIX):
        return f"The proposal {name.removeprefix(DISMISSED_PREFIX)}"
    if name.startswith(ACCEPTED_PREFIX):
        subject, _, field = name.removeprefix(ACCEPTED_PREFIX).rpartition("#")
        slug, _, model_id = subject.partition("/")
        return f"{field_title(field).capitalize()} of {model_id} at {provider_title(slug)}"
    return f"Setting {name}"


def _provider_titles(slugs: str) -> str:
    return ", ".join(provider_title(slug) for slug in slugs.split(", "))


_ENTRY_TITLES: dict[str, Callable[[str], str]] = {
    "match": _match_title,
    "canonical": lambda subject: f"The canonical model {subject}",
    "field": _field_entry_title,
    "override": _override_title,
    "setting": _setting_title,
    "provider": lambda slug: f"The settings of {provider_title(slug)}",
    "user": lambda email: f"The account {email}",
    "job": lambda job_id: f"The failed job {job_id}",
    "sync": lambda slugs: f"A sync with the server's own keys: {_provider_titles(slugs)}",
    "test": lambda slugs: f"A test with the server's own key, if it has one: {_provider_titles(slugs)}",
    "plan": lambda slugs: f"A dry run with the server's own keys: {_provider_titles(slugs)}",
}


def catalog_changes(refresh: RefreshView) -> list[tuple[str, str, list[str]]]:
    """The first changes of a refresh: (added, changed or removed; canonical id; field changes)."""
    return [
        (kind, canonical_id, [humanize.describe_field_change(FieldChange(*change)) for change in changes])
        for kind, canonical_id, changes in refresh.changes[:_MAX_CHANGES]
    ]


def url_host(url: str) -> str:
    """The host of a URL; for a file, its name."""
    parts = urlsplit(url)
    return parts.hostname or parts.path.rpartition("/")[2]


FILTERS: dict[str, Callable[..., Any]] = {
    "entry_title": entry_title,
    "entry_changes": entry_changes,
    "format_fact": format_fact,
    "field_title": field_title,
    "catalog_changes": catalog_changes,
    "url_host": url_host,
}

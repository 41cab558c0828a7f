"""How things look in a template: providers, moments, outcomes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from flask import g, has_app_context

from app.catalog import humanize
from app.providers import PROVIDERS, addresses
from app.providers.contract import Provider
from app.store.queries.runs import KeyLine, ResultLine, RunLine

_TRIGGERS = {
    "manual": "Sync Now",
    "sign-in": "signing in",
    "cron": "the monthly cron",
    "api": "the API",
    "cli": "the command line",
    "schedule": "the schedule",
}
_OUTCOMES = {
    "complete": "updated",
    "unchanged": "nothing changed",
    "partial": "partly read",
    "suspect": "kept aside",
    "failed": "failed",
    "skipped": "skipped",
}
_TONES = {
    "complete": "good",
    "unchanged": "good",
    "partial": "warn",
    "suspect": "warn",
    "failed": "bad",
    "skipped": "muted",
}


_AREAS = (
    "Africa/",
    "America/",
    "Antarctica/",
    "Arctic/",
    "Asia/",
    "Atlantic/",
    "Australia/",
    "Europe/",
    "Indian/",
    "Pacific/",
)


def now() -> datetime:
    return datetime.now(UTC)


def providers() -> dict[str, Provider]:
    return PROVIDERS


def title(slug: str) -> str:
    provider = PROVIDERS.get(slug)
    return provider.title if provider else slug


def ago(moment: datetime | None) -> str:
    """ "3 min ago"; the exact time belongs into the `title` beside it."""
    if moment is None:
        return "never"
    seconds = (now() - moment).total_seconds()
    if seconds < 10:
        return "just now"
    if seconds < 60:
        return f"{int(seconds)} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86_400:
        return f"{int(seconds // 3600)} h ago"
    days = int(seconds // 86_400)
    return humanize.plural(days, "day") + " ago" if days < 60 else day(moment)


def exact(moment: datetime | None) -> str:
    """In the zone of whoever looks, with its name: "2026-11-01 13:00:00 Europe/Berlin (+01:00)"."""
    if moment is None:
        return ""
    local = moment.astimezone(zone())
    return f"{local:%Y-%m-%d %H:%M:%S} {_zone_name(local)}"


def clock(moment: datetime) -> str:
    """Of a moment that is not far: "13:00 Europe/Berlin (+01:00)"."""
    local = moment.astimezone(zone())
    return f"{local:%H:%M} {_zone_name(local)}"


def day(moment: datetime) -> str:
    """ "1 Nov 2026", as the calendar of whoever looks has it."""
    return f"{moment.astimezone(zone()):%-d %b %Y}"


def zone() -> tzinfo:
    """The time zone of whoever looks; UTC where nobody does, or where theirs is not known here any more."""
    return known_zone(g.get("time_zone", "") if has_app_context() else "") or UTC


def known_zone(name: str) -> tzinfo | None:
    """The IANA zone of this name, None if there is none."""
    if name not in time_zones():
        return None
    return UTC if name == "UTC" else ZoneInfo(name)


@functools.cache
def time_zones() -> dict[str, None]:
    """The names that a person may choose, UTC first: places, not the old abbreviations."""
    places = sorted(name for name in available_timezones() if name.startswith(_AREAS))
    return dict.fromkeys(["UTC", *places])


def _zone_name(local: datetime) -> str:
    if local.tzinfo is UTC:
        return "UTC"
    # Without the offset, the hour that autumn brings twice could be either.
    return f"{local.tzinfo} ({local.isoformat()[-6:]})"


def iso(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def stamp(moment: datetime | None) -> str:
    """For the `datetime` of a <time>, where HTML knows milliseconds at most."""
    return moment.isoformat(timespec="milliseconds") if moment else ""


def seconds(duration: float | None) -> str:
    return "" if duration is None else f"{duration:.1f} s"


def elapsed(since: datetime) -> int:
    """Whole seconds until now."""
    return max(0, int((now() - since).total_seconds()))


@dataclass(frozen=True, slots=True)
class Said:
    """A state in words, with the tone of its badge."""

    words: str
    tone: str


def key_state(key: KeyLine) -> Said:
    """What the row of an API key says of it."""
    if not key.is_active:
        return Said("disabled", "muted")
    if key.is_checking:
        return Said("checking …", "busy")
    if key.put_off_until and key.put_off_until > now():
        return Said(f"asked to wait until {clock(key.put_off_until)}", "warn")
    if key.outcome in ("complete", "unchanged", "partial"):
        extra = " (list only partly read)" if key.outcome == "partial" else ""
        return Said(f"valid: {humanize.plural(key.chat_count or 0, 'chat model')}{extra}", _TONES[key.outcome])
    if key.outcome == "suspect":
        return Said("answer kept aside", "warn")
    if key.outcome == "failed":
        return Said((key.error_message or "failed").rstrip("."), "bad")
    return Said("saved, will be checked at the next sync", "muted")


def place(key: KeyLine) -> str:
    """The region or the server that a key is asked at."""
    provider = PROVIDERS.get(key.provider)
    return (addresses.region_of(provider, key.base_url) if provider else "") or key.base_url or ""


def result_state(result: ResultLine) -> Said:
    if result.outcome is None:
        return Said("fetching …" if result.state == "fetching" else "waiting", "busy")
    words = _OUTCOMES[result.outcome]
    if result.outcome == "failed" and result.error_code:
        words = f"failed: {short_code(result.error_code)}"
    return Said(words, _TONES[result.outcome])


def short_code(code: str) -> str:
    return code.replace("_", " ")


def trigger(name: str) -> str:
    return _TRIGGERS.get(name, name)


def run_state(run: RunLine) -> Said:
    if run.state == "queued":
        return Said("waiting for a worker", "busy")
    if run.state == "running":
        return Said("running", "busy")
    if run.state == "lost":
        return Said("stopped early", "bad")
    if run.state == "cancelled":
        return Said("cancelled", "muted")
    bad = sum(result.outcome == "failed" for result in run.results)
    if bad:
        return Said(f"done, {bad} failed", "warn" if bad < len(run.results) else "bad")
    return Said("done", "good")


def summary(run: RunLine) -> str:
    """ "3 new models, 1 changed, Groq failed: key revoked." """
    said = [humanize.plural(run.total_new_models, "new model")] if run.total_new_models else []
    said += [
        f"{humanize.number(run.total(word))} {word}" for word in ("changed", "unlisted", "relisted") if run.total(word)
    ]
    if run.state == "lost":
        said.append("the worker stopped before the end")
    if run.state == "cancelled":
        said.append("cancelled before the end")
    for result in run.results:
        if result.outcome == "failed":
            said.append(f"{_who(result)} failed: {short_code(result.error_code or 'unknown')}")
        elif result.outcome == "suspect":
            said.append(f"{_who(result)}: answer kept aside")
    text = ", ".join(said) or "Nothing new"
    return text[0].upper() + text[1:] + "."


def _who(result: ResultLine) -> str:
    return f"{title(result.provider)} ({result.label})" if result.label else title(result.provider)


FILTERS: dict[str, Callable[..., Any]] = {
    "provider_title": title,
    "ago": ago,
    "exact": exact,
    "day": day,
    "iso": stamp,
    "seconds": seconds,
    "elapsed": elapsed,
    "key_state": key_state,
    "place": place,
    "result_state": result_state,
    "run_state": run_state,
    "trigger": trigger,
    "summary": summary,
    "sentence": humanize.sentence,
    "tokens": humanize.tokens,
    "money": humanize.money,
    "dollars": humanize.dollars,
    "short_code": short_code,
}

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
from app.store.queries.runs import KeyView, ResultView, RunView

_TRIGGER_LABELS = {
    "manual": "Sync Now",
    "sign-in": "signing in",
    "cron": "the monthly cron",
    "api": "the API",
    "cli": "the command line",
    "schedule": "the schedule",
}
_OUTCOME_LABELS = {
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


_TIME_ZONE_AREAS = (
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


def provider_title(slug: str) -> str:
    provider = PROVIDERS.get(slug)
    return provider.title if provider else slug


def relative_time(moment: datetime | None) -> str:
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
    return humanize.pluralize(days, "day") + " ago" if days < 60 else format_date(moment)


def format_datetime(moment: datetime | None) -> str:
    """In the zone of whoever looks, with its name: "2026-11-01 13:00:00 Europe/Berlin (+01:00)"."""
    if moment is None:
        return ""
    local = moment.astimezone(current_zone())
    return f"{local:%Y-%m-%d %H:%M:%S} {_zone_name(local)}"


def format_time(moment: datetime) -> str:
    """Of a moment that is not far: "13:00 Europe/Berlin (+01:00)"."""
    local = moment.astimezone(current_zone())
    return f"{local:%H:%M} {_zone_name(local)}"


def format_date(moment: datetime) -> str:
    """ "1 Nov 2026", as the calendar of whoever looks has it."""
    return f"{moment.astimezone(current_zone()):%-d %b %Y}"


def current_zone() -> tzinfo:
    """The time zone of whoever looks; UTC where nobody does, or where theirs is not known here any more."""
    return find_zone(g.get("time_zone", "") if has_app_context() else "") or UTC


def find_zone(name: str) -> tzinfo | None:
    """The IANA zone of this name, None if there is none."""
    if name not in time_zones():
        return None
    return UTC if name == "UTC" else ZoneInfo(name)


@functools.cache
def time_zones() -> dict[str, None]:
    """The names that a person may choose, UTC first: places, not the old abbreviations."""
    places = sorted(name for name in available_timezones() if name.startswith(_TIME_ZONE_AREAS))
    return dict.fromkeys(["UTC", *places])


def _zone_name(local: datetime) -> str:
    if local.tzinfo is UTC:
        return "UTC"
    # Without the offset, the hour that autumn brings twice could be either.
    return f"{local.tzinfo} ({local.isoformat()[-6:]})"


def isoformat(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def isoformat_ms(moment: datetime | None) -> str:
    """For the `datetime` of a <time>, where HTML knows milliseconds at most."""
    return moment.isoformat(timespec="milliseconds") if moment else ""


def format_seconds(duration: float | None) -> str:
    return "" if duration is None else f"{duration:.1f} s"


def elapsed_s(since: datetime) -> int:
    """Whole seconds until now."""
    return max(0, int((now() - since).total_seconds()))


@dataclass(frozen=True, slots=True)
class StatusBadge:
    """A state in words, with the tone of its badge."""

    words: str
    tone: str


def key_badge(key: KeyView) -> StatusBadge:
    """What the row of an API key says of it."""
    if not key.is_active:
        return StatusBadge("disabled", "muted")
    if key.is_checking:
        return StatusBadge("checking …", "busy")
    if key.put_off_until and key.put_off_until > now():
        return StatusBadge(f"asked to wait until {format_time(key.put_off_until)}", "warn")
    if key.outcome in ("complete", "unchanged", "partial"):
        extra = " (list only partly read)" if key.outcome == "partial" else ""
        return StatusBadge(
            f"valid: {humanize.pluralize(key.chat_count or 0, 'chat model')}{extra}", _TONES[key.outcome]
        )
    if key.outcome == "suspect":
        return StatusBadge("answer kept aside", "warn")
    if key.outcome == "failed":
        return StatusBadge((key.error_message or "failed").rstrip("."), "bad")
    return StatusBadge("saved, will be checked at the next sync", "muted")


def endpoint_label(key: KeyView) -> str:
    """The region or the server that a key is asked at."""
    provider = PROVIDERS.get(key.provider)
    return (addresses.find_region(provider, key.base_url) if provider else "") or key.base_url or ""


def result_badge(result: ResultView) -> StatusBadge:
    if result.outcome is None:
        return StatusBadge("fetching …" if result.state == "fetching" else "waiting", "busy")
    words = _OUTCOME_LABELS[result.outcome]
    if result.outcome == "failed" and result.error_code:
        words = f"failed: {humanize_code(result.error_code)}"
    return StatusBadge(words, _TONES[result.outcome])


def humanize_code(code: str) -> str:
    return code.replace("_", " ")


def trigger_label(name: str) -> str:
    return _TRIGGER_LABELS.get(name, name)


def run_badge(run: RunView) -> StatusBadge:
    if run.state == "queued":
        return StatusBadge("waiting for a worker", "busy")
    if run.state == "running":
        return StatusBadge("running", "busy")
    if run.state == "lost":
        return StatusBadge("stopped early", "bad")
    if run.state == "cancelled":
        return StatusBadge("cancelled", "muted")
    bad = sum(result.outcome == "failed" for result in run.results)
    if bad:
        return StatusBadge(f"done, {bad} failed", "warn" if bad < len(run.results) else "bad")
    return StatusBadge("done", "good")


def summarize_run(run: RunView) -> str:
    """ "3 new models, 1 changed, Groq failed: key revoked." """
    said = [humanize.pluralize(run.total_new_models, "new model")] if run.total_new_models else []
    said += [
        f"{humanize.format_number(run.total(word))} {word}"
        for word in ("changed", "unlisted", "relisted")
        if run.total(word)
    ]
    if run.state == "lost":
        said.append("the worker stopped before the end")
    if run.state == "cancelled":
        said.append("cancelled before the end")
    for result in run.results:
        if result.outcome == "failed":
            said.append(f"{_result_label(result)} failed: {humanize_code(result.error_code or 'unknown')}")
        elif result.outcome == "suspect":
            said.append(f"{_result_label(result)}: answer kept aside")
    text = ", ".join(said) or "Nothing new"
    return text[0].upper() + text[1:] + "."


def _result_label(result: ResultView) -> str:
    return f"{provider_title(result.provider)} ({result.label})" if result.label else provider_title(result.provider)


FILTERS: dict[str, Callable[..., Any]] = {
    "provider_title": provider_title,
    "ago": relative_time,
    "exact": format_datetime,
    "day": format_date,
    "iso": isoformat_ms,
    "seconds": format_seconds,
    "elapsed": elapsed_s,
    "key_state": key_badge,
    "place": endpoint_label,
    "result_state": result_badge,
    "run_state": run_badge,
    "trigger": trigger_label,
    "summary": summarize_run,
    "sentence": humanize.describe_change,
    "tokens": humanize.format_tokens,
    "money": humanize.format_price,
    "dollars": humanize.format_dollars,
    "short_code": humanize_code,
}

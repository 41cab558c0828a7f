"""Jinja filters: times in the user's time zone, labels, badges."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from flask import Flask, g, has_app_context

from app import clock
from app.catalog import humanize
from app.providers import PROVIDERS, addresses, error_mapping, provider_title
from app.store.queries import labels
from app.store.queries.keys import KeyView
from app.store.queries.labels import StatusBadge
from app.store.queries.runs import ResultView

_TRIGGER_LABELS = {
    "manual": "manually",
    "sign-in": "at sign-in",
    "cron": "monthly cron",
    "api": "API",
    "cli": "command line",
    "schedule": "scheduled",
    "new-key": "new key",
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


def relative_time(moment: datetime | None) -> str:
    """ "3 min ago"; the exact time belongs in the `title` attribute."""
    if moment is None:
        return "never"
    seconds = (clock.utc_now() - moment).total_seconds()
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
    """In the user's time zone: "2026-11-01 13:00:00 Europe/Berlin (+01:00)"; empty for None."""
    return clock.format_datetime(moment, current_zone()) if moment else ""


def format_date(moment: datetime) -> str:
    """ "1 Nov 2026", in the user's time zone."""
    return f"{moment.astimezone(current_zone()):%-d %b %Y}"


def current_zone() -> tzinfo:
    """The signed-in user's time zone; UTC if there is none or it is unknown here."""
    return find_zone(g.get("time_zone", "") if has_app_context() else "") or UTC


def find_zone(name: str) -> tzinfo | None:
    """The IANA time zone of this name; None if there is none."""
    if name not in time_zones():
        return None
    return UTC if name == "UTC" else ZoneInfo(name)


@functools.cache
def time_zones() -> dict[str, None]:
    """Selectable time zones, UTC first: Area/Location names only, without legacy abbreviations."""
    places = sorted(name for name in available_timezones() if name.startswith(_TIME_ZONE_AREAS))
    return dict.fromkeys(["UTC", *places])


def elapsed_s(since: datetime) -> int:
    """Whole seconds until now."""
    return max(0, int((clock.utc_now() - since).total_seconds()))


def key_badge(key: KeyView) -> StatusBadge:
    return labels.key_badge(key, clock.utc_now(), current_zone())


def endpoint_label(key: KeyView) -> str:
    """The region or server that a key is used with."""
    provider = PROVIDERS.get(key.provider)
    return (addresses.find_region(provider, key.base_url) if provider else "") or key.base_url or ""


def key_page_url(line: KeyView | ResultView) -> str | None:
    """Where to create or edit the key, if that mends its error."""
    return error_mapping.key_page_url(line.provider, line.error_code)


def trigger_label(name: str) -> str:
    return _TRIGGER_LABELS.get(name, name)


FILTERS: dict[str, Callable[..., Any]] = {
    "provider_title": provider_title,
    "relative_time": relative_time,
    "format_datetime": format_datetime,
    "format_date": format_date,
    "isoformat": clock.isoformat_ms,
    "format_seconds": humanize.format_seconds,
    "elapsed_s": elapsed_s,
    "key_badge": key_badge,
    "endpoint_label": endpoint_label,
    "key_page_url": key_page_url,
    "result_badge": labels.result_badge,
    "run_badge": labels.run_badge,
    "trigger_label": trigger_label,
    "summarize_run": functools.partial(
        labels.summarize_run, provider_title=provider_title, relative_time=relative_time
    ),
    "compare_counts": labels.compare_counts,
    "describe_change": humanize.describe_change,
    "format_tokens": humanize.format_tokens,
    "format_day": humanize.format_day,
    "format_price": humanize.format_price,
    "format_dollars": humanize.format_dollars,
    "humanize_code": labels.humanize_code,
}


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.globals.update(plural=humanize.pluralize, number=humanize.format_number)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

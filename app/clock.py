"""The clock of the app. Everything below `web`, `api`, `cli` and `jobs` takes the time as an argument instead."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def isoformat(moment: datetime | None) -> str:
    """ISO 8601 with microseconds; empty for None."""
    return moment.isoformat() if moment else ""


def isoformat_ms(moment: datetime | None) -> str:
    """ISO 8601 with milliseconds, the most that HTML's `datetime` attribute allows; empty for None."""
    return moment.isoformat(timespec="milliseconds") if moment else ""


def isoformat_utc(moment: datetime | None) -> str:
    """ "2026-11-01T13:00:00.000Z", as JavaScript writes it; empty for None."""
    return isoformat_ms(moment.astimezone(UTC)).replace("+00:00", "Z") if moment else ""


def format_datetime(moment: datetime, zone: tzinfo) -> str:
    """ "2026-11-01 13:00:00 Europe/Berlin (+01:00)"."""
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {_zone_name(local)}"


def format_time(moment: datetime, zone: tzinfo) -> str:
    """ "13:00 Europe/Berlin (+01:00)"."""
    local = moment.astimezone(zone)
    return f"{local:%H:%M} {_zone_name(local)}"


def _zone_name(local: datetime) -> str:
    if local.tzinfo is UTC:
        return "UTC"
    # The offset tells apart the hour that occurs twice when daylight saving time ends.
    return f"{local.tzinfo} ({local.isoformat()[-6:]})"

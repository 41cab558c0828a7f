"""The HTTP requests of one sync result: time, status, size, duration. URLs and headers are not stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from app.catalog import humanize
from app.store.queries.runs import ResultView
from app.web.app import charts


@dataclass(frozen=True, slots=True)
class RequestLine:
    at_s: float
    """Seconds after the first request."""
    status: int
    """HTTP status; 0 if there was no response."""
    size: int
    """Response size in bytes."""
    took_s: float
    error: str
    """The error as words; empty if there was none."""

    @property
    def tone(self) -> str:
        return "read" if self.status in (200, 304) and not self.error else "troubled"


def read_requests(result: ResultView) -> list[RequestLine]:
    """In order."""
    return [
        RequestLine(started / 1e3, status, size, took / 1e3, str(error).replace("_", " "))
        for started, status, size, took, error in map(_unpack, result.requests)
    ]


def draw_timeline(result: ResultView, lines: Sequence[RequestLine]) -> Markup:
    failed = sum(line.tone != "read" for line in lines)
    description = (
        f"{humanize.pluralize(len(lines), 'request')}, {failed} failed. The numbers are in the table that follows."
    )
    chart = charts.Chart(f"requests-{result.id}", "Requests over time", description, (), ())
    return charts.draw_timeline(chart, [(line.at_s, line.took_s, line.tone) for line in lines])


def format_size(count: int) -> str:
    """ "340 B", "12 kB", "3.4 MB"."""
    if count < 1_000:
        return f"{count} B"
    return f"{count / 1e3:.0f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"


def _unpack(request: Sequence[Any]) -> tuple[int, int, int, int, str]:
    """The stored form: (start in ms, status, bytes, duration in ms, error)."""
    started, status, count, took, error = request
    return int(started), int(status or 0), int(count or 0), int(took), error or ""

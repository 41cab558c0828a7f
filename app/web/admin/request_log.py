"""What was asked of a provider for one result: when, how it answered, how much, and how long that took.

Addresses and headers are not in it: they were never kept.
"""

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
    """After the first."""
    status: int
    """0: no answer came."""
    size: int
    """Bytes of the answer."""
    took_s: float
    trouble: str
    """What went wrong, in our own words; empty where nothing did."""

    @property
    def tone(self) -> str:
        return "read" if self.status in (200, 304) and not self.trouble else "troubled"


def read_requests(result: ResultView) -> list[RequestLine]:
    """In their order."""
    return [
        RequestLine(started / 1e3, status, size, took / 1e3, str(trouble).replace("_", " "))
        for started, status, size, took, trouble in map(_unpack, result.requests)
    ]


def draw_timeline(result: ResultView, lines: Sequence[RequestLine]) -> Markup:
    failed = sum(line.tone != "read" for line in lines)
    says = f"{humanize.pluralize(len(lines), 'request')}, {failed} failed. The numbers are in the table that follows."
    chart = charts.Chart(f"requests-{result.id}", "Requests over time", says, (), ())
    return charts.draw_timeline(chart, [(line.at_s, line.took_s, line.tone) for line in lines])


def format_size(count: int) -> str:
    """Bytes for reading: "340 B", "12 kB", "3.4 MB"."""
    if count < 1_000:
        return f"{count} B"
    return f"{count / 1e3:.0f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"


def _unpack(request: Sequence[Any]) -> tuple[int, int, int, int, str]:
    """A request as it is kept: started after … ms, status, bytes, took … ms, what went wrong."""
    started, status, count, took, trouble = request
    return int(started), int(status or 0), int(count or 0), int(took), trouble or ""

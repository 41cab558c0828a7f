"""SVG charts of the user's history: a calendar of syncs, and a key's number of models over time.

As in `charts`, title and description state what is shown, and the page includes a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from markupsafe import Markup, escape

from app.catalog import humanize

WEEKS = 26
_WORST_FIRST = ("failed", "suspect", "partial", "skipped", "complete", "unchanged")
_CELL, _STEP, _LEFT, _TOP = 10, 13, 28, 16
_WIDTH, _HEIGHT = 100.0, 40.0


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """One day of the calendar."""

    day: date
    counts: Counter[str]
    """Outcome → number of results."""

    @property
    def worst(self) -> str:
        """The worst outcome of the day; empty if nothing was synced."""
        return next((word for word in _WORST_FIRST if self.counts[word]), "") if self.counts else ""

    @property
    def summary(self) -> str:
        """ "3 complete, 1 failed"."""
        if not self.counts:
            return "no sync"
        counted = [f"{humanize.format_number(self.counts[word])} {word}" for word in _WORST_FIRST if self.counts[word]]
        return ", ".join(counted) or "no sync"


def calendar_dates(today: date, weeks: int = WEEKS) -> list[date]:
    """Whole weeks starting on Monday, the last one up to today."""
    first = today - timedelta(days=today.weekday(), weeks=weeks - 1)
    return [first + timedelta(days=number) for number in range((today - first).days + 1)]


def day_bounds(dates: Sequence[date], zone: tzinfo) -> list[datetime]:
    """Midnights at which the days begin in this zone, and the end of the last day."""
    return [datetime.combine(day, time(), zone) for day in (*dates, dates[-1] + timedelta(days=1))]


def draw_calendar(squares: Sequence[CalendarDay]) -> Markup:
    """One column per week, one row per weekday, coloured by the day's worst outcome."""
    columns = (len(squares) + 6) // 7
    parts = [
        f'<text x="0" y="{_TOP + row * _STEP + 8}">{name}</text>' for row, name in ((0, "Mon"), (2, "Wed"), (4, "Fri"))
    ]
    label = ""
    for number, square in enumerate(squares):
        left, top = _LEFT + number // 7 * _STEP, _TOP + number % 7 * _STEP
        # Adjacent labels would overlap, and the last one would be cut off.
        if number % 7 == 0 and square.day.day <= 14 and number // 7 < columns - 1:
            month = f"{square.day:%b}"
            if month != label:
                label = month
                parts.append(f'<text x="{left}" y="9">{month}</text>')
        css = f"in-{square.worst or 'nothing'}"
        tooltip = escape(f"{square.day:%-d %b %Y}: {square.summary}")
        parts.append(
            f'<rect class="{css}" x="{left}" y="{top}" width="{_CELL}" height="{_CELL}" rx="2">'
            f"<title>{tooltip}</title></rect>"
        )
    sums: Counter[str] = Counter()
    for square in squares:
        sums.update(square.counts)
    synced = sum(bool(square.worst) for square in squares)
    summary = f"{humanize.pluralize(synced, 'day')} with syncs. Results: {CalendarDay(squares[0].day, sums).summary}."
    title = f"Syncs of the last {columns} weeks, one cell a day"
    box = f"0 0 {_LEFT + columns * _STEP} {_TOP + 7 * _STEP}"
    return _svg("calendar", title, f"{summary} The days are in the table that follows.", box, "".join(parts))


def draw_scope(points: Sequence[tuple[datetime, int]], until: datetime) -> Markup:
    """Step chart. points: oldest first, at least one."""
    numbers = [number for _, number in points]
    low, high = axis_floor(numbers), max(numbers)
    start, end = points[0][0], max(until, points[-1][0])
    span = (end - start).total_seconds() or 1.0

    def across(moment: datetime) -> float:
        return _WIDTH * (moment - start).total_seconds() / span

    def up(number: int) -> float:
        return _HEIGHT - 2 - (_HEIGHT - 4) * (number - low) / ((high - low) or 1)

    path = f"M{across(start):.2f} {up(numbers[0]):.2f}"
    for moment, number in points[1:]:
        path += f"H{across(moment):.2f}V{up(number):.2f}"
    path += f"H{_WIDTH:.2f}"
    area = f"{path}V{_HEIGHT:.2f}H0Z"
    description = (
        f"From {humanize.format_number(numbers[0])} to {humanize.format_number(numbers[-1])}, "
        f"at least {humanize.format_number(min(numbers))}, "
        f"at most {humanize.format_number(high)}. Every step is in the table that follows."
    )
    paths = f'<path class="scope-area" d="{area}"/><path class="scope-line" d="{path}"/>'
    box = f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}"
    return _svg("scope", "Chat models of this key over time", description, box, paths, stretched=True)


def axis_floor(numbers: Sequence[int]) -> int:
    """Lower end of the y axis: zero, unless the variation would be invisible."""
    low, high = min(numbers), max(numbers)
    return max(0, low - (high - low)) if 0 < high - low < high / 4 else 0


def _svg(name: str, title: str, description: str, box: str, inner: str, *, stretched: bool = False) -> Markup:
    """inner: escaped SVG."""
    ratio = ' preserveAspectRatio="none"' if stretched else ""
    heading = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    labels = f'role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc"'
    return Markup(f'<svg class="chart-{name}" viewBox="{box}"{ratio} {labels}>{heading}{inner}</svg>')  # noqa: S704  # text is escaped

"""Server-rendered SVG bar charts. Colours are CSS classes.

Title and description state what the chart shows; the page includes a table of the numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from markupsafe import Markup, escape

from app.catalog import humanize
from app.store.queries.admin import WHOLE_RUNS, DayCount
from app.store.schema.tables import OUTCOMES

DAYS = 30
READ_OUTCOMES, TROUBLED_OUTCOMES = ("complete", "unchanged", "partial"), ("suspect", "failed")
_HEIGHT = 100
_WIDTH, _GAP = 10, 2
"""Width of a column and the gap after it, in viewBox units; CSS scales the whole."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    values: Mapping[str, int]
    """Series → number."""
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(self.values.values()))


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns of numbers over the same series. `id` is unique on its page."""

    id: str
    title: str
    description: str
    series: Sequence[str]
    columns: Sequence[Column]

    sums: Counter[str] = field(init=False)
    """Series → total over all columns."""

    def __post_init__(self) -> None:
        sums: Counter[str] = Counter()
        for column in self.columns:
            for word, value in column.values.items():
                sums[word] += value
        object.__setattr__(self, "sums", sums)

    @property
    def most(self) -> int:
        return max((column.total for column in self.columns), default=0)

    @property
    def total(self) -> int:
        return self.sums.total()


def draw_bars(chart: Chart, *, share: bool = False) -> Markup:
    """Stacked bar chart, one bar per column; with `share`, all bars have the same height (100 %)."""
    width = len(chart.columns) * (_WIDTH + _GAP) - _GAP
    bars = []
    series, most = tuple(chart.series), chart.most
    for number, column in enumerate(chart.columns):
        if column.total:
            height = _HEIGHT * (1 if share else column.total / most)
            values = tuple(column.values.get(word, 0) for word in series)
            bars.append(_draw_column(series, column.name, values, number * (_WIDTH + _GAP), height))
    return _svg(chart, width, _HEIGHT, "chart-bars", "".join(bars))


def draw_strip(chart: Chart) -> Markup:
    """Horizontal stacked bar of a chart's first column."""
    column = chart.columns[0]
    parts, left = [], 0.0
    for word in chart.series:
        width = 100 * column.values.get(word, 0) / (column.total or 1)
        if width:
            parts.append(_draw_rectangle(word, left, 0, width, 10))
        left += width
    return _svg(chart, 100, 10, "chart-strip", "".join(parts))


def draw_timeline(chart: Chart, spans: Sequence[tuple[float, float, str]]) -> Markup:
    """Gantt-like timeline, one row per span. spans: (start, duration, tone), in any unit of time."""
    end = max((start + duration for start, duration, _ in spans), default=0) or 1
    bars = []
    for number, (start, duration, tone) in enumerate(spans):
        width = max(100 * duration / end, 0.5)  # keep instant requests visible
        bars.append(_draw_rectangle(tone, min(100 * start / end, 100 - width), number * 10 + 2, width, 6))
    return _svg(chart, 100, max(len(spans), 1) * 10, "chart-timeline", "".join(bars))


@lru_cache(2_048)
def _draw_column(series: tuple[str, ...], name: str, values: tuple[int, ...], left: float, height: float) -> str:
    """One stacked bar with a tooltip. Cached: all but the last day of a chart rarely change."""
    parts, labels, top, total = [], [], float(_HEIGHT), sum(values)
    for word, value in zip(series, values, strict=True):
        if value:
            size = height * value / total
            top -= size
            parts.append(_draw_rectangle(word, left, top, _WIDTH, size))
            labels.append(f"{humanize.format_number(value)} {word}")
    return f"<g><title>{escape(name)}: {', '.join(labels)}</title>{''.join(parts)}</g>"


def _draw_rectangle(word: str, left: float, top: float, width: float, height: float) -> str:
    """word: an outcome or a tone, which needs no escaping."""
    return f'<rect class="in-{word}" x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}"/>'


def _svg(chart: Chart, width: float, height: float, css: str, inner: str) -> Markup:
    """Title and description carry the text; text inside a stretched SVG would be distorted."""
    heading = f'<title id="{chart.id}-title">{escape(chart.title)}</title>'
    heading += f'<desc id="{chart.id}-desc">{escape(chart.description)}</desc>'
    attributes = f'role="img" aria-labelledby="{chart.id}-title" aria-describedby="{chart.id}-desc"'
    box = f'viewBox="0 0 {width} {height}" preserveAspectRatio="none"'
    return Markup(f'<svg class="{css}" {box} {attributes}>{heading}{inner}</svg>')  # noqa: S704  # text is escaped


# ------------------------------------------------------------------ what the admin's pages draw


def chart_by_day(counts: Iterable[DayCount], today: date) -> Chart:
    """Results of all providers per day, by outcome."""
    days = _last_days(today)
    values: dict[date, dict[str, int]] = {day: {} for day in days}
    for count in counts:
        if count.slug != WHOLE_RUNS and count.day in values:
            values[count.day][count.word] = values[count.day].get(count.word, 0) + count.number
    columns = [Column(f"{day:%-d %b}", values[day]) for day in days]
    chart = Chart("by-day", f"Results of the last {DAYS} days, by outcome", "", OUTCOMES, columns)
    return _add_description(chart)


def chart_health(counts: Iterable[DayCount], slugs: Sequence[str], today: date) -> dict[str, Chart]:
    """Provider → results per day that read the list ("read") or failed or were suspect ("troubled")."""
    days = _last_days(today)
    tones = dict.fromkeys(READ_OUTCOMES, "read") | dict.fromkeys(TROUBLED_OUTCOMES, "troubled")
    values: dict[str, dict[date, dict[str, int]]] = {slug: {} for slug in slugs}
    for count in counts:
        if count.slug in values and count.word in tones:
            day = values[count.slug].setdefault(count.day, {})
            day[tones[count.word]] = day.get(tones[count.word], 0) + count.number
    return {slug: _chart_provider_health(slug, by_date, days) for slug, by_date in values.items()}


def _chart_provider_health(slug: str, by_date: Mapping[date, Mapping[str, int]], days: Sequence[date]) -> Chart:
    columns = [Column(f"{day:%-d %b}", by_date.get(day, {})) for day in days]
    chart = Chart(f"health-{slug}", f"Health of the last {DAYS} days", "", ("read", "troubled"), columns)
    return _add_description(chart, "Day by day in the table on the overview.")


def chart_period(name: str, title: str, values: Mapping[str, int]) -> Chart:
    """Results of one period, for `draw_strip`."""
    return _add_description(Chart(f"in-{name}", title, "", OUTCOMES, [Column(title, values)]))


def _add_description(chart: Chart, where: str = "The numbers are in the table that follows.") -> Chart:
    sums = [f"{humanize.format_number(chart.sums[word])} {word}" for word in chart.series if chart.sums[word]]
    summary = ", ".join(sums) or "Nothing yet"
    return Chart(chart.id, chart.title, f"{summary}. {where}", chart.series, chart.columns)


def _last_days(today: date) -> list[date]:
    return [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]

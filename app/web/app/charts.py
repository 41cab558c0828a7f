"""Charts as SVG, made on the server: bars stacked by outcome. Colours are classes, so the style sheet has them all.

A chart says in its title and description what it shows; the page puts the table of its numbers behind it.
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
"""Of a column and of the room after it; the style sheet stretches the whole."""


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
    """Columns of numbers, each in the same series; `id` is unique on its page."""

    id: str
    title: str
    description: str
    series: Sequence[str]
    columns: Sequence[Column]

    sums: Counter[str] = field(init=False)
    """Series → its number in all columns."""

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
    """A column for each day, as high as its number; with `share` all are of one height and show its parts."""
    width = len(chart.columns) * (_WIDTH + _GAP) - _GAP
    drawn = []
    series, most = tuple(chart.series), chart.most
    for number, column in enumerate(chart.columns):
        if column.total:
            height = _HEIGHT * (1 if share else column.total / most)
            values = tuple(column.values.get(word, 0) for word in series)
            drawn.append(_draw_column(series, column.name, values, number * (_WIDTH + _GAP), height))
    return _svg(chart, width, _HEIGHT, "chart-bars", "".join(drawn))


def draw_strip(chart: Chart) -> Markup:
    """The first column of a chart laid down: one bar with its parts side by side."""
    column = chart.columns[0]
    drawn, left = [], 0.0
    for word in chart.series:
        width = 100 * column.values.get(word, 0) / (column.total or 1)
        if width:
            drawn.append(_draw_rectangle(word, left, 0, width, 10))
        left += width
    return _svg(chart, 100, 10, "chart-strip", "".join(drawn))


def draw_timeline(chart: Chart, spans: Sequence[tuple[float, float, str]]) -> Markup:
    """(start, duration, tone) of each request, below one another, in any unit of time."""
    end = max((start + took for start, took, _ in spans), default=0) or 1
    drawn = []
    for number, (start, took, tone) in enumerate(spans):
        width = max(100 * took / end, 0.5)  # what took no time is still seen
        drawn.append(_draw_rectangle(tone, min(100 * start / end, 100 - width), number * 10 + 2, width, 6))
    return _svg(chart, 100, max(len(spans), 1) * 10, "chart-timeline", "".join(drawn))


@lru_cache(2_048)
def _draw_column(series: tuple[str, ...], name: str, values: tuple[int, ...], left: float, height: float) -> str:
    """The parts of one column from the ground up; its numbers are told where a pointer rests. Drawn once: all but the
    last day of a chart are as they were the last time."""
    drawn, told, top, total = [], [], float(_HEIGHT), sum(values)
    for word, value in zip(series, values, strict=True):
        if value:
            part = height * value / total
            top -= part
            drawn.append(_draw_rectangle(word, left, top, _WIDTH, part))
            told.append(f"{humanize.format_number(value)} {word}")
    return f"<g><title>{escape(name)}: {', '.join(told)}</title>{''.join(drawn)}</g>"


def _draw_rectangle(word: str, left: float, top: float, width: float, height: float) -> str:
    """`word` is one of ours: an outcome or a tone."""
    return f'<rect class="in-{word}" x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}"/>'


def _svg(chart: Chart, width: float, height: float, css: str, inner: str) -> Markup:
    """The drawing has no words in it that would be stretched with it: they stand beside it in the page."""
    told = f'<title id="{chart.id}-title">{escape(chart.title)}</title>'
    told += f'<desc id="{chart.id}-desc">{escape(chart.description)}</desc>'
    named = f'role="img" aria-labelledby="{chart.id}-title" aria-describedby="{chart.id}-desc"'
    box = f'viewBox="0 0 {width} {height}" preserveAspectRatio="none"'
    return Markup(f'<svg class="{css}" {box} {named}>{told}{inner}</svg>')  # the texts in it are escaped


# ------------------------------------------------------------------ what the admin's pages draw


def chart_by_day(counts: Iterable[DayCount], today: date) -> Chart:
    """Results of all providers, day by day."""
    days = _last_days(today)
    values: dict[date, dict[str, int]] = {day: {} for day in days}
    for one in counts:
        if one.slug != WHOLE_RUNS and one.day in values:
            values[one.day][one.word] = values[one.day].get(one.word, 0) + one.number
    columns = [Column(f"{day:%-d %b}", values[day]) for day in days]
    chart = Chart("by-day", f"Results of the last {DAYS} days, by outcome", "", OUTCOMES, columns)
    return _with_description(chart)


def chart_health(counts: Iterable[DayCount], slugs: Sequence[str], today: date) -> dict[str, Chart]:
    """Provider → its days: how many results read its list, and how many did not or were kept aside."""
    days = _last_days(today)
    of = dict.fromkeys(READ_OUTCOMES, "read") | dict.fromkeys(TROUBLED_OUTCOMES, "troubled")
    values: dict[str, dict[date, dict[str, int]]] = {slug: {} for slug in slugs}
    for one in counts:
        if one.slug in values and one.word in of:
            day = values[one.slug].setdefault(one.day, {})
            day[of[one.word]] = day.get(of[one.word], 0) + one.number
    return {slug: _chart_provider_health(slug, by_date, days) for slug, by_date in values.items()}


def _chart_provider_health(slug: str, by_date: Mapping[date, Mapping[str, int]], days: Sequence[date]) -> Chart:
    columns = [Column(f"{day:%-d %b}", by_date.get(day, {})) for day in days]
    chart = Chart(f"health-{slug}", f"Health of the last {DAYS} days", "", ("read", "troubled"), columns)
    return _with_description(chart, "Day by day in the table on the overview.")


def chart_period(name: str, title: str, values: Mapping[str, int]) -> Chart:
    """The results of one time, for `strip`."""
    return _with_description(Chart(f"in-{name}", title, "", OUTCOMES, [Column(title, values)]))


def _with_description(chart: Chart, where: str = "The numbers are in the table that follows.") -> Chart:
    sums = [f"{humanize.format_number(chart.sums[word])} {word}" for word in chart.series if chart.sums[word]]
    says = ", ".join(sums) or "Nothing yet"
    return Chart(chart.id, chart.title, f"{says}. {where}", chart.series, chart.columns)


def _last_days(today: date) -> list[date]:
    return [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]

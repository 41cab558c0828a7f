"""Changes and numbers as text: the same on pages, in the CLI and in feeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

from app.catalog.changes import Change, Fact, FieldChange

NARROW_SPACE = "\u202f"  # a narrow space that does not break, between groups of digits

_FIELD_TITLES = {
    "id": "renamed",
    "name": "name",
    "kind": "kind",
    "context_length": "context window",
    "max_output_tokens": "longest answer",
    "modality": "modalities",
    "streaming": "streaming",
    "tools": "tool use",
    "vision": "vision",
    "reasoning": "reasoning",
    "structured_output": "structured output",
    "input_per_million": "input price",
    "output_per_million": "output price",
    "cache_read_per_million": "cache read price",
    "cache_write_per_million": "cache write price",
    "deprecated_at": "deprecation date",
    "retires_at": "end of service",
}
_HEADLINE_ORDER = (
    "output_per_million",
    "input_per_million",
    "retires_at",
    "deprecated_at",
    "context_length",
    "cache_read_per_million",
    "cache_write_per_million",
    "max_output_tokens",
    "kind",
    "modality",
    "tools",
    "vision",
    "reasoning",
    "structured_output",
    "streaming",
    "name",
)
"""Fields by importance: the first that changed makes the headline."""
_DATE_VERBS = {"retires_at": "ends on", "deprecated_at": "is deprecated as of"}


_TOKEN_COUNT = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([km]?)", re.IGNORECASE)
_MULTIPLIERS = {"": 1, "k": 1_000, "m": 1_000_000}


def describe_change(change: Change) -> str:
    """ "context window 128k → 200k; output price $10 → $8 (−20 %)" for a change, a clause for the others."""
    if change.kind == "changed":
        return "; ".join(describe_field_change(field) for field in change.fields)
    return {
        "new": "new for this key",
        "relisted": "listed again",
        "unlisted": "no longer listed for this key",
    }[change.kind]


def describe_field_change(change: FieldChange) -> str:
    title = _FIELD_TITLES.get(change.field, change.field.replace("_", " "))
    if isinstance(change.after, bool) and not isinstance(change.before, bool):
        return f"{title}: {'yes' if change.after else 'no'}"
    before, after = _format_value(change.field, change.before), _format_value(change.field, change.after)
    if before == after:
        # 131000 and 131072 are both 131k: where the short forms are equal, show the exact ones.
        before, after = _format_exact(change.before), _format_exact(change.after)
    return f"{title} {before} → {after}{_format_percent(change)}"


def headline(provider: str, changes: Sequence[Change], uncatalogued: Sequence[Change] = (), more: int = 0) -> str:
    """ "Groq added 2 chat models; gpt-4o's output price fell 20 %": a provider's changes as one sentence.

    provider: its title. uncatalogued: models of a first list that the catalog does not know. more: number of further
    changes.
    """
    by_id: dict[str, dict[str, Change]] = {kind: {} for kind in ("new", "relisted", "unlisted", "changed")}
    for change in changes:
        by_id[change.kind].setdefault(change.model_id, change)  # counted once, as in `changes.count_by_kind`
    kinds = {kind: list(models.values()) for kind, models in by_id.items()}
    uncatalogued = list({change.model_id: change for change in reversed(uncatalogued)}.values())
    verbs = []
    if kinds["new"]:
        verbs.append(f"added {_name_or_count(kinds['new'])}")
    if kinds["relisted"]:
        verbs.append(f"lists {_name_or_count(kinds['relisted'])} again")
    if kinds["unlisted"]:
        verbs.append(f"no longer lists {_name_or_count(kinds['unlisted'])}")
    if uncatalogued:
        verbs.append(f"lists {_name_or_count(uncatalogued)} that the catalog does not know")
    clauses = [f"{provider} {_join(verbs)}"] if verbs else []
    if kinds["changed"]:
        clauses.append(
            _describe_changed(kinds["changed"]) if verbs else f"{provider}: {_describe_changed(kinds['changed'])}"
        )
    if more:
        clauses.append(f"and {pluralize(more, 'more change')}")
    return "; ".join(clauses)


def _name_or_count(changes: Sequence[Change]) -> str:
    return changes[0].model_id if len(changes) == 1 else pluralize(len(changes), "chat model")


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _describe_changed(changes: Sequence[Change]) -> str:
    """ "gpt-4o's output price fell 20 %" for one model; for several what they share, or their number."""
    if len(changes) == 1:
        return _describe_one(changes[0])
    directions = {_direction(change) for change in changes}
    if directions in ({"fell"}, {"rose"}):
        return f"prices of {pluralize(len(changes), 'model')} {directions.pop()}"
    return f"{pluralize(len(changes), 'model')} changed"


def _describe_one(change: Change) -> str:
    """One model's change by its most important field: its id, then prices, then the rest."""
    facts = {field.field: field for field in change.fields}
    if "id" in facts:
        return f"{facts['id'].before} is now called {change.model_id}"
    if (direction := _direction(change)) and len(change.fields) > 1:
        percents = {_percent_change(field) for field in change.fields}
        by = f" {format_number(percents.pop())}{NARROW_SPACE}%" if len(percents) == 1 and 0 not in percents else ""
        return f"{change.model_id}'s prices {direction}{by}"
    first = next((facts[name] for name in _HEADLINE_ORDER if name in facts), None)
    if first is None:
        return f"{change.model_id} changed"
    more = f", and {pluralize(len(facts) - 1, 'more fact')} changed" if len(facts) > 1 else ""
    if first.field in _DATE_VERBS and first.after:
        return f"{change.model_id} {_DATE_VERBS[first.field]} {_format_value(first.field, first.after)}{more}"
    if isinstance(first.before, bool) and isinstance(first.after, bool):
        return f"{change.model_id} {'gained' if first.after else 'lost'} {_FIELD_TITLES[first.field]}{more}"
    return f"{change.model_id}'s {_describe_move(first)}{more}"


def _describe_move(field: FieldChange) -> str:
    title = _FIELD_TITLES[field.field]
    before, after = _to_decimal(field.before), _to_decimal(field.after)
    if before is None or after is None or before == after:
        return describe_field_change(field)
    if not field.field.endswith("_per_million"):
        return f"{title} {'grew' if after > before else 'shrank'} from {_format_range(field)}"
    if not before or not after:
        return f"{title} went from {_format_range(field)}"
    percent = _percent_change(field)
    by = f"{format_number(percent)}{NARROW_SPACE}%" if percent else f"from {_format_range(field)}"
    return f"{title} {'rose' if after > before else 'fell'} {by}"


def _format_range(field: FieldChange) -> str:
    before, after = _format_value(field.field, field.before), _format_value(field.field, field.after)
    return (
        f"{_format_exact(field.before)} to {_format_exact(field.after)}" if before == after else f"{before} to {after}"
    )


def _percent_change(field: FieldChange) -> int:
    """Absolute change of a number in percent; 0 if that is undefined."""
    before, after = _to_decimal(field.before), _to_decimal(field.after)
    return round(abs(after - before) / before * 100) if before and after else 0


def _direction(change: Change) -> str:
    """ "fell" or "rose" if only prices changed, all in one direction; else empty."""
    moves = set()
    for field in change.fields:
        before, after = _to_decimal(field.before), _to_decimal(field.after)
        if not field.field.endswith("_per_million") or before is None or after is None:
            return ""
        moves.add("rose" if after > before else "fell")
    return moves.pop() if len(moves) == 1 else ""


def _to_decimal(value: Fact) -> Decimal | None:
    """The value as a number; None if it is not one."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def format_tokens(count: int | None) -> str:
    """Three significant digits, k = 1,000: 131072 → "131k", 1048576 → "1.05M", 8192 → "8.19k", none → "unknown"."""
    if count is None:
        return "unknown"
    if count >= 999_500:
        return f"{_round_significant(count / 1_000_000)}M"
    return f"{_round_significant(count / 1_000)}k" if count >= 1_000 else str(count)


def _round_significant(number: float) -> str:
    return f"{number:.3g}" if number < 999.5 else f"{number:.0f}"


def format_number(count: int) -> str:
    """12345 → "12 345", with a narrow space."""
    return f"{count:,}".replace(",", NARROW_SPACE)


def format_price(amount: Decimal | str | None) -> str:
    """USD per million tokens: "$2.50", "$0.0375", "free", "unknown"."""
    if amount is None:
        return "unknown"
    amount = Decimal(amount)
    if amount == 0:
        return "free"
    places = max(2, -int(amount.normalize().as_tuple().exponent))
    return f"${amount:.{min(places, 6)}f}"


def format_dollars(amount: Decimal) -> str:
    """An amount of money: "$12.40", "$1 204", "under $0.01", "free"."""
    if amount == 0:
        return "free"
    if amount < Decimal("0.01"):
        return "under $0.01"
    return f"${format_number(int(amount.to_integral_value()))}" if amount >= 1_000 else f"${amount:.2f}"


def format_day(day: str) -> str:
    """An ISO date as "30 Nov 2026"; anything else as it is."""
    try:
        return f"{date.fromisoformat(day):%-d %b %Y}"
    except ValueError:
        return day


def pluralize(count: int, one: str, many: str | None = None) -> str:
    """1 → "1 model", 3 → "3 models"."""
    return f"{format_number(count)} {one if count == 1 else many or one + 's'}"


def _format_value(field: str, value: Fact) -> str:
    if value is None or value == "":
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in ("context_length", "max_output_tokens"):
        return format_tokens(int(value))
    if field.endswith("_per_million"):
        return format_price(str(value))
    if field.endswith("_at"):
        return str(value)[:10]
    return str(value)


def _format_exact(value: Fact) -> str:
    return format_number(value) if isinstance(value, int) else str(value)


def _format_percent(change: FieldChange) -> str:
    if not change.field.endswith("_per_million") or change.before is None or change.after is None:
        return ""
    before, after = Decimal(str(change.before)), Decimal(str(change.after))
    if not before or not after:
        return ""
    percent = round((after - before) / before * 100)
    sign = "+" if percent > 0 else "−"
    return f" ({sign}{abs(percent)}{NARROW_SPACE}%)" if percent else ""


def format_seconds(duration: float | None) -> str:
    """ "1.5 s"; empty for None."""
    return "" if duration is None else f"{duration:.1f} s"


def parse_token_count(text: str) -> int | None:
    """ "128k", "1.5M" or "128000" as a number of tokens; None for anything else."""
    match = _TOKEN_COUNT.fullmatch(text.strip().replace(",", "").replace("_", ""))
    return int(Decimal(match[1]) * _MULTIPLIERS[match[2].lower()]) if match else None

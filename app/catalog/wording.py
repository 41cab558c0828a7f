"""Changes and numbers as sentences: the same words on the page, in the CLI and in the feed."""

from __future__ import annotations

from decimal import Decimal

from app.catalog.changes import Change, Fact, FieldChange

THIN = "\u202f"  # a narrow space that does not break, between groups of digits

_TITLES = {
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


def sentence(change: Change) -> str:
    """ "context window 128k → 200k; output price $10 → $8 (−20 %)" for a change, a clause for the others."""
    if change.kind == "changed":
        return "; ".join(field_sentence(field) for field in change.fields)
    return {
        "new": "new for this key",
        "relisted": "listed again",
        "unlisted": "no longer listed for this key",
    }[change.kind]


def field_sentence(change: FieldChange) -> str:
    title = _TITLES.get(change.field, change.field.replace("_", " "))
    if isinstance(change.after, bool) and not isinstance(change.before, bool):
        return f"{title}: {'yes' if change.after else 'no'}"
    before, after = _value(change.field, change.before), _value(change.field, change.after)
    if before == after:
        # 128000 and 131072 are both called 128k: where the short words agree, the exact ones tell.
        before, after = _exact(change.before), _exact(change.after)
    return f"{title} {before} → {after}{_percent(change)}"


def tokens(count: int | None) -> str:
    """128000 → "128k", 1048576 → "1M", 8192 → "8k", none → "unknown". Short, for reading."""
    if count is None:
        return "unknown"
    if count >= 999_950:
        if count % 1_048_576 == 0:
            return f"{count // 1_048_576}M"
        millions = round(count / 1_000_000, 1)
        return f"{millions:g}M"
    if count >= 1_000:
        # 131072 and 8192 are powers of two that everyone calls 128k and 8k; 128000 is 125 · 1024 by chance.
        return f"{count // 1024}k" if count % 1024 == 0 and count % 1000 else f"{count / 1000:.4g}k"
    return str(count)


def number(count: int) -> str:
    """12345 → "12 345", with a narrow space."""
    return f"{count:,}".replace(",", THIN)


def money(amount: Decimal | str | None) -> str:
    """USD per million tokens for reading: "$2.50", "$0.0375", "free", "unknown"."""
    if amount is None:
        return "unknown"
    amount = Decimal(amount)
    if amount == 0:
        return "free"
    places = max(2, -int(amount.normalize().as_tuple().exponent))
    return f"${amount:.{min(places, 6)}f}"


def dollars(amount: Decimal) -> str:
    """An amount of money for reading: "$12.40", "$1 204", "under $0.01", "free"."""
    if amount == 0:
        return "free"
    if amount < Decimal("0.01"):
        return "under $0.01"
    return f"${number(int(amount.to_integral_value()))}" if amount >= 1_000 else f"${amount:.2f}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """1 → "1 model", 3 → "3 models"."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def _value(field: str, value: Fact) -> str:
    if value is None or value == "":
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in ("context_length", "max_output_tokens"):
        return tokens(int(value))
    if field.endswith("_per_million"):
        return money(str(value))
    if field.endswith("_at"):
        return str(value)[:10]
    return str(value)


def _exact(value: Fact) -> str:
    return number(value) if isinstance(value, int) else str(value)


def _percent(change: FieldChange) -> str:
    if not change.field.endswith("_per_million") or change.before is None or change.after is None:
        return ""
    before, after = Decimal(str(change.before)), Decimal(str(change.after))
    if not before or not after:
        return ""
    percent = round((after - before) / before * 100)
    sign = "+" if percent > 0 else "−"
    return f" ({sign}{abs(percent)}{THIN}%)" if percent else ""

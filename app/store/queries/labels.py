"""The states of keys, results and runs in words, the same on pages and on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from app import clock
from app.catalog import humanize
from app.store.queries.keys import KeyView
from app.store.queries.runs import ResultView, RunView, count_chat_models

OUTCOME_LABELS = {
    "complete": "Updated",
    "unchanged": "Up to date",
    "partial": "Incomplete",
    "suspect": "On hold",
    "failed": "Failed",
    "skipped": "Skipped",
}
_TONES = {
    "complete": "good",
    "unchanged": "good",
    "partial": "warn",
    "suspect": "warn",
    "failed": "bad",
    "skipped": "muted",
}


_FAILURES = {
    "key_rejected": "rejected the key",
    "key_revoked": "says the key is revoked",
    "no_access": "gives this key no access",
    "quota_exhausted": "says the credit is used up",
    "rate_limited": "is limiting requests",
    "unavailable": "is having problems",
    "maintenance": "is down for maintenance",
    "unreachable": "cannot be reached",
    "timed_out": "did not answer in time",
    "unreadable_answer": "sent a list that cannot be read",
}
"""Error code → what the provider did; other codes are shown as words."""
_MAX_NAMED = 3
"""This many failed keys are named in a headline; more are counted."""


@dataclass(frozen=True, slots=True)
class StatusBadge:
    """A state in words, and the tone of its badge."""

    words: str
    tone: str


def key_badge(key: KeyView, now: datetime, zone: tzinfo) -> StatusBadge:
    if not key.is_active:
        return StatusBadge("Disabled", "muted")
    if key.is_new:
        return StatusBadge("Syncing …" if key.is_syncing else "Saved, waiting to sync", "busy")
    if key.put_off_until and key.put_off_until > now:
        return StatusBadge(f"Rate-limited until {clock.format_time(key.put_off_until, zone)}", "warn")
    if key.outcome in ("complete", "unchanged", "partial"):
        note = " (incomplete list)" if key.outcome == "partial" else ""
        count = humanize.pluralize(key.chat_count or 0, "chat model")
        return StatusBadge(f"{count}{note}", _TONES[key.outcome])
    if key.outcome == "suspect":
        return StatusBadge("On hold", "warn")
    if key.outcome == "failed":
        return StatusBadge(humanize_code(key.error_code or "failed"), "bad")
    return StatusBadge("Saved, not synced yet", "muted")


def result_badge(result: ResultView) -> StatusBadge:
    if result.outcome is None:
        return StatusBadge("Fetching …" if result.state == "fetching" else "Waiting", "busy")
    words = OUTCOME_LABELS[result.outcome]
    if result.outcome == "failed" and result.error_code:
        words = f"Failed: {humanize_code(result.error_code)}"
    return StatusBadge(words, _TONES[result.outcome])


def run_badge(run: RunView) -> StatusBadge:
    if run.state == "queued":
        return StatusBadge("Waiting for a worker", "busy")
    if run.state == "running":
        return StatusBadge("Running", "busy")
    if run.state == "lost":
        return StatusBadge("Stopped early", "bad")
    if run.state == "cancelled":
        return StatusBadge("Cancelled", "muted")
    failed = sum(result.outcome == "failed" for result in run.results)
    if failed:
        count = len(run.results)
        return StatusBadge(f"{count - failed} of {count} synced", "warn" if failed < count else "bad")
    return StatusBadge("Done", "good")


def humanize_code(code: str) -> str:
    """An error code as words: "key_revoked" → "key revoked", "ip_not_allowed" → "IP not allowed"."""
    return " ".join(word.upper() if word in ("api", "ip") else word for word in code.split("_"))


def compare_counts(new: int | None, current: int | None) -> str:
    """Of a list on hold: "New list 6, yours 53"; "New list 0" if there is no list yet."""
    text = f"New list {humanize.format_number(new or 0)}"
    return text if current is None else f"{text}, yours {humanize.format_number(current)}"


def summarize_run(run: RunView, provider_title: Callable[[str], str], relative_time: Callable[[datetime], str]) -> str:
    """ "3 new models, 1 changed. Groq: key revoked." or "Found 340 chat models." for a first sync.

    provider_title: slug → display name. relative_time: "2 h ago".
    """
    sentences = [*_describe_first_lists(run), *_describe_changes(run)]
    read = [result for result in run.results if result.is_read]
    if not sentences and read:
        since = relative_time(run.previous_at) if run.previous_at else ""
        sentences.append(f"No changes since {since}" if since.endswith(" ago") else "No changes")
    if run.state == "lost":
        sentences.append("The worker stopped before the end")
    if run.state == "cancelled":
        sentences.append("Cancelled before the end")
    failed = [result for result in run.results if result.outcome == "failed"]
    if len(failed) > _MAX_NAMED:
        sentences.append(f"{humanize.pluralize(len(failed), 'key')} failed")
    else:
        sentences += [_describe_failure(result, provider_title) for result in failed]
    sentences += [
        f"{_result_label(result, provider_title)}: list on hold"
        f" ({_lower_first(compare_counts(result.chat, result.before_chat))})"
        for result in run.results
        if result.outcome == "suspect"
    ]
    if not sentences:
        sentences.append(f"{humanize.pluralize(len(run.results), 'key')} skipped" if run.results else "Nothing to sync")
    return " ".join(f"{sentence}." for sentence in sentences)


def _describe_first_lists(run: RunView) -> list[str]:
    """What the first lists of keys have."""
    first = [result for result in run.results if result.is_first]
    if not first:
        return []
    found = f"Found {humanize.pluralize(count_chat_models(first), 'chat model')}"
    providers = len({result.provider for result in first})
    if providers > 1:
        found += f" from {humanize.pluralize(providers, 'provider')}"
    if _is_first_sync(run) and run.total_new_models:
        found += f", {humanize.format_number(run.total_new_models)} not in the catalog"
    return [found]


def _describe_changes(run: RunView) -> list[str]:
    parts = []
    if run.total_new_models and not _is_first_sync(run):
        parts.append(humanize.pluralize(run.total_new_models, "new model"))
    totals = ((run.total_changed, "changed"), (run.total_unlisted, "removed"), (run.total_relisted, "back"))
    parts += [f"{humanize.format_number(total)} {word}" for total, word in totals if total]
    return [", ".join(parts)] if parts else []


def _is_first_sync(run: RunView) -> bool:
    """Whether every list that was read was the first one of its key."""
    return all(result.is_first for result in run.results if result.is_read)


def _describe_failure(result: ResultView, provider_title: Callable[[str], str]) -> str:
    name, code = _result_label(result, provider_title), result.error_code or "unknown"
    return f"{name} {_FAILURES[code]}" if code in _FAILURES else f"{name} failed: {humanize_code(code)}"


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:]


def _result_label(result: ResultView, provider_title: Callable[[str], str]) -> str:
    title = provider_title(result.provider)
    return f"{title} ({result.label})" if result.label else title

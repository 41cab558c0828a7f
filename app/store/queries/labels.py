"""The states of keys, results and runs in words, the same on pages and on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from app import clock
from app.catalog import humanize
from app.store.queries.keys import KeyView
from app.store.queries.runs import ResultView, RunView

_OUTCOME_LABELS = {
    "complete": "updated",
    "unchanged": "nothing changed",
    "partial": "partly read",
    "suspect": "kept aside",
    "failed": "failed",
    "skipped": "skipped",
}
_TONES = {
    "complete": "good",
    "unchanged": "good",
    "partial": "warn",
    "suspect": "warn",
    "failed": "bad",
    "skipped": "muted",
}


@dataclass(frozen=True, slots=True)
class StatusBadge:
    """A state in words, and the tone of its badge."""

    words: str
    tone: str


def key_badge(key: KeyView, now: datetime, zone: tzinfo) -> StatusBadge:
    if not key.is_active:
        return StatusBadge("disabled", "muted")
    if key.is_checking:
        return StatusBadge("checking …", "busy")
    if key.put_off_until and key.put_off_until > now:
        return StatusBadge(f"asked to wait until {clock.format_time(key.put_off_until, zone)}", "warn")
    if key.outcome in ("complete", "unchanged", "partial"):
        note = " (list only partly read)" if key.outcome == "partial" else ""
        count = humanize.pluralize(key.chat_count or 0, "chat model")
        return StatusBadge(f"valid: {count}{note}", _TONES[key.outcome])
    if key.outcome == "suspect":
        return StatusBadge("answer kept aside", "warn")
    if key.outcome == "failed":
        return StatusBadge(humanize_code(key.error_code or "failed"), "bad")
    return StatusBadge("saved, will be checked at the next sync", "muted")


def result_badge(result: ResultView) -> StatusBadge:
    if result.outcome is None:
        return StatusBadge("fetching …" if result.state == "fetching" else "waiting", "busy")
    words = _OUTCOME_LABELS[result.outcome]
    if result.outcome == "failed" and result.error_code:
        words = f"failed: {humanize_code(result.error_code)}"
    return StatusBadge(words, _TONES[result.outcome])


def run_badge(run: RunView) -> StatusBadge:
    if run.state == "queued":
        return StatusBadge("waiting for a worker", "busy")
    if run.state == "running":
        return StatusBadge("running", "busy")
    if run.state == "lost":
        return StatusBadge("stopped early", "bad")
    if run.state == "cancelled":
        return StatusBadge("cancelled", "muted")
    failed = sum(result.outcome == "failed" for result in run.results)
    if failed:
        return StatusBadge(f"done, {failed} failed", "warn" if failed < len(run.results) else "bad")
    return StatusBadge("done", "good")


def humanize_code(code: str) -> str:
    """An error code as words: "key_revoked" → "key revoked"."""
    return code.replace("_", " ")


def summarize_run(run: RunView, provider_title: Callable[[str], str]) -> str:
    """ "3 new models, 1 changed, Groq failed: key revoked." provider_title: slug → display name."""
    parts = [humanize.pluralize(run.total_new_models, "new model")] if run.total_new_models else []
    parts += [
        f"{humanize.format_number(run.total(word))} {word}"
        for word in ("changed", "unlisted", "relisted")
        if run.total(word)
    ]
    if run.state == "lost":
        parts.append("the worker stopped before the end")
    if run.state == "cancelled":
        parts.append("cancelled before the end")
    for result in run.results:
        if result.outcome == "failed":
            parts.append(
                f"{_result_label(result, provider_title)} failed: {humanize_code(result.error_code or 'unknown')}"
            )
        elif result.outcome == "suspect":
            parts.append(f"{_result_label(result, provider_title)}: answer kept aside")
    text = ", ".join(parts) or "Nothing new"
    return text[0].upper() + text[1:] + "."


def _result_label(result: ResultView, provider_title: Callable[[str], str]) -> str:
    title = provider_title(result.provider)
    return f"{title} ({result.label})" if result.label else title

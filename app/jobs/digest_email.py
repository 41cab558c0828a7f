"""Letters with the news of finished runs, written and handed in by a worker, long after the run. They hold no key."""

from __future__ import annotations

import logging
import unicodedata
from datetime import datetime

from app import config, mail
from app.catalog import humanize, topics
from app.catalog.changes import Change
from app.extensions import db
from app.providers import PROVIDERS
from app.store.accounts import subscriptions
from app.store.accounts.subscriptions import DueDigest
from app.store.queries import digest
from app.store.queries.digest import DigestContent, DigestKeyProblem, ProviderNews
from app.sync.http import errors

log = logging.getLogger(__name__)

KEY_ERROR_CODES = frozenset(problem.code for problem in errors.KeyProblem.__subclasses__())
"""Codes of errors that are the key's fault: asking again changes nothing."""
_MAX_LINES = 40
"""So many models are named for each provider; more are counted."""
_MAX_LINE_LENGTH = 160
_TOPIC_NAMES = {
    topics.NEW: ("new model", None),
    topics.GONE: ("model gone, going or back", "models gone, going or back"),
    topics.TERMS: ("other price or limit", "other prices or limits"),
    topics.KEYS: ("key that fails", "keys that fail"),
}


def send_digest(user_id: int, now: datetime) -> bool:
    """Write the letter that is due to this user, if there is something to tell; commits. False if none was sent.

    A mail server that does not take it is noted in the log, and the letter tried again later.
    """
    letter = subscriptions.claim(user_id, now)
    db.session.commit()
    if letter is None:
        return False
    found = digest.load_digest(user_id, letter.after, letter.until, letter.topics, KEY_ERROR_CODES)
    db.session.rollback()  # nothing is open while the mail server is asked
    if found:
        try:
            _send_email(letter, found)
        except (mail.MailError, config.ConfigError) as error:
            until = subscriptions.mark_failed(letter, now)
            db.session.commit()
            log.warning("a letter with news was not sent and is tried again from %s on: %s", f"{until:%H:%M}", error)
            return False
    subscriptions.mark_sent(letter, now if found else None)
    db.session.commit()
    return bool(found)


def subject(found: DigestContent) -> str:
    """ "Modelsync: 2 new models, 1 key that fails": our words and numbers only."""
    counted = [(found.count(topic), words) for topic, words in _TOPIC_NAMES.items()]
    return "Modelsync: " + ", ".join(humanize.pluralize(count, *words) for count, words in counted if count)


def body(found: DigestContent, address: str, stop_link: str) -> str:
    """The letter. address: this server's, as browsers have it."""
    parts = [_format_provider(news) for news in found.news]
    if found.keys:
        parts.append("\n".join(["Keys that fail", *(_format_key(key) for key in found.keys), f"  {address}/profile"]))
    if found.news:
        parts.append(f"All changes: {address}/changes")
    parts.append(
        "-- \nYou asked for these letters, at most one a day. Choose what is in them:\n"
        f"{address}/settings#notifications\nNo more of them, without signing in:\n{stop_link}"
    )
    return "\n\n".join(parts) + "\n"


def sanitize_line(words: str, longest: int = _MAX_LINE_LENGTH) -> str:
    """What a provider or a person typed, harmless in a letter: one line without control characters, bounded, and
    nothing that a mail program makes a link of."""
    shown = "".join(" " if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") else one for one in words)
    shown = " ".join(shown.split()).replace("://", ": //").replace("www.", "www .")
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _send_email(letter: DueDigest, found: DigestContent) -> None:
    settings = config.current()
    stop_link = f"{settings.public_url}/unsubscribe/{letter.stop_token}"
    words = body(found, settings.public_url, stop_link)
    written = mail.digest_email(settings.mail_from, letter.email, subject(found), words, stop_link)
    mail.send(config.load_mail_server(), written)


def _format_provider(news: ProviderNews) -> str:
    told = [*news.changes, *news.uncatalogued]
    title = humanize.headline(_provider_title(news.provider), news.changes, news.uncatalogued)
    lines = [f"  {sanitize_line(change.model_id)}: {_format_change(change)}" for change in told[:_MAX_LINES]]
    if len(told) > _MAX_LINES:
        lines.append(f"  and {humanize.pluralize(len(told) - _MAX_LINES, 'more change')}")
    return "\n".join([sanitize_line(title, 300), *lines])


def _format_change(change: Change) -> str:
    return sanitize_line(humanize.describe_change(change), 300)


def _format_key(key: DigestKeyProblem) -> str:
    name = (
        f"{_provider_title(key.provider)}, {sanitize_line(key.label, 60)}"
        if key.label
        else _provider_title(key.provider)
    )
    return f"  {name}: {sanitize_line(key.message, 300)} {sanitize_line(key.action, 300)}"


def _provider_title(slug: str) -> str:
    provider = PROVIDERS.get(slug)
    return provider.title if provider else slug

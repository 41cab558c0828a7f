"""Digest e-mails about finished runs, built and sent by a worker, independently of the runs. They contain no keys."""

from __future__ import annotations

import logging
import unicodedata
from datetime import datetime

from app import config, mail
from app.catalog import humanize, topics
from app.extensions import db
from app.providers import provider_title
from app.store.accounts import subscriptions
from app.store.accounts.subscriptions import DueDigest
from app.store.queries import digest
from app.store.queries.digest import DigestContent, DigestKeyProblem, ProviderNews
from app.sync.http import errors

log = logging.getLogger(__name__)

KEY_ERROR_CODES = frozenset(problem.code for problem in errors.KeyProblem.__subclasses__())
"""Error codes where the key itself is at fault, so that a retry cannot help."""
_MAX_LINES = 40
"""Changes listed per provider; further ones are only counted."""
_MAX_LINE_LENGTH = 160
_TOPIC_NAMES = {
    topics.NEW: ("new model", None),
    topics.GONE: ("model gone, going or back", "models gone, going or back"),
    topics.TERMS: ("other price or limit", "other prices or limits"),
    topics.KEYS: ("key that fails", "keys that fail"),
}


def send_digest(user_id: int, now: datetime) -> bool:
    """Send this user's due digest if there is anything to report; commits. Returns whether one was sent.

    If the mail server rejects it, that is logged and the digest tried again later.
    """
    claim = subscriptions.claim(user_id, now)
    db.session.commit()
    if claim is None:
        return False
    notices = digest.load_digest(user_id, claim.after, claim.until, claim.topics, KEY_ERROR_CODES)
    db.session.rollback()  # no transaction stays open during the SMTP dialogue
    if notices:
        try:
            _send_email(claim, notices)
        except (mail.MailError, config.ConfigError) as error:
            until = subscriptions.mark_failed(claim, now)
            db.session.commit()
            log.warning("a letter with news was not sent and is tried again from %s on: %s", f"{until:%H:%M}", error)
            return False
    subscriptions.mark_sent(claim, now if notices else None)
    db.session.commit()
    return bool(notices)


def subject(notices: DigestContent) -> str:
    """ "Modelsync: 2 new models, 1 key that fails". Contains no text of providers or users."""
    counts = [(notices.count(topic), names) for topic, names in _TOPIC_NAMES.items()]
    return "Modelsync: " + ", ".join(humanize.pluralize(count, *names) for count, names in counts if count)


def body(notices: DigestContent, public_url: str, unsubscribe_url: str) -> str:
    """The plain text. public_url: of this server, without a slash at the end."""
    parts = [_format_provider(news) for news in notices.news]
    if notices.keys:
        lines = [_format_key(key) for key in notices.keys]
        parts.append("\n".join(["Keys that fail", *lines, f"  {public_url}/profile"]))
    if notices.news:
        parts.append(f"All changes: {public_url}/changes")
    parts.append(
        "-- \nYou asked for these letters, at most one a day. Choose what is in them:\n"
        f"{public_url}/settings#notifications\nNo more of them, without signing in:\n{unsubscribe_url}"
    )
    return "\n\n".join(parts) + "\n"


def sanitize_line(text: str, max_length: int = _MAX_LINE_LENGTH) -> str:
    """Text of a provider or user as one line: no control characters, bounded, and nothing that a mail program would
    turn into a link."""
    line = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)
    line = " ".join(line.split()).replace("://", ": //").replace("www.", "www .")
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def _send_email(claim: DueDigest, notices: DigestContent) -> None:
    settings = config.current()
    unsubscribe_url = f"{settings.public_url}/unsubscribe/{claim.stop_token}"
    text = body(notices, settings.public_url, unsubscribe_url)
    message = mail.digest_email(settings.mail_from, claim.email, subject(notices), text, unsubscribe_url)
    mail.send(config.load_mail_server(), message)


def _format_provider(news: ProviderNews) -> str:
    changes = [*news.changes, *news.uncatalogued]
    headline = humanize.headline(provider_title(news.provider), news.changes, news.uncatalogued)
    lines = [
        f"  {sanitize_line(change.model_id)}: {sanitize_line(humanize.describe_change(change), 300)}"
        for change in changes[:_MAX_LINES]
    ]
    if len(changes) > _MAX_LINES:
        lines.append(f"  and {humanize.pluralize(len(changes) - _MAX_LINES, 'more change')}")
    return "\n".join([sanitize_line(headline, 300), *lines])


def _format_key(key: DigestKeyProblem) -> str:
    title = provider_title(key.provider)
    name = f"{title}, {sanitize_line(key.label, 60)}" if key.label else title
    return f"  {name}: {sanitize_line(key.message, 300)} {sanitize_line(key.action, 300)}"

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
from app.store.accounts.subscriptions import Due
from app.store.queries import digest
from app.store.queries.digest import FailingKey, Notices, ProviderNews
from app.sync.http import errors

log = logging.getLogger(__name__)

KEY_PROBLEMS = frozenset(problem.code for problem in errors.KeyProblem.__subclasses__())
"""Codes of errors that are the key's fault: asking again changes nothing."""
_LINES = 40
"""So many models are named for each provider; more are counted."""
_LONGEST = 160
_WORDS = {
    topics.NEW: ("new model", None),
    topics.GONE: ("model gone, going or back", "models gone, going or back"),
    topics.TERMS: ("other price or limit", "other prices or limits"),
    topics.KEYS: ("key that fails", "keys that fail"),
}


def write(user_id: int, now: datetime) -> bool:
    """Write the letter that is due to this user, if there is something to tell; commits. False if none was sent.

    A mail server that does not take it is noted in the log, and the letter tried again later.
    """
    letter = subscriptions.take(user_id, now)
    db.session.commit()
    if letter is None:
        return False
    found = digest.between(user_id, letter.after, letter.until, letter.topics, KEY_PROBLEMS)
    db.session.rollback()  # nothing is open while the mail server is asked
    if found:
        try:
            _send(letter, found)
        except (mail.MailError, config.ConfigError) as error:
            until = subscriptions.failed(letter, now)
            db.session.commit()
            log.warning("a letter with news was not sent and is tried again from %s on: %s", f"{until:%H:%M}", error)
            return False
    subscriptions.told(letter, now if found else None)
    db.session.commit()
    return bool(found)


def subject(found: Notices) -> str:
    """ "Modelsync: 2 new models, 1 key that fails": our words and numbers only."""
    counted = [(found.count(topic), words) for topic, words in _WORDS.items()]
    return "Modelsync: " + ", ".join(humanize.plural(count, *words) for count, words in counted if count)


def text(found: Notices, address: str, stop_link: str) -> str:
    """The letter. address: this server's, as browsers have it."""
    parts = [_of_provider(news) for news in found.news]
    if found.keys:
        parts.append("\n".join(["Keys that fail", *(_of_key(key) for key in found.keys), f"  {address}/profile"]))
    if found.news:
        parts.append(f"All changes: {address}/changes")
    parts.append(
        "-- \nYou asked for these letters, at most one a day. Choose what is in them:\n"
        f"{address}/settings#notifications\nNo more of them, without signing in:\n{stop_link}"
    )
    return "\n\n".join(parts) + "\n"


def one_line(words: str, longest: int = _LONGEST) -> str:
    """What a provider or a person typed, harmless in a letter: one line without control characters, bounded, and
    nothing that a mail program makes a link of."""
    shown = "".join(" " if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") else one for one in words)
    shown = " ".join(shown.split()).replace("://", ": //").replace("www.", "www .")
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _send(letter: Due, found: Notices) -> None:
    settings = config.current()
    stop_link = f"{settings.public_url}/unsubscribe/{letter.stop_token}"
    words = text(found, settings.public_url, stop_link)
    written = mail.news_letter(settings.mail_from, letter.email, subject(found), words, stop_link)
    mail.send(config.mail_server(), written)


def _of_provider(news: ProviderNews) -> str:
    told = [*news.changes, *news.uncatalogued]
    title = humanize.headline(_title(news.provider), news.changes, news.uncatalogued)
    lines = [f"  {one_line(change.model_id)}: {_deed(change)}" for change in told[:_LINES]]
    if len(told) > _LINES:
        lines.append(f"  and {humanize.plural(len(told) - _LINES, 'more change')}")
    return "\n".join([one_line(title, 300), *lines])


def _deed(change: Change) -> str:
    return one_line(humanize.sentence(change), 300)


def _of_key(key: FailingKey) -> str:
    name = f"{_title(key.provider)}, {one_line(key.label, 60)}" if key.label else _title(key.provider)
    return f"  {name}: {one_line(key.message, 300)} {one_line(key.action, 300)}"


def _title(slug: str) -> str:
    provider = PROVIDERS.get(slug)
    return provider.title if provider else slug

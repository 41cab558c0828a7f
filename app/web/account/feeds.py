"""Atom feed of changes (RFC 4287) under a secret URL, which is created, renewed and revoked on the changes page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from markupsafe import escape

from app import clock
from app.catalog import humanize
from app.extensions import db, limiter
from app.providers import provider_title
from app.store.accounts import feeds
from app.store.accounts.feeds import FeedRow
from app.store.queries import changes
from app.store.queries.changes import FeedEntry, FeedNews
from app.web.app.arguments import require
from app.web.history.changes import headline, parse_query

blueprint = Blueprint("feeds", __name__)

ATOM = "http://www.w3.org/2005/Atom"
_INVALID_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot represent, not even escaped."""


@blueprint.get("/feeds/<secret>.atom")
def atom(secret: str) -> Response:
    """The newest changes, filtered like the page. The secret identifies the user; no cookie is read or set."""
    feed, user = require(feeds.find_by_secret(secret))
    query = parse_query(request.args)
    news = changes.load_entries(user.id, query.filter(None))
    query_args: dict[str, Any] = {**query.query}
    page = url_for("changes.index", _external=True, **query_args)
    updated = max([one.at for one in news], default=feed.created_at)
    response = Response(_render_feed(feed, news, page, updated), mimetype="application/atom+xml")
    response.last_modified = updated
    response.add_etag()
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request)
    return response


@blueprint.post("/changes/feed")
@login_required
@limiter.limit("60 per hour")
def create() -> Any:
    """Create a new feed URL and revoke the previous one. The secret is shown only in this response."""
    secret = feeds.create_secret(current_user.id, request.host, clock.utc_now())
    db.session.commit()
    url = url_for("feeds.atom", secret=secret, _external=True)
    template = "changes/_address.html" if request.headers.get("HX-Request") else "changes/address.html"
    return render_template(template, address=feeds.find_by_user(current_user.id), text=url)


@blueprint.post("/changes/feed/revoke")
@login_required
def revoke() -> Any:
    if not feeds.revoke(current_user.id):
        abort(404)
    db.session.commit()
    flash("The feed's address is revoked: readers that use it find nothing from now on.", "good")
    return redirect(url_for("changes.index", _anchor="changes-address"), 303)


def strip_invalid_xml(text: str) -> str:
    """Replace characters that XML cannot represent by U+FFFD."""
    return _INVALID_XML.sub("\ufffd", text)


def _render_feed(feed: FeedRow, news: list[FeedNews], page: str, updated: datetime) -> bytes:
    # No rel="self" link: it would contain the secret, and readers pass entries on.
    root = ET.Element("feed", {"xmlns": ATOM})
    _add_element(root, "id", feed.tag)
    _add_element(root, "title", "Modelsync: changes of your keys")
    _add_element(root, "updated", _rfc3339(updated))
    _add_element(ET.SubElement(root, "author"), "name", "Modelsync")
    _add_element(root, "generator", "Modelsync")
    ET.SubElement(root, "link", {"rel": "alternate", "type": "text/html", "href": strip_invalid_xml(page)})
    for one in news:
        root.append(_render_entry(feed, one))
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _render_entry(feed: FeedRow, news: FeedNews) -> ET.Element:
    entry = ET.Element("entry")
    run_id = news.occurrences[0].run_id
    _add_element(entry, "id", f"{feed.tag}/runs/{run_id}/{news.provider}")
    _add_element(entry, "title", headline(news))
    _add_element(entry, "published", _rfc3339(min(occurrence.at for occurrence in news.occurrences)))
    _add_element(entry, "updated", _rfc3339(news.at))
    ET.SubElement(entry, "category", {"term": news.provider, "label": provider_title(news.provider)})
    page = url_for("history.run", run_id=run_id, _external=True)
    ET.SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": page})
    _add_element(entry, "content", _render_content(news), type="html")
    return entry


def _render_content(news: FeedNews) -> str:
    """The changes as an HTML list. Escaped as HTML here and as XML text when serialised."""
    lines = [
        f"<li><code>{escape(strip_invalid_xml(entry.change.model_id))}</code>: "
        f"{escape(strip_invalid_xml(humanize.describe_change(entry.change)))}"
        f"{_key_labels(entry)}</li>"
        for entry in news.entries
    ]
    if news.left_out:
        lines.append(f"<li>and {humanize.pluralize(news.left_out, 'more change')}</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _key_labels(entry: FeedEntry) -> str:
    return f" ({escape(strip_invalid_xml(', '.join(entry.labels)))})" if entry.labels else ""


def _add_element(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = strip_invalid_xml(text)


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"

"""Settings: appearance, time zone, sessions, data export, account deletion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    redirect,
    render_template,
    request,
    session,
    stream_with_context,
    url_for,
)
from flask_login import current_user, login_required, logout_user

from app import clock, config
from app.catalog import humanize, topics
from app.extensions import db, limiter
from app.store.accounts import export as exporting
from app.store.accounts import feeds, identities, sessions, subscriptions, tokens, user_actions, users
from app.store.accounts.user_actions import UserActionError
from app.store.schema.tables import THEMES
from app.web.account import login, notifications, second_factor
from app.web.account.tokens import describe_access
from app.web.app import filters, login_session, page_context, user_agents

blueprint = Blueprint("settings", __name__, url_prefix="/settings")

_WRONG_EMAIL = "Type the address of your account exactly; nothing was deleted."
_WRONG_PASSWORD = "The password is not right; nothing was deleted."  # noqa: S105  (a sentence)
_UNKNOWN_TIME_ZONE = "There is no time zone of that name. Choose one of the list, such as Europe/Berlin."


@blueprint.get("")
@login_required
def index() -> str:
    return _render_page()


@blueprint.post("/theme")
@login_required
def change_theme() -> Any:
    theme = request.form.get("theme", "")
    if theme not in THEMES:
        abort(400)
    current_user.theme = theme
    db.session.commit()
    page_context.remember_theme(theme)
    return _redirect_saved("look")


@blueprint.post("/time-zone")
@login_required
def change_time_zone() -> Any:
    name = request.form.get("time_zone", "").strip()[:64]
    if filters.find_zone(name) is None:
        return _render_page(zone_error=_UNKNOWN_TIME_ZONE, typed_zone=name), 422
    current_user.time_zone = name
    db.session.commit()
    return _redirect_saved("time")


@blueprint.post("/sessions/<int:session_id>/end")
@login_required
def end_session(session_id: int) -> Any:
    """End one of the user's own sessions; ending the current one signs out."""
    current = login_session.current_session()
    if not sessions.end(current_user.id, session_id):
        abort(404)
    db.session.commit()
    if current is not None and current.id == session_id:
        return _sign_out()
    return _render_sessions("That session is ended.")


@blueprint.post("/sessions/end-others")
@login_required
def end_others() -> Any:
    current = login_session.current_session()
    ended = sessions.end_all(current_user.id, excluding=current.id if current else None)
    db.session.commit()
    return _render_sessions("All other sessions are ended." if ended else "There was no other session.")


@blueprint.get("/export.json")
@login_required
@limiter.limit("20 per hour")
def export() -> Response:
    """Stream all of the user's data as JSON."""
    response = Response(stream_with_context(_stream_export(current_user.id)), mimetype="application/json")
    response.headers.set("Content-Disposition", "attachment", filename=f"modelsync-{clock.utc_now():%Y-%m-%d}.json")
    return response


@blueprint.post("/delete")
@login_required
@limiter.limit("10 per hour")
def delete() -> Any:
    """Delete the user's account and all its data, after confirming password and address."""
    if error := _deletion_error():
        field, sentence = error
        return _render_page(delete_error=sentence, wrong_field=field), 422
    user = user_actions.find_by_id(current_user.id)
    if user is None:  # deleted while the password was being checked
        return _sign_out()
    try:
        user_actions.delete_own(user, clock.utc_now())
    except UserActionError as error:
        db.session.rollback()
        return _render_page(delete_error=str(error)), 422
    db.session.commit()
    response = _sign_out()
    flash("Your account is deleted, with all keys and all history.", "good")
    return response


def _deletion_error() -> tuple[str, str] | None:
    """(field, message) of the first wrong field; None if all are right."""
    if users.normalize_email(request.form.get("email", "")[:400]) != current_user.email:
        return "email", _WRONG_EMAIL
    if not login.confirms_identity(request.form.get("password", "")):
        return "password", login.password_error(_WRONG_PASSWORD)
    return None


def _stream_export(user_id: int) -> Iterator[bytes]:
    """A JSON object: timestamp, account, and one array per part, one entry a line."""
    encode = msgspec.json.Encoder(enc_hook=str).encode
    yield b'{"made_at":' + encode(clock.utc_now()) + b',\n"account":' + encode(exporting.export_account(user_id))
    for name, part in exporting.PARTS.items():
        yield b",\n" + encode(name) + b":["
        separator = b"\n"
        for entry in part(user_id):
            yield separator + encode(entry)
            separator = b",\n"
        yield b"]"
    yield b"}\n"


def _render_sessions(sentence: str) -> Any:
    if request.headers.get("HX-Request"):
        return render_template("settings/_sessions.html", **_sessions_context())
    flash(sentence, "good")
    return redirect(url_for(".index", _anchor="settings-sessions"), 303)


def _sign_out() -> Any:
    logout_user()
    session.clear()
    target = url_for("accounts.login")
    if request.headers.get("HX-Request"):
        return Response(status=204, headers={"HX-Redirect": target})
    return redirect(target, 303)


def _redirect_saved(anchor: str) -> Any:
    flash("Saved.", "good")
    return redirect(url_for(".index", _anchor=anchor), 303)


def _sessions_context() -> dict[str, Any]:
    current = login_session.current_session()
    limits = login_session.session_limits()
    rows = sessions.list_for_user(current_user.id, clock.utc_now(), limits)
    return {
        "lines": [(row, user_agents.describe_user_agent(row.agent)) for row in rows],
        "here": current.id if current else None,
        "unused": _format_duration(limits.idle),
        "in_all": _format_duration(limits.absolute),
    }


def _format_duration(span: timedelta) -> str:
    """ "30 days", "12 hours", "30 minutes"."""
    seconds = int(span.total_seconds())
    for length, unit in ((86_400, "day"), (3_600, "hour")):
        if seconds >= length and seconds % length == 0:
            return humanize.pluralize(seconds // length, unit)
    return humanize.pluralize(seconds // 60, "minute")


def _render_page(**context: Any) -> str:
    live, feed = tokens.count_live(current_user.id, clock.utc_now()), feeds.find_by_user(current_user.id)
    return render_template(
        "settings/index.html",
        themes=THEMES,
        zones=filters.time_zones(),
        going_on=describe_access(live, feed is not None),
        factor=second_factor.current_state(),
        topic_titles=notifications.TITLES,
        told_topics=topics.parse(current_user.told_topics),
        mailed_topics=subscriptions.load_topics(current_user.id) if config.current().mail_from else (),
        identity=identities.find_by_user(current_user.id) if config.current().oidc else None,
        **_sessions_context(),
        **context,
    )

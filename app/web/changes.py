"""The feed of changes. Opening it is what clears the badge, for this person only."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask_login import current_user, login_required

from app.extensions import db
from app.store import pages, users
from app.web.history import cursor

blueprint = Blueprint("changes", __name__)


@blueprint.get("/changes")
@login_required
def index() -> str:
    until = pages.last_change_at(current_user.id)
    groups, following = pages.feed(current_user.id, current_user.changes_seen_at, cursor())
    if until:
        users.see_changes(current_user.id, until)
        db.session.commit()
    return render_template("changes.html", groups=groups, following=following)

"""The front page: what this is, and the way in."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def front() -> str | Response:
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    return render_template("front.html")

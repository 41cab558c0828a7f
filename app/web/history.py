"""The user's own history: when, why, and what each key's provider said."""

from __future__ import annotations

from flask import Blueprint, abort, render_template, request
from flask_login import current_user, login_required

from app.store import pages
from app.web.sync import close_lost

blueprint = Blueprint("history", __name__)


@blueprint.get("/history")
@login_required
def index() -> str:
    close_lost()
    lines, following = pages.history(current_user.id, cursor())
    return render_template("history/index.html", runs=lines, following=following)


@blueprint.get("/history/<int:run_id>")
@login_required
def run(run_id: int) -> str:
    close_lost()
    found = pages.run(run_id, None if current_user.is_admin else current_user.id)
    if found is None:
        abort(404)
    return render_template("history/run.html", run=found, groups=pages.changes_of(found.results, most=5_000))


@blueprint.get("/history/<int:run_id>/results/<int:result_id>")
@login_required
def result(run_id: int, result_id: int) -> str:
    """Every model of one answer, the filtered ones with their reason."""
    found = pages.run(run_id, None if current_user.is_admin else current_user.id)
    line = next((line for line in found.results if line.id == result_id), None) if found else None
    if found is None or line is None:
        abort(404)
    return render_template("history/result.html", run=found, result=line, listing=pages.listing_of_result(line))


def cursor() -> int | None:
    """`?before=` of a keyset-paginated page; anything but a number is no cursor."""
    value = request.args.get("before", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None

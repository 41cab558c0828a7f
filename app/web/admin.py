"""For admins: everyone's history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import wraps
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask_login import current_user, login_required

from app.store import pages
from app.store.tables import OUTCOMES, TRIGGERS
from app.web.history import cursor

blueprint = Blueprint("admin", __name__, url_prefix="/admin")


def admin_required(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    @login_required
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not current_user.is_admin:
            abort(403)
        return view(*args, **kwargs)

    return guarded


@blueprint.get("/history")
@admin_required
def history() -> str:
    wanted = pages.HistoryFilter(
        user=request.args.get("user", "")[:320],
        provider=request.args.get("provider", "")[:64],
        outcome=_among("outcome", OUTCOMES),
        trigger=_among("trigger", TRIGGERS),
        since=_day("since"),
        until=_day("until"),
    )
    lines, following = pages.all_history(wanted, cursor())
    return render_template(
        "admin/history.html",
        runs=lines,
        following=following,
        wanted=wanted,
        outcomes=OUTCOMES,
        triggers=TRIGGERS,
        query={name: value for name, value in request.args.items() if value and name != "before"},
    )


def _among(name: str, allowed: tuple[str, ...]) -> str:
    value = request.args.get(name, "")
    return value if value in allowed else ""


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(request.args.get(name, ""))
    except ValueError:
        return None

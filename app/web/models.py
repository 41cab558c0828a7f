"""What my keys can use, from their listings in force; what was filtered out shows with its reason."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask_login import current_user, login_required

from app.store import catalog, pages

blueprint = Blueprint("models", __name__)


@blueprint.get("/models")
@login_required
def index() -> str:
    wanted = request.args.get("provider") or None
    everything = request.args.get("all") == "yes"
    keys = pages.models_of(current_user.id, wanted)
    _, index = catalog.index()
    matches = {(key.provider, model.id): index.match(key.provider, model) for key in keys for model in key.models}
    return render_template("models.html", keys=keys, matches=matches, wanted=wanted, everything=everything)

"""The demo panel: make a simulated provider slow, failing, shrunk, or give it more models.

It steers the simulator, which is another process, over HTTP on loopback.
"""

from __future__ import annotations

import http.client
import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_required

from app import config
from app.demo.simulator import CONTROL, TOKEN_HEADER
from app.providers import PROVIDERS

blueprint = Blueprint("demo", __name__, url_prefix="/demo")

_TIMEOUT_S = 3.0
_MOST_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Action:
    """A button: what it says, and what it has the simulator do."""

    name: str
    label: str
    order: dict[str, Any]


ACTIONS = (
    Action("works", "Works", {"fault": None}),
    Action("slow", "Slow", {"fault": "slow"}),
    Action("failing", "Failing", {"fault": "error_500"}),
    Action("rate-limited", "Rate limited", {"fault": "rate_limited"}),
    Action("revoked", "Key revoked", {"fault": "revoked"}),
    Action("shrunk", "Shrunk list", {"fault": "shrunk"}),
    Action("add", "Add 2 models", {"add": 2}),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One simulated provider as the panel shows it."""

    slug: str
    title: str
    state: str
    """In the words of the button that leads there."""
    models: int


class SimulatorAway(Exception):
    """The simulator cannot be reached, or did not accept the order."""


@blueprint.get("")
@login_required
def index() -> ResponseReturnValue:
    try:
        lines = _lines(_control("GET"))
    except SimulatorAway:
        return render_template("demo/panel.html", lines=[], actions=ACTIONS, is_away=True), 503
    return render_template("demo/panel.html", lines=lines, actions=ACTIONS, is_away=False)


@blueprint.post("/<slug>")
@login_required
def steer(slug: str) -> ResponseReturnValue:
    action = next((action for action in ACTIONS if action.name == request.form.get("action")), None)
    if slug not in PROVIDERS or action is None:
        abort(404)
    try:
        _control("POST", {"provider": slug, **action.order})
    except SimulatorAway:
        flash("The simulated providers do not answer. Start the demo again.", "bad")
    else:
        flash(f"{PROVIDERS[slug].title}: {action.label.lower()}.", "good")
    return redirect(url_for("demo.index"), 303)


def _lines(state: dict[str, Any]) -> list[Line]:
    labels = {action.order.get("fault"): action.label for action in ACTIONS if "fault" in action.order}
    return [
        Line(slug, PROVIDERS[slug].title, labels.get(facts["fault"], facts["fault"]), facts["models"])
        for slug, facts in state["providers"].items()
        if slug in PROVIDERS
    ]


def _control(method: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the simulator, or tell it something; its state. Raises SimulatorAway."""
    where = urlsplit(config.current().demo_url)
    connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=_TIMEOUT_S)
    try:
        headers = {TOKEN_HEADER: os.environ.get("MODELSYNC_DEMO_TOKEN", ""), "Content-Type": "application/json"}
        connection.request(method, CONTROL, json.dumps(order) if order else None, headers)
        response = connection.getresponse()
        body = response.read(_MOST_BYTES)
        if response.status != 200:
            raise SimulatorAway
        state: dict[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError):
        raise SimulatorAway from None
    finally:
        connection.close()
    return state

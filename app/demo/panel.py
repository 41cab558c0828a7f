"""The demo panel: makes simulated providers slow or failing, shrinks their lists, or adds models.

Controls the simulator, a separate process, over HTTP on loopback.
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
from app.demo.server import CONTROL, TOKEN_HEADER
from app.providers import PROVIDERS

blueprint = Blueprint("demo", __name__, url_prefix="/demo")

_TIMEOUT_S = 3.0
_MAX_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class PanelAction:
    """A button, and the order that it sends to the simulator."""

    name: str
    label: str
    order: dict[str, Any]


ACTIONS = (
    PanelAction("works", "Works", {"fault": None}),
    PanelAction("slow", "Slow", {"fault": "slow"}),
    PanelAction("failing", "Failing", {"fault": "error_500"}),
    PanelAction("rate-limited", "Rate limited", {"fault": "rate_limited"}),
    PanelAction("revoked", "Key revoked", {"fault": "revoked"}),
    PanelAction("shrunk", "Shrunk list", {"fault": "shrunk"}),
    PanelAction("add", "Add 2 models", {"add": 2}),
)


@dataclass(frozen=True, slots=True)
class PanelRow:
    """One simulated provider on the panel."""

    slug: str
    title: str
    state: str
    """The label of the button that leads to it."""
    models: int


class SimulatorUnavailable(Exception):
    """The simulator cannot be reached or rejected the order."""


@blueprint.get("")
@login_required
def index() -> ResponseReturnValue:
    try:
        rows = _panel_rows(_send_control("GET"))
    except SimulatorUnavailable:
        return render_template("demo/panel.html", rows=[], actions=ACTIONS, is_unavailable=True), 503
    return render_template("demo/panel.html", rows=rows, actions=ACTIONS, is_unavailable=False)


@blueprint.post("/<slug>")
@login_required
def steer(slug: str) -> ResponseReturnValue:
    action = next((action for action in ACTIONS if action.name == request.form.get("action")), None)
    if slug not in PROVIDERS or action is None:
        abort(404)
    try:
        _send_control("POST", {"provider": slug, **action.order})
    except SimulatorUnavailable:
        flash("The simulated providers do not answer. Start the demo again.", "bad")
    else:
        flash(f"{PROVIDERS[slug].title}: {action.label.lower()}.", "good")
    return redirect(url_for("demo.index"), 303)


def _panel_rows(state: dict[str, Any]) -> list[PanelRow]:
    labels = {action.order.get("fault"): action.label for action in ACTIONS if "fault" in action.order}
    return [
        PanelRow(slug, PROVIDERS[slug].title, labels.get(facts["fault"], facts["fault"]), facts["models"])
        for slug, facts in state["providers"].items()
        if slug in PROVIDERS
    ]


def _send_control(method: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send an order, if any; the simulator's state. Raises SimulatorUnavailable."""
    url = urlsplit(config.current().demo_url)
    connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=_TIMEOUT_S)
    try:
        headers = {TOKEN_HEADER: os.environ.get("MODELSYNC_DEMO_TOKEN", ""), "Content-Type": "application/json"}
        connection.request(method, CONTROL, json.dumps(order) if order else None, headers)
        response = connection.getresponse()
        body = response.read(_MAX_BYTES)
        if response.status != 200:
            raise SimulatorUnavailable
        state: dict[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError):
        raise SimulatorUnavailable from None
    finally:
        connection.close()
    return state

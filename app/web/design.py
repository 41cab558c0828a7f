"""`/design`: all shared components in all states, light and dark. Only in the demo and in debug mode."""

from __future__ import annotations

import functools
import re

from flask import Blueprint, render_template

from app.paths import RESOURCES

blueprint = Blueprint("design", __name__)

_SYMBOL = re.compile(r'<symbol id="([^"]+)"')


@blueprint.get("/design")
def index() -> str:
    return render_template("design/index.html", icons=icon_names())


@functools.cache
def icon_names() -> list[str]:
    """The ids of the icon sprite, in order."""
    return _SYMBOL.findall((RESOURCES / "static" / "icons.svg").read_text("utf-8"))

"""Caches of what templates render repeatedly: URLs, icons, the CSRF field, whole fragments.

A page of fifty models has about two hundred URLs and four hundred icons, and its rows are equal for all users whose
keys list these models. What depends on the user is filled in afterwards, never cached.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from flask import Flask, g, has_request_context, request
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup, escape

from app.providers import PROVIDERS
from app.providers.contract import Provider

_MAX_URLS, _MAX_ICONS, _MAX_FRAGMENTS = 2_048, 512, 1_000
_PERSONAL_NAMES = ("current_user", "g", "get_flashed_messages", "request", "session")
"""Template globals that depend on the user; cached fragments are rendered without them."""
_MAX_VALUE_LENGTH = 100
"""Longest URL argument that is cached; longer ones (cursors, searches) do not recur."""


def init_app(app: Flask) -> None:
    """Register `url_for`, `icon`, `monogram`, `capability_chips`, `csrf_field` and `cached_fragment` in templates."""
    url_for = _cached_url_for(app)
    icons = IconCache(app, url_for)
    app.jinja_env.globals.update(
        url_for=url_for,
        icon=icons.icon,
        monogram=icons.monogram,
        capability_chips=icons.capability_chips,
        csrf_field=_csrf_field,
        cached_fragment=FragmentCache(app).render,
    )


class IconCache:
    """The macros of `_icons.html`, each rendered once per set of arguments."""

    def __init__(self, app: Flask, url_for: Callable[..., str]) -> None:
        self._app, self._url_for = app, url_for
        self._render = lru_cache(_cache_size(app, _MAX_ICONS))(self._render_macro)

    def icon(self, name: str, css: str = "") -> Markup:
        """An icon of static/icons.svg."""
        return self._render("icon", name, css, self._sprite())

    def capability_chips(self, names: Sequence[str]) -> Markup:
        """names: see catalog.listing.CAPABILITIES."""
        return self._render("capabilities", tuple(names), self._sprite())

    def monogram(self, provider: Provider) -> Markup:
        return self._render("monogram", provider.colour, provider.title[0])

    def _sprite(self) -> str:
        return self._url_for("static", filename="icons.svg")

    def _render_macro(self, macro: str, *arguments: Hashable) -> Markup:
        html: Markup = getattr(self._app.jinja_env.get_template("_icons.html").module, macro)(*arguments)
        return html


class FragmentCache:
    """Templates rendered once for all users, from their arguments alone."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._slot_prefix = secrets.token_hex(16)  # unguessable, so user input cannot contain it
        self._render_cached = lru_cache(_cache_size(app, _MAX_FRAGMENTS), typed=True)(self._render)

    def render(self, template: str, slots: Mapping[str, str] | None = None, **values: Any) -> Markup:
        """Render with `values`, which must be hashable and must not depend on the user or the time. The CSRF field and
        `slots` (name → text, escaped unless it is markup) are filled in afterwards."""
        slots = slots or {}
        html = self._render_cached(request.root_path, template, tuple(slots), **values)
        for name, text in slots.items():
            html = html.replace(self._placeholder(name), escape(text))
        return Markup(html.replace(self._placeholder("csrf_field"), _csrf_field()))  # noqa: S704  # from a template

    def _render(self, _root: str, template: str, slots: tuple[str, ...], **values: Any) -> str:
        placeholders = {name: Markup(self._placeholder(name)) for name in (*slots, "csrf_field")}  # noqa: S704
        csrf_field = placeholders.pop("csrf_field")
        hidden: dict[str, None] = dict.fromkeys(_PERSONAL_NAMES)
        return self._app.jinja_env.get_template(template).render(
            **values, **placeholders, **hidden, csrf_field=lambda: csrf_field, providers=PROVIDERS
        )

    def _placeholder(self, name: str) -> str:
        return f"{self._slot_prefix}-{name}-"


def _cached_url_for(app: Flask) -> Callable[..., str]:
    """A caching `url_for`: a URL depends only on its arguments and the script root."""

    @lru_cache(_cache_size(app, _MAX_URLS), typed=True)
    def build(_root: str, _method: str, endpoint: str, **values: Any) -> str:
        return app.url_for(endpoint, **values)

    def url_for(endpoint: str, **values: Any) -> str:
        if not has_request_context() or not _is_cacheable(endpoint, values):
            return app.url_for(endpoint, **values)
        return build(request.root_path, request.method, endpoint, **values)

    return url_for


def _is_cacheable(endpoint: str, values: dict[str, Any]) -> bool:
    """Whether the URL is short, hashable and independent of the current page and host."""
    if endpoint[0] == "." or "_external" in values or "_scheme" in values:
        return False
    return all(
        value is None or type(value) is int or (isinstance(value, str) and len(value) <= _MAX_VALUE_LENGTH)
        for value in values.values()
    )


def _cache_size(app: Flask, count: int) -> int:
    """Zero in debug mode, where templates and static files change at run time."""
    return 0 if app.debug else count


def _csrf_field() -> Markup:
    """The hidden CSRF field; signed once per request."""
    field: Markup | None = g.get("csrf_field")
    if field is None:
        token = generate_csrf()
        field = g.csrf_field = Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)
    return field

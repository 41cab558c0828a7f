"""What templates ask for over and over, made once: addresses, icons, the field with the CSRF token, whole pieces.

A page of fifty models has some two hundred addresses and four hundred icons, and its rows are the same for everybody
whose keys list these models. What depends on who looks is never kept: it is put in afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from flask import Flask, g, has_request_context, request
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup, escape

from app.providers import PROVIDERS
from app.providers.contract import Provider

_MAX_URLS, _MAX_ICONS, _MAX_FRAGMENTS = 2_048, 512, 1_000
_PERSONAL_NAMES = ("current_user", "g", "get_flashed_messages", "request", "session")
"""What a template would know of who looks; a piece that is kept is drawn without."""
_MAX_VALUE_LENGTH = 100
"""Letters of a value in an address that is kept: cursors and searches are nobody else's."""


def init_app(app: Flask) -> None:
    """Give templates `url_for`, `icon`, `monogram`, `capability_chips`, `csrf_field` and `kept_piece`."""
    address = _cached_url_for(app)
    drawings = IconCache(app, address)
    app.jinja_env.globals.update(
        url_for=address,
        icon=drawings.icon,
        monogram=drawings.monogram,
        capability_chips=drawings.capability_chips,
        csrf_field=_csrf_field,
        kept_piece=FragmentCache(app).drawn,
    )


class IconCache:
    """The macros of `_icons.html`, each drawn once."""

    def __init__(self, app: Flask, address: Callable[..., str]) -> None:
        self._app, self._address = app, address
        kept = lru_cache(_cache_size(app, _MAX_ICONS))
        self._icon, self._chips, self._monogram = kept(self._draw_icon), kept(self._draw_chips), kept(self._draw_letter)

    def icon(self, name: str, css: str = "") -> Markup:
        """One of static/icons.svg."""
        return self._icon(self._sprite(), name, css)

    def capability_chips(self, names: Sequence[str]) -> Markup:
        """names: as in catalog.listing.CAPABILITIES."""
        return self._chips(self._sprite(), tuple(names))

    def monogram(self, provider: Provider) -> Markup:
        return self._monogram(provider.slug)

    def _sprite(self) -> str:
        return self._address("static", filename="icons.svg")

    def _draw_icon(self, sprite: str, name: str, css: str) -> Markup:
        drawn: Markup = self._macros().icon(name, css, sprite)
        return drawn

    def _draw_chips(self, sprite: str, names: tuple[str, ...]) -> Markup:
        drawn: Markup = self._macros().capabilities(names, sprite)
        return drawn

    def _draw_letter(self, slug: str) -> Markup:
        drawn: Markup = self._macros().monogram(PROVIDERS[slug])
        return drawn

    def _macros(self) -> Any:
        return self._app.jinja_env.get_template("_icons.html").module


class FragmentCache:
    """Templates drawn once for all who look: from the values they are given, and from nothing else."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._mark = secrets.token_hex(16)  # no text that somebody typed can hold it
        self._kept = lru_cache(_cache_size(app, _MAX_FRAGMENTS), typed=True)(self._draw)

    def drawn(self, template: str, slots: Mapping[str, str] | None = None, **values: Any) -> Markup:
        """A piece from `values`, all of them hashable. It shows no moment and nothing of a person, but for the CSRF
        token and what comes in `slots`: name → text, escaped unless it is markup."""
        slots = slots or {}
        html = self._kept(request.root_path, template, tuple(slots), **values)
        for name, text in slots.items():
            html = html.replace(self._slot(name), escape(text))
        return Markup(html.replace(self._slot("csrf_field"), _csrf_field()))  # drawn by a template

    def _draw(self, _root: str, template: str, slots: tuple[str, ...], **values: Any) -> str:
        empty = {name: Markup(self._slot(name)) for name in (*slots, "csrf_field")}  # hexadecimal
        field = empty.pop("csrf_field")
        nobody: dict[str, None] = dict.fromkeys(_PERSONAL_NAMES)
        return self._app.jinja_env.get_template(template).render(
            **values, **empty, **nobody, csrf_field=lambda: field, providers=PROVIDERS
        )

    def _slot(self, name: str) -> str:
        return f"{self._mark}-{name}-"


def _cached_url_for(app: Flask) -> Callable[..., str]:
    """`url_for` that remembers: what an address on this server is depends on its values and where the app hangs."""

    @lru_cache(_cache_size(app, _MAX_URLS), typed=True)
    def built(_root: str, _method: str, endpoint: str, **values: Any) -> str:
        return app.url_for(endpoint, **values)

    def address(endpoint: str, **values: Any) -> str:
        if not has_request_context() or not _is_cacheable(endpoint, values):
            return app.url_for(endpoint, **values)
        return built(request.root_path, request.method, endpoint, **values)

    return address


def _is_cacheable(endpoint: str, values: dict[str, Any]) -> bool:
    """Whether it is short, hashable, and depends neither on the page that asks nor on the host."""
    if endpoint[0] == "." or "_external" in values or "_scheme" in values:
        return False
    return all(
        value is None or type(value) is int or (isinstance(value, str) and len(value) <= _MAX_VALUE_LENGTH)
        for value in values.values()
    )


def _cache_size(app: Flask, count: int) -> int:
    """So many are kept; none under the debugger, where templates and style sheets change while it runs."""
    return 0 if app.debug else count


def _csrf_field() -> Markup:
    """The hidden field that every form of ours has; signed once for each request."""
    field: Markup | None = g.get("csrf_field")
    if field is None:
        token = generate_csrf()
        field = g.csrf_field = Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)
    return field

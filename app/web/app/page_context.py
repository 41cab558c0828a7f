"""Template variables of `base.html`, and the theme, which a cookie remembers for anonymous visitors."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, after_this_request, request
from flask_login import current_user

from app import clock, config
from app.providers import PROVIDERS
from app.store.schema.tables import THEMES
from app.web.account import notifications

_THEME = "theme"
_YEAR_S = 365 * 86_400


def init_app(app: Flask) -> None:
    app.context_processor(template_context)


def remember_theme(theme: str) -> None:
    """Remember the theme in a cookie, for signed-out pages."""

    def remember(response: Response) -> Response:
        response.set_cookie(
            _theme_cookie(),
            theme,
            max_age=_YEAR_S,
            httponly=True,
            samesite="Lax",
            secure=config.current().secure_cookies,
        )
        return response

    after_this_request(remember)


def _theme_cookie() -> str:
    """The `__Host-` prefix keeps other hosts of the domain from setting it (RFC 6265bis, 4.1.3.2); it requires TLS."""
    return f"__Host-{_THEME}" if config.current().secure_cookies else _THEME


def current_theme() -> str:
    if current_user.is_authenticated:
        return str(current_user.theme)
    stored = request.cookies.get(_theme_cookie())
    return stored if stored in THEMES else "system"


def template_context() -> dict[str, Any]:
    """Variables of `base.html`. Computed lazily where they need a query, because partials do not use them."""
    settings = config.current()

    def nav() -> notifications.NavBadge | None:
        return notifications.nav_badge(current_user) if current_user.is_authenticated else None

    return {
        "nav": nav,
        "theme": current_theme,
        "demo": bool(settings.demo_url),
        "signup": settings.signup,
        "signs_in_at": settings.oidc.title if settings.oidc else "",
        "sends_letters": bool(settings.mail_from),
        "providers": PROVIDERS,
        "now": clock.utc_now(),
        "today": f"{clock.utc_now():%Y-%m-%d}",
    }

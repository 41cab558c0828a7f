"""Modelsync: the whole wiring on one screen."""

from __future__ import annotations

import logging

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import config
from app.api import models_sync
from app.cli import commands
from app.extensions import csrf, db, htmx, limiter, login_manager, migrate
from app.store import connection
from app.web import accounts, admin, catalog, changes, doors, health, history, keys, models, pages, sync


def create_app(settings: config.Settings | None = None) -> Flask:
    """The app for `settings`, read from the environment if none are given. Raises config.ConfigError."""
    settings = settings or config.load()
    app = Flask(
        "app",
        root_path=str(config.ROOT / "app"),
        template_folder=str(config.ROOT / "templates"),
        static_folder=str(config.ROOT / "static"),
    )
    app.config.from_mapping(config.flask_config(settings))
    app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
        app.wsgi_app,
        x_for=settings.trusted_proxies,
        x_proto=settings.trusted_proxies,
        x_host=settings.trusted_proxies,
    )
    logging.getLogger("app").setLevel(settings.log_level)

    db.init_app(app)
    with app.app_context():
        connection.tune(db.engine)
    migrate.init_app(app, db)
    htmx.init_app(app)
    csrf.init_app(app)
    limiter.init_app(app)
    login_manager.init_app(app)
    doors.init_app(app, login_manager)

    for module in (accounts, admin, catalog, changes, health, history, keys, models, pages, sync, models_sync):
        app.register_blueprint(module.blueprint)
    if settings.demo_url:
        from app.demo import panel  # not part of a real installation

        app.register_blueprint(panel.blueprint)
    commands.init_app(app)
    return app

"""Modelsync: the whole wiring on one screen."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import config, logs
from app.api import admin_sync as model_sync
from app.api import elsewhere, metrics, models_sync, openapi, problems, stats, v1
from app.cli import commands
from app.extensions import csrf, db, htmx, limiter, login_manager, migrate
from app.store.engine import engine
from app.web import (
    accounts,
    admin,
    admin_providers,
    admin_sync,
    admin_users,
    admin_workers,
    catalog,
    changes,
    compressing,
    coverage,
    design,
    doors,
    drawing,
    feeds,
    health,
    history,
    hosts,
    keys,
    models,
    notifications,
    oidc,
    pages,
    password_reset,
    pasted_keys,
    reports,
    second_factor,
    static_files,
    sync,
    tokens,
    tracing,
)
from app.web import settings as account_settings


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
    logs.set_up(settings.log_format, settings.log_level, config.secrets_of(settings))

    tracing.init_app(app)
    hosts.init_app(app)
    db.init_app(app)
    with app.app_context():
        engine.tune(db.engine)
    migrate.init_app(app, db)
    htmx.init_app(app)
    csrf.init_app(app)
    limiter.init_app(app)
    login_manager.init_app(app)
    doors.init_app(app, login_manager)
    second_factor.init_app(app)
    problems.init_app(app)
    static_files.init_app(app)
    drawing.init_app(app)
    compressing.init_app(app)

    for module in (accounts, admin, catalog, changes, health, history, keys, models, pages, sync, models_sync):
        app.register_blueprint(module.blueprint)
    if settings.demo_url:
        from app.demo import panel  # not part of a real installation

        app.register_blueprint(panel.blueprint)
    if settings.demo_url or app.debug:
        app.register_blueprint(design.blueprint)
    for module in (admin_providers, admin_sync, admin_users, admin_workers, model_sync):
        app.register_blueprint(module.blueprint)
    for module in (notifications, oidc, password_reset, pasted_keys, second_factor):
        app.register_blueprint(module.blueprint)
    for module in (account_settings, feeds, tokens, v1, elsewhere, openapi, stats, metrics, coverage, reports):
        app.register_blueprint(module.blueprint)
    commands.init_app(app)
    return app

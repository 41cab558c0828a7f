"""Modelsync: the whole wiring on one screen."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import config, logs, paths
from app.api import admin_sync as model_sync
from app.api import compat, metrics, models_sync, openapi, problems, stats, v1
from app.cli import commands
from app.extensions import csrf, db, htmx, limiter, login_manager, migrate
from app.store.engine import engine
from app.web import design, health, home, key_import, keys
from app.web import help as manual
from app.web import sync as sync_pages
from app.web.account import accounts, feeds, notifications, oidc, password_reset, second_factor, tokens
from app.web.account import settings as account_settings
from app.web.admin import catalog as admin_catalog
from app.web.admin import overview, users, workers
from app.web.admin import providers as admin_providers
from app.web.admin import sync as admin_sync
from app.web.app import (
    allowed_hosts,
    compression,
    csp_reports,
    errors,
    filters,
    fragment_cache,
    login_session,
    page_context,
    request_id,
    security_headers,
    static_files,
)
from app.web.history import changes, runs
from app.web.models import search


def create_app(settings: config.Settings | None = None) -> Flask:
    """The app for `settings`, read from the environment if none are given. Raises config.ConfigError."""
    settings = settings or config.load()
    app = Flask(
        "app",
        root_path=str(paths.APP),
        template_folder=str(paths.RESOURCES / "templates"),
        static_folder=str(paths.RESOURCES / "static"),
    )
    app.config.from_mapping(config.flask_config(settings))
    app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
        app.wsgi_app, x_for=settings.trusted_proxies, x_proto=settings.trusted_proxies, x_host=settings.trusted_proxies
    )
    logs.configure(settings.log_format, settings.log_level, config.collect_secrets(settings))

    request_id.init_app(app)
    allowed_hosts.init_app(app)
    db.init_app(app)
    with app.app_context():
        engine.configure_engine(db.engine)
    migrate.init_app(app, db)
    htmx.init_app(app)
    csrf.init_app(app)
    limiter.init_app(app)
    login_manager.init_app(app)
    errors.init_app(app, problems.FORMATTERS)
    login_session.init_app(app, login_manager)
    page_context.init_app(app)
    security_headers.init_app(app)
    filters.init_app(app)
    second_factor.init_app(app)
    problems.init_app(app)
    static_files.init_app(app)
    fragment_cache.init_app(app)
    compression.init_app(app)

    for module in (
        accounts,
        overview,
        admin_catalog,
        changes,
        health,
        runs,
        keys,
        search,
        home,
        sync_pages,
        models_sync,
    ):
        app.register_blueprint(module.blueprint)
    if settings.demo_url:
        from app.demo import panel  # not part of a real installation

        app.register_blueprint(panel.blueprint)
    if settings.demo_url or app.debug:
        app.register_blueprint(design.blueprint)
    for module in (admin_providers, admin_sync, users, workers, model_sync):
        app.register_blueprint(module.blueprint)
    for module in (notifications, oidc, password_reset, key_import, second_factor):
        app.register_blueprint(module.blueprint)
    for module in (account_settings, feeds, manual, tokens, v1, compat, openapi, stats, metrics, csp_reports):
        app.register_blueprint(module.blueprint)
    commands.init_app(app)
    return app

"""Every page there is, in the states worth looking at. The browser tests and the check of the HTML visit them all.

`left_out` walks the app's routes, so a new page cannot be forgotten: it has its line here, or a reason why not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask

from app.auth.settings import OpenIdProvider
from app.demo import seed

STRANGER, NEWCOMER, HALFWAY, ALICE, BOB, CAROL = "stranger", "newcomer", "halfway", "alice", "bob", "carol"
ACCOUNTS = {ALICE: seed.ALICE, BOB: seed.BOB, CAROL: seed.CAROL}
"""Whom the demo's seed makes: Alice has everything, Bob a key that fails, Carol is the admin. A newcomer has an
account and nothing else; who is halfway in has typed the password and is asked for a code, for five minutes."""


@dataclass(frozen=True)
class Visit:
    """A page in one state."""

    name: str
    """Also the name of its screenshots."""
    endpoint: str
    path: str
    """With {run}, {key} and others of IDS."""
    who: str = ALICE
    status: int = 200
    is_piece: bool = False
    """A part of a page, that only the page itself asks for."""

    def __str__(self) -> str:
        return self.name


IDS = {
    "run": (ALICE, "/history", r'href="/history/(\d+)"'),
    "day": (ALICE, "/history", r"/history\?day=([\d-]+)"),
    "key": (ALICE, "/profile", r'href="/history/keys/(\d+)"'),
    "result": (ALICE, "/history/{run}", r'/results/(\d+)"'),
    "canonical": (ALICE, "/models", r'href="/models/([\w.-]+/[\w.:-]+)"'),
    "model": (ALICE, "/models", r'name="m" value="([^"]+)"'),
    "other": (ALICE, "/models?sort=-price", r'name="m" value="([^"]+)"'),
    "user": (CAROL, "/admin/users", r'href="/admin/users/(\d+)"'),
    "failing": (BOB, "/profile", r'id="key-(\d+)"'),
    "plan": (CAROL, "/admin/plans", r'href="/admin/plans/(\d+)"'),
    "slug": (CAROL, "/admin/catalog/unknown", r'name="provider" value="(\w+)"'),
    "unknown": (CAROL, "/admin/catalog/unknown", r'name="model_id" value="([^"]+)"'),
}
"""Where the parts of addresses are found: on whose page, by which pattern."""


def ids(read: Callable[[str, str], str]) -> dict[str, str]:
    """The parts of addresses, read off the pages as a person would. `read` takes who and a path, and gives HTML."""
    ids_by_name: dict[str, str] = {}
    for name, (who, path, pattern) in IDS.items():
        first = re.search(pattern, read(who, path.format(**ids_by_name)))
        assert first, f"{who}'s {path} leads to no {name}"
        ids_by_name[name] = first[1]
    return ids_by_name


VISITS = (
    Visit("front", "pages.front", "/", STRANGER),
    Visit("sign-up", "accounts.signup", "/signup", STRANGER),
    Visit("sign-in", "accounts.login", "/login", STRANGER),
    Visit("sign-in-first", "accounts.login", "/login?next=/models", STRANGER),
    Visit("password-forgotten", "password_reset.ask", "/reset", STRANGER),
    Visit("password-link-over", "password_reset.choose", "/reset/of-yesterday", STRANGER, 422),
    Visit("letters-link-over", "notifications.ask", "/unsubscribe/of-nobody", STRANGER, 404),
    Visit("signed-in-elsewhere-too-late", "oidc.callback", "/oidc/callback", STRANGER, 422),
    Visit("code", "second_factor.ask", "/login/code", HALFWAY),
    Visit("api-docs", "openapi.page", "/api/docs", STRANGER),
    Visit("api-docs-signed-in", "openapi.page", "/api/docs"),
    Visit("help", "help.index", "/help", STRANGER),
    Visit("help-search", "help.index", "/help?q=backup"),
    Visit("help-syncing", "help.page", "/help/syncing"),
    Visit("help-providers", "help.page", "/help/providers", STRANGER),
    Visit("help-cli", "help.page", "/help/cli", STRANGER),
    Visit("help-configuration", "help.page", "/help/configuration", STRANGER),
    Visit("help-deploy", "help.page", "/help/deploy", STRANGER),
    # Somebody who has just come: every page is empty.
    Visit("new-profile", "keys.profile", "/profile", NEWCOMER),
    Visit("new-models", "models.index", "/models", NEWCOMER),
    Visit("new-models-compare", "models.compare", "/models/compare", NEWCOMER),
    Visit("new-changes", "changes.index", "/changes", NEWCOMER),
    Visit("new-history", "history.index", "/history", NEWCOMER),
    Visit("new-history-compare", "history.compare_lists", "/history/compare", NEWCOMER),
    Visit("new-settings", "settings.index", "/settings", NEWCOMER),
    Visit("new-second-factor", "second_factor.set_up", "/settings/second-factor", NEWCOMER),
    Visit("new-tokens", "tokens.index", "/settings/tokens", NEWCOMER),
    # Somebody with keys and five weeks of syncs.
    Visit("profile", "keys.profile", "/profile"),
    Visit("profile-of-failing-keys", "keys.profile", "/profile", BOB),
    Visit("models", "models.index", "/models"),
    Visit("models-all", "models.index", "/models?all=yes&show=gone&sort=-price"),
    Visit("models-none-found", "models.index", "/models?q=no-model-has-this-name"),
    Visit("models-misunderstood", "models.index", "/models?min_context=many&max_input=cheap"),
    Visit("models-ticked", "models.index", "/models?m={model}&m={other}&q=gpt"),
    Visit("model", "models.one", "/models/{canonical}"),
    Visit("model-costs", "models.one", "/models/{canonical}?input=20M&output=2M"),
    Visit("model-misunderstood", "models.one", "/models/{canonical}?input=lots"),
    Visit("compare", "models.compare", "/models/compare?m={model}&m={other}"),
    Visit("compare-missing", "models.compare", "/models/compare?m={model}&m=openai/not-listed&input=lots"),
    Visit("use", "models.use", "/models/use?m={model}"),
    Visit("changes", "changes.index", "/changes"),
    Visit("changes-filtered", "changes.index", "/changes?kind=changed"),
    Visit("changes-none", "changes.index", "/changes?q=no-model-has-this-name"),
    Visit("history", "history.index", "/history"),
    Visit("history-day", "history.index", "/history?day={day}"),
    Visit("history-empty-day", "history.index", "/history?day=2001-01-01"),
    Visit("run", "history.run", "/history/{run}"),
    Visit("result", "history.result", "/history/{run}/results/{result}"),
    Visit("key-over-time", "history.key", "/history/keys/{key}"),
    Visit("history-compare", "history.compare_lists", "/history/compare"),
    Visit("history-compare-key", "history.compare_lists", "/history/compare?key={key}"),
    Visit("settings", "settings.index", "/settings"),
    Visit("tokens", "tokens.index", "/settings/tokens"),
    Visit("demo", "demo.index", "/demo"),
    Visit("design", "design.index", "/design"),
    Visit("news", "pages.news", "/news", is_piece=True),
    Visit("sync-status", "sync.status", "/sync/status", is_piece=True),
    # The admin's.
    Visit("admin", "admin.overview", "/admin", CAROL),
    Visit("admin-history", "admin.history", "/admin/history", CAROL),
    Visit("admin-history-none", "admin.history", "/admin/history?user=nobody", CAROL),
    Visit("admin-providers", "admin_providers.index", "/admin/providers", CAROL),
    Visit("admin-provider-sync", "admin_sync.progress", "/admin/providers/openai/sync", CAROL, is_piece=True),
    Visit("admin-provider-test", "admin_providers.test_result", "/admin/providers/openai/test", CAROL, is_piece=True),
    Visit("admin-plans", "admin_sync.index", "/admin/plans", CAROL),
    Visit("admin-plan", "admin_sync.plan", "/admin/plans/{plan}", CAROL),
    Visit("admin-users", "admin_users.index", "/admin/users", CAROL),
    Visit("admin-users-none", "admin_users.index", "/admin/users?q=nobody", CAROL),
    Visit("admin-user", "admin_users.one", "/admin/users/{user}", CAROL),
    Visit("admin-last-admin", "admin_users.one", "/admin/users/1", CAROL),
    Visit("admin-workers", "admin_workers.index", "/admin/workers", CAROL),
    Visit("catalog", "catalog.overview", "/admin/catalog", CAROL),
    Visit("catalog-unknown", "catalog.unknown", "/admin/catalog/unknown", CAROL),
    Visit("catalog-new", "catalog.new", "/admin/catalog/new?provider={slug}&model_id={unknown}", CAROL),
    Visit("catalog-conflicts", "catalog.conflicts", "/admin/catalog/conflicts", CAROL),
    Visit("catalog-log", "catalog.log", "/admin/catalog/audit", CAROL),
    Visit("catalog-ids", "catalog.ids", "/admin/catalog/ids?canonical_id=gpt", CAROL, is_piece=True),
    # What is not there, and what is not theirs.
    Visit("not-found", "", "/nothing/is/here", STRANGER, 404),
    Visit("not-found-signed-in", "", "/history/999999", ALICE, 404),
    Visit("not-yours", "", "/admin", ALICE, 403),
)
PAGES = tuple(visit for visit in VISITS if not visit.is_piece)
ENTRANCES: Mapping[str, Any] = {
    "public_url": "http://localhost:8000",
    "mail_from": "modelsync@example.com",
    "oidc": OpenIdProvider("http://localhost:8001", "modelsync", "of-a-provider-that-nobody-asks", "Example ID"),
}
"""Settings that open every way in. A demo has none of them: no letter leaves it, and nobody signs in elsewhere."""
NOT_IN_A_DEMO = ("password_reset.ask", "password_reset.choose", "oidc.callback")

NO_PAGES: Mapping[str, str] = {
    "static": "files",
    "health.health": "JSON for operators",
    "health.ready": "JSON for operators",
    "metrics.metrics": "text for Prometheus",
    "stats.models": "JSON for operators",
    "stats.providers": "JSON for operators",
    "feeds.atom": "a feed",
    "admin.export": "files to download",
    "settings.export": "a file to download",
    "sync.stream": "an event stream",
    "oidc.start": "leads on to the OpenID provider",
    "admin_providers.redirect_old_path": "leads on to the admin's page of providers",
    "openapi.document": "JSON for programs",
    "elsewhere.models_dev": "JSON for programs",
    "elsewhere.openai_models": "JSON for programs",
    "elsewhere.openai_model": "JSON for programs",
    "models_sync.last_sync": "JSON for programs",
    "models_sync.cron": "JSON for programs",
}
"""Routes that answer GET with no page, and what they answer with instead."""
_FOR_PROGRAMS = ("api_v1.", "model_sync.")
"""Blueprints of which every route answers with JSON."""


def left_out(app: Flask) -> set[str]:
    """Endpoints that answer GET, are visited in no state, and are not named in NO_PAGES."""
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    known = {visit.endpoint for visit in VISITS} | NO_PAGES.keys()
    return {endpoint for endpoint in endpoints - known if not endpoint.startswith(_FOR_PROGRAMS)}

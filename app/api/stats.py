"""`/models/stats` and `/providers/stats`: how many there are and how they do, for whoever runs the installation."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.api.admin_auth import admin_limit_key, admit_admin
from app.api.admin_schemas import ModelStatistics, ProviderStatistics
from app.api.operations import READS, for_admins
from app.extensions import limiter
from app.store.queries import stats
from app.web.app import filters

blueprint = Blueprint("stats", __name__)
_limited = limiter.shared_limit(READS, scope="api read", key_func=admin_limit_key)


@blueprint.get("/models/stats")
@for_admins({200: ModelStatistics})
@_limited
def models() -> dict[str, Any]:
    """How many models there are.

    Of all that any key lists or listed: the fields of `/admin/model-sync/status`, and two more.
    """
    admit_admin("read")
    found = stats.model_stats()
    return {
        "total": found.total,
        "active": found.active,
        "by_modality": dict(found.by_modality),
        "by_provider": dict(found.by_provider),
        "by_kind": dict(found.by_kind),
    }


@blueprint.get("/providers/stats")
@for_admins({200: ProviderStatistics})
@_limited
def providers() -> dict[str, Any]:
    """How each provider does, and how many models it has."""
    admit_admin("read")
    found = stats.provider_stats(filters.now())
    return {
        "total": found.total,
        "active": found.active,
        "healthy": found.healthy,
        "providers": {
            one.slug: {
                "name": one.name,
                "active": one.is_active,
                "healthy": one.is_healthy,
                "total_models": one.total_models,
                "active_models": one.active_models,
                "last_synced": filters.isoformat(one.last_synced_at) if one.last_synced_at else None,
            }
            for one in found.providers
        },
    }

"""`/models/stats` and `/providers/stats`: counts and health, for operators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint

from app import clock
from app.api.admin_auth import admin_rate_limit_key, authenticate_admin
from app.api.admin_schemas import ModelStatistics, ProviderStatistics
from app.api.operations import READS, describe_admin
from app.extensions import limiter
from app.store.queries import stats

blueprint = Blueprint("stats", __name__)
_rate_limit = limiter.shared_limit(READS, scope="api read", key_func=admin_rate_limit_key)


@blueprint.get("/models/stats")
@describe_admin({200: ModelStatistics})
@_rate_limit
def models() -> dict[str, Any]:
    """How many models there are.

    Of all that any key lists or listed: the fields of `/admin/model-sync/status`, and two more.
    """
    authenticate_admin("read")
    return asdict(stats.model_stats())


@blueprint.get("/providers/stats")
@describe_admin({200: ProviderStatistics})
@_rate_limit
def providers() -> dict[str, Any]:
    """How each provider does, and how many models it has."""
    authenticate_admin("read")
    counts = stats.provider_stats(clock.utc_now())
    return {
        "total": counts.total,
        "active": counts.active,
        "healthy": counts.healthy,
        "providers": {
            provider.slug: {
                "name": provider.name,
                "active": provider.is_active,
                "healthy": provider.is_healthy,
                "total_models": provider.total_models,
                "active_models": provider.active_models,
                "last_synced": clock.isoformat(provider.last_synced_at) if provider.last_synced_at else None,
            }
            for provider in counts.providers
        },
    }

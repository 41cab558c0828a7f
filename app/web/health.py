"""`/health`: whether this process answers. It asks neither database nor Redis."""

from __future__ import annotations

from flask import Blueprint

from app.extensions import limiter

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@limiter.exempt
def health() -> dict[str, str]:
    return {"status": "ok"}

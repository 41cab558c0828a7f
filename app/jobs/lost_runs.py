"""Closes runs whose worker died, when they are viewed."""

from __future__ import annotations

from app import clock
from app.extensions import db
from app.jobs.pubsub import publish_run_changed
from app.store import runs


def close_lost_runs() -> bool:
    """Close the runs whose lease has expired and notify watching pages; commits. Returns whether there were any."""
    lost = runs.close_lost(clock.utc_now())
    if lost:
        db.session.commit()
        publish_run_changed(*lost)
    return bool(lost)

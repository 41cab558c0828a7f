"""Automatic adoption: turn proposals into canonical models, where an admin has enabled it."""

from __future__ import annotations

from datetime import datetime

from app.catalog import proposals
from app.catalog.proposals import Proposal
from app.store import catalog, decisions
from app.store.audit import AUTOMATIC
from app.store.decisions import AUTO_ADOPT
from app.store.queries import review


def adopt_proposals(now: datetime) -> int:
    """Adopt the current proposals as "automatic" decisions; returns how many. The caller commits.

    Call it after a complete sync and after a rebuild; if it returns more than zero, rebuild the catalog. A proposal
    that a person once took back is not adopted again.
    """
    if not decisions.load_setting(AUTO_ADOPT) or not _adoptable():
        return 0
    catalog.lock()
    adoptable = _adoptable()  # again under the lock: another worker may have adopted them
    for proposal in adoptable:
        decisions.save_canonical(proposal.model, AUTOMATIC, now, proposals.describe_evidence(proposal))
    return len(adoptable)


def _adoptable() -> list[Proposal]:
    pending, _ = review.list_proposals(decisions.load("canonical", "setting"))
    withdrawn = decisions.withdrawn_subjects("canonical") if pending else frozenset()
    return [proposal for proposal in pending if proposal.model.id not in withdrawn]

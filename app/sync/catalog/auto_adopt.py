"""Make canonical models of what providers give evidence for, by itself where an admin allowed it."""

from __future__ import annotations

from datetime import datetime

from app.catalog import proposals
from app.catalog.proposals import Proposal
from app.store import catalog, decisions
from app.store.audit import AUTOMATIC
from app.store.decisions import AUTO_ADOPT
from app.store.queries import review


def adopt_proposals(now: datetime) -> int:
    """Adopt what is proposed at present, noted as "automatic". Returns how many models that made.

    To be called after a complete sync and after a rebuild; where it made one, the catalog is to be built again. What a
    person took back once is only proposed from then on. The caller commits.
    """
    if not decisions.load_setting(AUTO_ADOPT) or not _adoptable():
        return 0
    catalog.lock()
    wanted = _adoptable()  # of two workers that see it at once, the second finds it adopted
    for one in wanted:
        decisions.save_canonical(one.model, AUTOMATIC, now, proposals.describe_evidence(one))
    return len(wanted)


def _adoptable() -> list[Proposal]:
    proposed, _ = review.list_proposals(decisions.load("canonical", "setting"))
    refused = decisions.withdrawn_subjects("canonical") if proposed else frozenset()
    return [one for one in proposed if one.model.id not in refused]

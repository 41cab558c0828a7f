"""One short transaction, with patience: a database may be away for a moment, locked, or a deadlock's winner chosen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError

from app.extensions import db
from app.store.engine.db_errors import PERMANENT, classify
from app.store.engine.engine import set_lock_timeout

T = TypeVar("T")

RETRY_FOR_S = 10.0
"""For so long a transaction is tried again: less than a lease, together with the last wait for a lock."""
_FIRST_WAIT_S, _MAX_WAIT_S = 0.1, 4.0


def run_in_transaction(act: Callable[[], T], patience_s: float = RETRY_FOR_S) -> T:
    """One short transaction; tried again while the database is away for a moment, locked, or lost it to a deadlock."""
    until, wait_s = time.monotonic() + patience_s, _FIRST_WAIT_S
    while True:
        try:
            set_lock_timeout()
            result = act()
            db.session.commit()
            return result
        except DBAPIError as error:
            db.session.rollback()
            # An IntegrityError is of a list that is found again while it is pruned for its age: it passes.
            may_pass = isinstance(error, IntegrityError) or classify(error) not in {None, *PERMANENT}
            if not may_pass or time.monotonic() + wait_s > until:
                raise
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, _MAX_WAIT_S)

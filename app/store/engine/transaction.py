"""Short transactions, retried when the database is briefly unreachable, locked, or chose them as a deadlock victim."""

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
"""Total retry time, seconds; together with the last wait for a lock it is less than a lease."""
_FIRST_WAIT_S, _MAX_WAIT_S = 0.1, 4.0


def run_in_transaction(act: Callable[[], T], retry_for_s: float = RETRY_FOR_S) -> T:
    """The result of `act`, committed. Transient errors are retried for `retry_for_s` seconds, others raised."""
    until, wait_s = time.monotonic() + retry_for_s, _FIRST_WAIT_S
    while True:
        try:
            set_lock_timeout()
            result = act()
            db.session.commit()
            return result
        except DBAPIError as error:
            db.session.rollback()
            # An IntegrityError comes from a listing that was pruned while it was found again: retry.
            is_transient = isinstance(error, IntegrityError) or classify(error) not in {None, *PERMANENT}
            if not is_transient or time.monotonic() + wait_s > until:
                raise
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, _MAX_WAIT_S)

"""The server's own keys, `<SLUG>_API_KEY` in its environment: credentials of the installation's own account.

The keys are never stored: a worker reads them from its environment when it fetches. Their syncs are ordinary runs with
a history; they keep the shared catalog of models fresh where no user has a key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from app.providers import PROVIDERS, SYNCABLE
from app.store import audit, credentials, runs
from app.store.accounts import users
from app.store.audit import Actor
from app.store.credentials import ServerKey
from app.store.runs import StartedRun
from app.store.schema.tables import ProviderRow
from app.sync.schedule import latest_due, period_of
from app.vault import ApiKey, Keyring

AUTHORITATIVE = ("openrouter", "aihubmix")
"""Also read as public catalogs, so a batch skips them unless they are named."""
AUDIT_ACTION = "sync"
"""Action in the audit log."""
_MAX_SUBJECT_LENGTH = 500


def mirror_keys(keys: Mapping[str, ApiKey], vault: Keyring, now: datetime, interval: timedelta) -> None:
    """Make the server's credentials match the keys in the environment. The caller commits.

    interval: between automatic syncs; zero: never. A key that is new, replaced, or newly synced automatically is due at
    once. vault: its digests tell keys with equal hints apart; when its oldest private key is removed, all keys count
    as replaced, once.
    """
    server = users.server_account(now, create=bool(keys))
    if server is not None:
        rows = credentials.providers_by_slug()
        server_keys = {
            slug: ServerKey(key.hint, _key_number(key, vault), _latest_due_at(slug, rows, now, interval))
            for slug, key in keys.items()
            if slug in SYNCABLE
        }
        credentials.sync_server_keys(server.id, server_keys, now)


def _key_number(key: ApiKey, vault: Keyring) -> int:
    """2 to 2³¹ - 1, the limit of its column; 1 means a credential without a key."""
    return 2 + int.from_bytes(vault.digest(key)[:8]) % (2**31 - 2)


def _latest_due_at(slug: str, rows: Mapping[str, ProviderRow], now: datetime, interval: timedelta) -> datetime | None:
    row = rows.get(slug)
    frequency = (row.admin_update_frequency if row else None) or PROVIDERS[slug].update_frequency
    period = period_of(frequency, now, None, interval)
    return latest_due(period, now) if period else None


def start(providers: Collection[str], trigger: str, now: datetime, actor: Actor | None = None) -> StartedRun:
    """Queue a run over these providers (empty: all), or return the live run; the caller commits.

    Providers without a key are included, so that the run reports them. actor: for the audit log.
    """
    server = users.server_account(now)
    if server is None:
        raise RuntimeError("the installation's own account could not be made")
    credentials.create_for_server(server.id, [slug for slug in SYNCABLE if slug in providers or not providers], now)
    started = runs.start(server.id, trigger, now, providers=providers or SYNCABLE)
    if started is None:
        raise ValueError("none of these providers can be synced: all of them are disabled")
    if actor and started.is_new:
        audit.record(
            actor, AUDIT_ACTION, audit_subject(providers), {"sync": "none"}, {"sync": str(started.run.id)}, "", now
        )
    return started


def audit_subject(providers: Collection[str]) -> str:
    """Subject in the audit log."""
    return (", ".join(sorted(providers)) or "all providers")[:_MAX_SUBJECT_LENGTH]

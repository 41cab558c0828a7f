"""The server's own keys, `<SLUG>_API_KEY` of its environment: credentials of the installation's own account.

The key itself is never stored: a worker takes it from its environment at the moment it asks. What comes of it is a run
like anybody's, with its history; it keeps the shared catalog of models fresh where no user has a key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from app.providers import PROVIDERS
from app.store import audit, credentials, runs
from app.store.accounts import users
from app.store.audit import Actor
from app.store.credentials import ServerKey
from app.store.runs import StartedRun
from app.store.schema.tables import ProviderRow
from app.sync.schedule import latest_due, period_of
from app.vault import ApiKey, Keyring

SYNCABLE = tuple(slug for slug, provider in PROVIDERS.items() if not provider.own_url)
"""Providers whose list is the same for everyone: servers of users' own have no place in a shared catalog."""
AUTHORITATIVE = ("openrouter", "aihubmix")
"""Also asked as public catalogs, so that a batch passes over them unless they are named."""
AUDIT_ACTION = "sync"
"""Of the audit log's entries."""
_MAX_SUBJECT_LENGTH = 500


def mirror_keys(keys: Mapping[str, ApiKey], vault: Keyring, now: datetime, interval: timedelta) -> None:
    """Make the credentials say which keys the environment holds. The caller commits.

    interval: how often they are synced by themselves; zero: never. A key that came, or was replaced, is due at once,
    and so is one whose provider or installation was not synced by itself before. vault: tells keys apart that look
    alike. When its oldest private key is taken away, all of them count as replaced, once.
    """
    server = users.server_account(now, make=bool(keys))
    if server is not None:
        rows = credentials.providers_by_slug()
        mine = {
            slug: ServerKey(key.hint, _key_number(key, vault), _latest_due_at(slug, rows, now, interval))
            for slug, key in keys.items()
            if slug in SYNCABLE
        }
        credentials.sync_server_keys(server.id, mine, now)


def _key_number(key: ApiKey, vault: Keyring) -> int:
    """2 to 2³¹ - 1, as much as its column holds: 1 is a credential without a key."""
    return 2 + int.from_bytes(vault.digest(key)[:8]) % (2**31 - 2)


def _latest_due_at(slug: str, rows: Mapping[str, ProviderRow], now: datetime, interval: timedelta) -> datetime | None:
    row = rows.get(slug)
    frequency = (row.admin_update_frequency if row else None) or PROVIDERS[slug].update_frequency
    period = period_of(frequency, now, None, interval)
    return latest_due(period, now) if period else None


def start(providers: Collection[str], trigger: str, now: datetime, actor: Actor | None = None) -> StartedRun:
    """A queued run at these providers (none: at all), or the live one; the caller commits.

    Those without a key are among them, so that the run says so. actor: whoever asked for it, for the audit log.
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
    """What an entry of the audit log is about."""
    return (", ".join(sorted(providers)) or "all providers")[:_MAX_SUBJECT_LENGTH]

"""Demo data: three accounts with keys and five weeks of history, from real syncs against a simulator.

The clock is simulated: each run happens on its own day and takes a few seconds.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app import clock
from app.auth import passwords
from app.demo import catalogs
from app.demo.listings import TODAY
from app.demo.simulator import Simulator, provider_urls
from app.extensions import db
from app.providers import PROVIDERS
from app.store import credentials, due, runs
from app.store.accounts import users
from app.store.schema.tables import UserRow
from app.sync.http.client import new_client
from app.sync.http.retry import RetryPolicy
from app.sync.run import SyncContext, execute
from app.vault import ApiKey, Keyring, PublicKey

PASSWORD = "modelsync-demo"  # noqa: S105  # shown on the login page of a demo
ALICE, BOB, CAROL = "alice@demo.example", "bob@demo.example", "carol@demo.example"


@dataclass(frozen=True, slots=True)
class DemoKey:
    provider: str
    value: str | None
    """None for a public list."""
    label: str = ""


@dataclass(frozen=True, slots=True)
class DemoSync:
    """A past sync. faults: slug → fault during it."""

    email: str
    day: int
    hour: int
    trigger: str
    faults: Mapping[str, str] = field(default_factory=dict)
    only: str | None = None
    """The only provider synced; None for all."""


KEYS: dict[str, tuple[DemoKey, ...]] = {
    ALICE: (
        DemoKey("openai", "sk-demo-alice-personal-4b7e19d25f3f9c", "personal"),
        DemoKey("openai", "sk-demo-alice-work-90c2aa61d4e871b2", "work"),
        DemoKey("anthropic", "demo-anthropic-alice-61f0c3b98d27"),
        DemoKey("google", "demo-google-alice-7d31e04bb2c85f64"),
        DemoKey("groq", "gsk_demo_alice_58a4c19e7fd0b362"),
        DemoKey("openrouter", None),
    ),
    BOB: (
        DemoKey("openai", "sk-demo-bob-2c95fe6107ab83d4", "team"),
        DemoKey("google", "demo-google-bob-e8172c40d9ba5f36"),
        DemoKey("groq", "gsk_demo_bob_revoked_17bc80e24f95"),
    ),
    CAROL: (
        DemoKey("anthropic", "demo-anthropic-carol-b4a75c02ef61"),
        DemoKey("openrouter", "demo-openrouter-carol-03e9d7c8125bfa46", "shared"),
    ),
}

HISTORY: tuple[DemoSync, ...] = (
    DemoSync(ALICE, 0, 9, "manual"),
    DemoSync(BOB, 0, 14, "manual"),
    DemoSync(ALICE, 1, 8, "sign-in"),
    DemoSync(BOB, 1, 10, "new-key", only="groq"),
    DemoSync(CAROL, 2, 16, "manual"),
    DemoSync(ALICE, 5, 9, "manual"),
    DemoSync(ALICE, 9, 7, "cron", {"groq": "error_500"}),
    DemoSync(CAROL, 9, 7, "cron"),
    DemoSync(ALICE, 9, 11, "manual", only="groq"),
    DemoSync(ALICE, 13, 18, "api", {"anthropic": "rate_limited"}),
    DemoSync(ALICE, 16, 7, "cron", {"google": "repeated_cursor"}),
    DemoSync(CAROL, 16, 7, "cron", {"openrouter": "maintenance"}),
    DemoSync(ALICE, 18, 12, "sign-in"),
    DemoSync(ALICE, 23, 7, "cron", {"openai": "shrunk"}),
    DemoSync(CAROL, 23, 7, "cron"),
    DemoSync(ALICE, 23, 9, "manual"),
    DemoSync(CAROL, 29, 15, "cli", {"anthropic": "html"}),
    DemoSync(ALICE, 30, 7, "cron", {"openrouter": "one_bad_model"}),
    DemoSync(CAROL, 30, 7, "schedule"),
    DemoSync(ALICE, TODAY - 1, 8, "manual"),
)
"""In chronological order. Bob's last sync is over thirty days old, so that he is advised to sync."""

SEEN_UNTIL_DAY = {ALICE: 24, BOB: 2, CAROL: TODAY}
"""The day up to which each user has seen the changes; Alice has unseen ones."""


def seed(vault: Keyring, public_key: PublicKey, now: datetime | None = None) -> bool:
    """Create accounts, keys and history; False if there are demo accounts already.

    Needs an app context and a migrated database with providers and catalog. Commits.
    """
    now = now or clock.utc_now()
    if any(users.find_by_email(email) for email in KEYS):
        return False
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=TODAY)
    users_by_email = _create_accounts(start, public_key)
    with Simulator() as simulator, new_client() as client, _quiet_syncs():
        context = SyncContext(vault, client, simulator.base_urls, retry_policy=RetryPolicy(max_attempts=1))
        for step in HISTORY:
            _replay(step, users_by_email[step.email], start, simulator, context)
    for email, day in SEEN_UNTIL_DAY.items():
        users.mark_changes_seen(users_by_email[email].id, start + timedelta(days=day))
    # Postpone scheduled syncs, which would add to the scripted history at once.
    credential_ids = [row.id for user in users_by_email.values() for row, _ in credentials.list_for_user(user.id)]
    due.set_due(dict.fromkeys(credential_ids, now + timedelta(hours=12)))
    db.session.commit()
    return True


@contextlib.contextmanager
def _quiet_syncs() -> Iterator[None]:
    """The failures in the history are made up: they are not for the log."""
    logger = logging.getLogger("app.sync.run")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def base_urls(port: int) -> dict[str, str]:
    """Environment variables that point providers and public catalogs at a simulator on this port."""
    providers = {PROVIDERS[slug].base_url_variable: url for slug, url in provider_urls(port).items()}
    return providers | {f"CATALOG_{name.upper()}_URL": url for name, url in catalogs.catalog_urls(port).items()}


def _create_accounts(start: datetime, public_key: PublicKey) -> dict[str, UserRow]:
    providers = credentials.providers_by_slug()
    password_hash = passwords.hash_password(PASSWORD)
    users_by_email = {}
    for email in (CAROL, ALICE, BOB):  # Carol first: the first account becomes an admin
        user = users.create(email, password_hash, start, is_admin=email == CAROL)
        if user is None:
            raise RuntimeError(f"{email} was made by another process at this moment")
        user.is_admin = email == CAROL
        user.sync_on_sign_in = email != BOB  # keeps his advice to sync visible
        for key in KEYS[email]:
            secret = ApiKey(key.value) if key.value else None
            credentials.add(user.id, providers[key.provider], key.label, secret, public_key, start)
        users_by_email[email] = user
    db.session.commit()
    return users_by_email


def _replay(step: DemoSync, user: UserRow, start: datetime, simulator: Simulator, context: SyncContext) -> None:
    simulator.show_day(step.day)
    simulator.clear_fault()
    for slug, fault in step.faults.items():
        simulator.set_fault(slug, fault)
    simulated_clock = _SteppingClock(start + timedelta(days=step.day, hours=step.hour))
    started = runs.start(user.id, step.trigger, simulated_clock(), provider=step.only)
    db.session.commit()
    if started:
        execute(started.run.id, replace(context, now=simulated_clock))


class _SteppingClock:
    """Advances by 170 ms at each reading, so that results end one after the other."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def __call__(self) -> datetime:
        self._now += timedelta(milliseconds=170)
        return self._now

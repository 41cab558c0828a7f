"""The commands that need the app: users, keys, sync, models, and the processes for many machines."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from datetime import datetime, timedelta

import click
import redis
from email_validator import EmailNotValidError, validate_email
from flask import Flask, current_app, url_for
from flask.cli import AppGroup, with_appcontext
from sqlalchemy.exc import OperationalError

from app import config, jobs
from app.api.schemas import models_json
from app.auth import passwords
from app.cli import syncing
from app.cli.backup_commands import backup_group
from app.cli.batch_commands import COMMANDS as BATCH_COMMANDS
from app.cli.catalog_commands import catalog_group
from app.cli.doctor import doctor, lasting_trouble
from app.cli.errors import sentences
from app.cli.history_commands import history_group
from app.cli.install import NotReady, set_up, unreachable
from app.cli.output import print_json, print_table
from app.cli.override_commands import overrides_group
from app.cli.provider_commands import providers_group
from app.cli.token_commands import tokens_group
from app.cli.user_commands import COMMANDS as USER_COMMANDS
from app.cli.vault_commands import rotate_keys, vault_group, warn_of_shut_keys
from app.extensions import db
from app.providers import PROVIDERS, addresses
from app.store import catalog, credentials, due, models, runs
from app.store.accounts import user_actions, users
from app.store.audit import COMMAND_LINE
from app.store.queries import models_of_keys, stats
from app.store.queries import runs as run_queries
from app.store.schema.tables import CredentialRow, UserRow
from app.sync.run import utc_now
from app.vault import ApiKey
from app.web import health
from app.web.app import filters
from app.web.keys import key_error, label_error

users_group = AppGroup("users", help="Accounts.")
keys_group = AppGroup("keys", help="API keys. They are read from standard input and never shown.")
sync_group = AppGroup("sync", help="Syncs.")
models_group = AppGroup("models", help="What a user's keys can use.")


def init_app(app: Flask) -> None:
    accounts = (users_group, keys_group, tokens_group, vault_group, backup_group)
    models_and_more = (providers_group, models_group, catalog_group, overrides_group, sync_group, history_group)
    for command in USER_COMMANDS:
        users_group.add_command(command)
    keys_group.add_command(rotate_keys)
    for command in BATCH_COMMANDS:
        sync_group.add_command(command)
    for command in (*accounts, *models_and_more, doctor, setup_command, work, schedule):
        app.cli.add_command(command)


def user_of(email: str) -> UserRow:
    row = users.find_by_email(email)
    if row is None:
        raise click.ClickException(f"There is no account {email}: see `flask users list`.")
    return row


# ------------------------------------------------------------------ users


@users_group.command("add")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Make it an admin. The first account always is.")
@sentences
def users_add(email: str, admin: bool) -> None:
    """Add an account; the password comes from standard input, or is asked for."""
    try:
        validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise click.ClickException(f"{email} is not an e-mail address.") from None
    user = users.create(email, passwords.hash_password(_new_password(email)), utc_now(), is_admin=admin)
    if user is None:
        raise click.ClickException(f"There is an account {email} already.")
    db.session.commit()
    click.echo(f"Added {user.email}{' as an admin' if user.is_admin else ''}.")


@users_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@sentences
def users_list(as_json: bool) -> None:
    """List the accounts."""
    rows = [
        {
            "email": user.email,
            "admin": user.is_admin,
            "created_at": filters.isoformat(user.created_at),
            "last_sign_in_at": filters.isoformat(user.last_sign_in_at) or None,
        }
        for user in users.list_all()
    ]
    print_json(rows) if as_json else print_table(rows)


@users_group.command("set-password")
@click.argument("email")
@sentences
def users_set_password(email: str) -> None:
    """Set another password and sign out all sessions of the account."""
    user = user_of(email)
    users.set_password(user, passwords.hash_password(_new_password(user.email)))
    db.session.commit()
    click.echo(f"The password of {user.email} is changed; all its sessions are signed out.")


@users_group.command("delete")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
@sentences
def users_delete(email: str, yes: bool) -> None:
    """Delete an account with its keys and its history."""
    user = user_of(email)
    if not yes:
        click.confirm(f"Delete {user.email} with all keys and history?", abort=True)
    try:
        user_actions.remove(user, COMMAND_LINE, utc_now())
    except user_actions.UserActionError as error:
        raise click.ClickException(str(error)) from None
    db.session.commit()
    click.echo(f"Deleted {email}.")


@users_group.command("invite")
@click.argument("email")
@sentences
def users_invite(email: str) -> None:
    """Print the path of a sign-up page for this address, good for a week (with SIGNUP=invite)."""
    from app.web.account.accounts import invite_token

    config.require_web_secrets(config.current())  # only the web's SECRET_KEY makes a link that opens there
    with current_app.test_request_context():
        click.echo(url_for("accounts.signup", invite=invite_token(email)))


# ------------------------------------------------------------------ keys


@keys_group.command("add")
@click.argument("email")
@click.argument("provider", type=click.Choice(list(PROVIDERS)))
@click.option("--label", default="", help="Tells several keys of one provider apart.")
@click.option("--region", default="", help="Region of the provider, where it has several.")
@click.option("--url", default="", help="Address of your own server, for the providers that need one.")
@sentences
def keys_add(email: str, provider: str, label: str, region: str, url: str) -> None:
    """Seal and store an API key from standard input."""
    user = user_of(email)
    if complaint := label_error(label):
        raise click.ClickException(complaint)
    value = _read_secret("API key")
    if not value and not PROVIDERS[provider].public:
        raise click.ClickException("Give the API key on standard input.")
    if complaint := key_error(value) if value else None:
        raise click.ClickException(complaint)
    key = ApiKey(value) if value else None
    try:
        base_url = addresses.resolve_base_url(PROVIDERS[provider], region, url)
    except addresses.InvalidBaseURL as bad:
        raise click.ClickException(str(bad)) from None
    row = credentials.providers_by_slug()[provider]
    try:
        added = credentials.add(user.id, row, label, key, config.load_public_key(config.current()), utc_now(), base_url)
    except credentials.TooManyKeys as too_many:
        raise click.ClickException(str(too_many)) from None
    if added is None:
        raise click.ClickException(f"{email} has a {provider} key labelled “{label}” already: choose another --label.")
    added.check_asked_at = None  # the next sync checks it
    db.session.commit()
    click.echo(f"Stored the {provider} key {added.key_hint or '(none needed)'} as number {added.id}.")


@keys_group.command("list")
@click.argument("email")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@sentences
def keys_list(email: str, as_json: bool) -> None:
    """List a user's keys: never more of them than the last four characters."""
    rows = [
        {
            "id": key.id,
            "provider": key.provider,
            "label": key.label,
            "key": key.hint or None,
            "active": key.is_active,
            "state": filters.key_badge(key).words,
            "listed_at": filters.isoformat(key.listed_at) or None,
        }
        for key in run_queries.list_keys(user_of(email).id, utc_now())
    ]
    print_json(rows) if as_json else print_table(rows)


@keys_group.command("remove")
@click.argument("email")
@click.argument("key_id", type=int)
@sentences
def keys_remove(email: str, key_id: int) -> None:
    """Remove a key, by the number that `flask keys list` shows."""
    credentials.remove(_key_of(email, key_id))
    db.session.commit()
    click.echo(f"Removed key {key_id}.")


@keys_group.command("accept")
@click.argument("email")
@click.argument("key_id", type=int)
@sentences
def keys_accept(email: str, key_id: int) -> None:
    """Take the answer that was kept aside as suspect, at the next sync if it comes again."""
    row = _key_of(email, key_id)
    if not credentials.accept_quarantined(row):
        raise click.ClickException(f"No answer of key {key_id} is kept aside.")
    db.session.commit()
    click.echo(f"Accepted: `flask sync run {email}` takes the list if the provider still gives it.")


@keys_group.command("keep")
@click.argument("email")
@click.argument("key_id", type=int)
@sentences
def keys_keep(email: str, key_id: int) -> None:
    """Keep the last good list and forget the answer that was kept aside."""
    row = _key_of(email, key_id)
    if not credentials.reject_quarantined(row):
        raise click.ClickException(f"No answer of key {key_id} is kept aside.")
    db.session.commit()
    click.echo("Kept: the list of before stays in force.")


def _key_of(email: str, key_id: int) -> CredentialRow:
    found = credentials.find_own(user_of(email).id, key_id)
    if found is None:
        raise click.ClickException(f"{email} has no key number {key_id}: see `flask keys list {email}`.")
    return found[0]


# ------------------------------------------------------------------ sync and models


@sync_group.command("run")
@click.argument("email")
@click.option("--provider", type=click.Choice(list(PROVIDERS)), help="Only this provider's keys.")
@click.option("--dry-run", is_flag=True, help="Ask and compare, but write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@sentences
def sync_run(email: str, provider: str | None, dry_run: bool, as_json: bool) -> None:
    """Sync a user's keys now and wait; exit code 0 only if no result failed."""
    user = user_of(email)
    vault = config.load_keyring()
    run = syncing.preview if dry_run else syncing.perform
    report = run(user.id, provider, vault, quiet=as_json)
    if as_json:
        print_json([report])
    else:
        syncing.show(report)
    sys.exit(1 if any(result["outcome"] in ("failed", "skipped") for result in report["results"]) else 0)


@sync_group.command("cancel")
@click.argument("email")
@sentences
def sync_cancel(email: str) -> None:
    """End a user's live sync: what it settled stays, the rest keeps its last list."""
    run = runs.live_run(user_of(email).id)
    if run is None or not jobs.cancel_run(run.id):
        raise click.ClickException(f"No sync of {email} is under way.")
    click.echo(f"Cancelled run {run.id}.")


@sync_group.command("due")
@click.option("--within", "hours", default=24.0, show_default=True, type=click.FloatRange(0, 24 * 366), help="Hours.")
@click.option("--user", "email", help="Only this user's keys.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@sentences
def sync_due(hours: float, email: str | None, limit: int, as_json: bool) -> None:
    """Show what the schedule syncs next by itself, the longest overdue first."""
    found = due.load_upcoming(utc_now() + timedelta(hours=hours), limit, user_of(email).id if email else None)
    rows = [
        {
            "due_at": filters.isoformat(one.due_at),
            "user": one.email,
            "provider": one.provider,
            "label": one.label,
            "key": one.credential_id,
        }
        for one in found
    ]
    print_json(rows) if as_json else print_table(rows)
    if not rows and not as_json:
        click.echo("Nothing is due in this time.")


@models_group.command("list")
@click.argument("email")
@click.option("--provider", type=click.Choice(list(PROVIDERS)), help="Only this provider's models.")
@click.option("--all", "everything", is_flag=True, help="Also what is no chat model, with the reason.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@sentences
def models_list(email: str, provider: str | None, everything: bool, as_json: bool) -> None:
    """List the models a user's keys can use, after their last good sync."""
    keys = models_of_keys.load_key_models(user_of(email).id, provider)
    rows = credentials.providers_by_slug()
    seen: dict[str, dict[str, datetime]] = {}
    for key in keys:
        ids = [model.id for model in (*key.models, *key.unlisted)]
        seen.setdefault(key.provider, {}).update(models.first_seen_times(rows[key.provider].id, ids))
    _, index = catalog.load_index()
    found = models_json(keys, index, seen, everything=everything)
    if as_json:
        print_json(found)
    else:
        columns = ("provider", "provider_model_id", "kind", "canonical_id", "context_length", "kind_reason")
        print_table([{name: model[name] for name in columns[: 6 if everything else 5]} for model in found])


# ------------------------------------------------------------------ operation


@click.command("setup")
@with_appcontext
def setup_command() -> None:
    """Migrate the database to this version and load providers and catalog. `flask up` does it by itself."""
    try:
        set_up(current_app._get_current_object())  # type: ignore[attr-defined]
    except NotReady as error:
        raise click.ClickException(str(error)) from None
    click.echo("The database is up to date.")


@click.command("work")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 256), help="Worker processes.")
@with_appcontext
def work(workers: int) -> None:
    """Run workers in the foreground: on any machine with the same DATABASE_URL, REDIS_URL and vault keys."""
    try:
        vault = config.load_keyring()
    except config.ConfigError as error:
        raise click.ClickException(str(error)) from None
    _end_when_told()
    _wait_for_database()
    warn_of_shut_keys(vault)
    _wait_for_redis()
    jobs.run_workers(current_app._get_current_object(), vault, workers)  # type: ignore[attr-defined]


@click.command("schedule")
@with_appcontext
def schedule() -> None:
    """Run the scheduler in the foreground: one for an installation."""
    _end_when_told()
    _wait_for_database()
    _wait_for_redis()
    jobs.run_scheduler(current_app._get_current_object())  # type: ignore[attr-defined]


def _end_when_told() -> None:
    """Until the workers or the scheduler see to it: a container's first process is deaf to SIGTERM by itself."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def _wait_for_database() -> None:
    """All parts of an installation start at one moment, `flask setup` perhaps among them."""
    told = ""
    while True:
        says = _database_lacks()
        if not says:
            return
        if says != told:
            click.echo(f"{says} Waiting for that.", err=True)
        told = says
        time.sleep(0.5)


def _database_lacks() -> str:
    try:
        is_behind = health.is_behind(stats.schema_revision())
        return "The database is not at this version: run `flask setup`." if is_behind else ""
    except OperationalError as error:
        return unreachable(config.current(), error)
    finally:
        db.session.remove()


def _wait_for_redis() -> None:
    """A Redis that is away will come back; one that does not let us in will not."""
    told = False
    with contextlib.closing(jobs.open_worker_connection(current_app._get_current_object())) as connection:  # type: ignore[attr-defined]
        while True:
            try:
                connection.ping()
                return
            except redis.RedisError as error:
                if trouble := lasting_trouble(error):
                    raise click.ClickException(f"Redis cannot be used: {' '.join(trouble)}") from None
            if not told:
                click.echo("Redis cannot be reached: waiting for it.", err=True)
            told = True
            time.sleep(0.5)


def _new_password(email: str) -> str:
    password = _read_secret("Password", twice=True)
    if complaint := passwords.policy_violation(password, email):
        raise click.ClickException(complaint)
    return password


def _read_secret(what: str, *, twice: bool = False) -> str:
    """From standard input, or asked for without echo where someone sits before it."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, confirmation_prompt=twice)).strip()
    return sys.stdin.readline().strip()

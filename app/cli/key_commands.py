"""`flask keys`: a user's API keys."""

from __future__ import annotations

from datetime import UTC

import click
from flask.cli import AppGroup

from app import clock, config
from app.cli.errors import require_installation
from app.cli.output import json_option, print_rows, read_secret
from app.cli.user_commands import load_user
from app.extensions import db
from app.jobs import enqueue
from app.providers import PROVIDERS, addresses
from app.providers.key_detection import InvalidKey, parse_key
from app.store import credentials
from app.store.queries import keys, labels
from app.store.schema.tables import CredentialRow
from app.vault import ApiKey

keys_group = AppGroup("keys", help="API keys. They are read from standard input and never shown.")


@keys_group.command("add")
@click.argument("email")
@click.argument("provider", type=click.Choice(list(PROVIDERS)))
@click.option("--label", default="", help="Tells several keys of one provider apart.")
@click.option("--region", default="", help="Region of the provider, where it has several.")
@click.option("--url", default="", help="Address of your own server, for the providers that need one.")
@require_installation
def keys_add(email: str, provider: str, label: str, region: str, url: str) -> None:
    """Seal and store an API key from standard input, and queue its first sync."""
    user = load_user(email)
    if error := credentials.label_error(label):
        raise click.ClickException(error)
    value = read_secret("API key")
    if not value and not PROVIDERS[provider].public:
        raise click.ClickException("Give the API key on standard input.")
    try:
        key = ApiKey(parse_key(value, PROVIDERS[provider])) if value else None
    except InvalidKey as error:
        raise click.ClickException(str(error)) from None
    row = credentials.providers_by_slug()[provider]
    public_key = config.load_public_key(config.current())
    base_url = addresses.resolve_base_url(PROVIDERS[provider], region, url)
    added = credentials.add(user.id, row, label, key, public_key, clock.utc_now(), base_url)
    if added is None:
        raise click.ClickException(f"{email} has a {provider} key labelled “{label}” already: choose another --label.")
    db.session.commit()
    click.echo(f"Stored the {provider} key {added.key_hint or '(none needed)'} as number {added.id}.")
    enqueued = enqueue.start_first_sync(user.id)
    click.echo((enqueued and enqueued.queue_problem) or "Its first sync is queued.")


@keys_group.command("list")
@click.argument("email")
@json_option()
@require_installation
def keys_list(email: str, as_json: bool) -> None:
    """List a user's keys: never more of them than the last four characters."""
    now = clock.utc_now()
    rows = [
        {
            "id": key.id,
            "provider": key.provider,
            "label": key.label,
            "key": key.hint or None,
            "active": key.is_active,
            "state": labels.key_badge(key, now, UTC).words,
            "listed_at": clock.isoformat(key.listed_at) or None,
        }
        for key in keys.list_keys(load_user(email).id)
    ]
    print_rows(rows, as_json)


@keys_group.command("remove")
@click.argument("email")
@click.argument("key_id", type=int)
@require_installation
def keys_remove(email: str, key_id: int) -> None:
    """Remove a key, by the number that `flask keys list` shows."""
    credentials.remove(_load_key(email, key_id))
    db.session.commit()
    click.echo(f"Removed key {key_id}.")


@keys_group.command("accept")
@click.argument("email")
@click.argument("key_id", type=int)
@require_installation
def keys_accept(email: str, key_id: int) -> None:
    """Take the answer that was kept aside as suspect, at the next sync if it comes again."""
    if not credentials.accept_quarantined(_load_key(email, key_id)):
        raise click.ClickException(f"No answer of key {key_id} is kept aside.")
    db.session.commit()
    click.echo(f"Accepted: `flask sync run {email}` takes the list if the provider still gives it.")


@keys_group.command("keep")
@click.argument("email")
@click.argument("key_id", type=int)
@require_installation
def keys_keep(email: str, key_id: int) -> None:
    """Keep the last good list and forget the answer that was kept aside."""
    if not credentials.reject_quarantined(_load_key(email, key_id)):
        raise click.ClickException(f"No answer of key {key_id} is kept aside.")
    db.session.commit()
    click.echo("Kept: the list of before stays in force.")


def _load_key(email: str, key_id: int) -> CredentialRow:
    key = credentials.find_own(load_user(email).id, key_id)
    if key is None:
        raise click.ClickException(f"{email} has no key number {key_id}: see `flask keys list {email}`.")
    return key[0]

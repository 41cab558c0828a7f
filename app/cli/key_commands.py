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
from app.providers.contract import Provider
from app.providers.key_detection import InvalidKey, parse_key
from app.store import credentials
from app.store.credentials import CredentialWithSlug
from app.store.queries import keys, labels
from app.store.schema.tables import CredentialRow
from app.vault import ApiKey

_login_option = click.option(
    "--login",
    is_flag=True,
    help="Read user:password for a proxy in front of your server from the second line of standard input. The first,"
    " the key, may be empty.",
)

keys_group = AppGroup("keys", help="API keys. They are read from standard input and never shown.")


@keys_group.command("add")
@click.argument("email")
@click.argument("provider", type=click.Choice(list(PROVIDERS)))
@click.option("--label", default="", help="Tells several keys of one provider apart.")
@click.option("--region", default="", help="Region of the provider, where it has several.")
@click.option("--url", default="", help="Address of your own server, for the providers that need one.")
@_login_option
@require_installation
def keys_add(email: str, provider: str, label: str, region: str, url: str, login: bool) -> None:
    """Seal and store an API key from standard input, and queue its first sync."""
    user = load_user(email)
    if error := credentials.label_error(label):
        raise click.ClickException(error)
    address = addresses.resolve_address(PROVIDERS[provider], region, url)
    key = _read_key(PROVIDERS[provider], login, address.login)
    if key is None and not PROVIDERS[provider].public:
        raise click.ClickException("Give the API key on standard input.")
    row = credentials.providers_by_slug()[provider]
    public_key = config.load_public_key(config.current())
    added = credentials.add(user.id, row, label, key, public_key, clock.utc_now(), address.base_url)
    if added is None:
        raise click.ClickException(f"{email} has a {provider} key labelled “{label}” already: choose another --label.")
    db.session.commit()
    at = f" for {added.base_url}" if added.base_url else ""
    click.echo(f"Stored the {provider} key {added.key_hint or '(none needed)'}{at} as number {added.id}.")
    _start_first_sync(user.id)


@keys_group.command("address")
@click.argument("email")
@click.argument("key_id", type=int)
@click.argument("url", required=False, default="")
@click.option("--region", default="", help="Region of the provider, where it has several.")
@click.option("--new-key", is_flag=True, help="Read the key for the new address from standard input.")
@click.option("--no-key", is_flag=True, help="Forget the stored key: the new address needs none.")
@_login_option
@require_installation
def keys_address(email: str, key_id: int, url: str, region: str, new_key: bool, no_key: bool, login: bool) -> None:
    """Change the address that a key is sent to. For another host the key has to be given again."""
    row, slug = _load_own_key(email, key_id)
    provider = PROVIDERS[slug]
    address = addresses.resolve_address(provider, region, url)
    base_url, before = address.base_url, row.base_url or provider.base_url
    key = _read_key(provider, login, address.login) if new_key or login or address.login else None
    if key or (no_key and provider.public):
        row.base_url = base_url
        credentials.replace(row, slug, key, config.load_public_key(config.current()), clock.utc_now())
    elif row.sealed_key is None or addresses.keeps_key(before, base_url or provider.base_url):
        credentials.change_address(row, base_url, clock.utc_now())
    else:
        raise click.ClickException(
            "That is another host, and a key is only sent where it was given: give it again on standard input with"
            " --new-key, or add --no-key."
        )
    db.session.commit()
    click.echo(f"Key {key_id} is for {base_url or provider.base_url} now.")
    _start_first_sync(row.user_id)


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
            "base_url": key.base_url,
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
    return _load_own_key(email, key_id)[0]


def _load_own_key(email: str, key_id: int) -> CredentialWithSlug:
    key = credentials.find_own(load_user(email).id, key_id)
    if key is None:
        raise click.ClickException(f"{email} has no key number {key_id}: see `flask keys list {email}`.")
    return key


def _start_first_sync(user_id: int) -> None:
    enqueued = enqueue.start_first_sync(user_id)
    click.echo((enqueued and enqueued.queue_problem) or "Its first sync is queued.")


def _read_key(provider: Provider, with_login: bool, login: str) -> ApiKey | None:
    """The key on standard input, with a login of its own line if there is one; None if there is neither.

    login: from the address; the line wins.
    """
    value = read_secret("API key")
    try:
        value = parse_key(value, provider) if value else ""
    except InvalidKey as error:
        raise click.ClickException(str(error)) from None
    if with_login:
        login = addresses.validate_login(read_secret("Login (user:password)")) or login
    return ApiKey(value, login) if value or login else None

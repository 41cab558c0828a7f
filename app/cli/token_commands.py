"""`flask tokens`: personal tokens of accounts, for scripts that set an installation up."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from app.cli.errors import sentences
from app.cli.output import print_json, print_table
from app.extensions import db
from app.store.accounts import tokens, user_actions, users
from app.store.accounts.tokens import MAX_LIFETIME_DAYS, SCOPES
from app.store.audit import COMMAND_LINE
from app.store.schema.tables import UserRow
from app.sync.run import utc_now
from app.web.account.tokens import validation_error
from app.web.app import filters

tokens_group = AppGroup("tokens", help="Personal tokens, by which programs read a user's list.")


@tokens_group.command("add")
@click.argument("email")
@click.option("--name", required=True, help="The program it is for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="May be given twice; else read.")
@click.option("--days", type=click.IntRange(1, MAX_LIFETIME_DAYS), help="How long it lives; else for ever.")
@sentences
def tokens_add(email: str, name: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Make a token and print it: it is shown this once."""
    user = _user_of(email)
    name, scopes = name.strip(), scopes or ("read",)
    if complaint := validation_error(name, scopes, days):
        raise click.ClickException(complaint)
    made = tokens.create(user.id, name, scopes, utc_now(), days)
    if made is None:
        raise click.ClickException(f"{email} has {tokens.MAX_TOKENS} tokens: revoke one first.")
    row, text = made
    did: dict[str, object] = {"token made": row.id, "it may": ", ".join(row.scopes)}
    user_actions.record_own_change(user, did, utc_now(), COMMAND_LINE)
    db.session.commit()
    until = f"until {row.expires_at:%Y-%m-%d}" if row.expires_at else "for ever"
    click.echo(f"Token number {row.id} of {user.email} may {' and '.join(row.scopes)}, {until}.", err=True)
    click.echo(text)


@tokens_group.command("list")
@click.argument("email")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@sentences
def tokens_list(email: str, as_json: bool) -> None:
    """List a user's tokens: never more of them than the last four characters."""
    now = utc_now()
    rows = [
        {
            "id": row.id,
            "name": row.name,
            "token": row.hint,
            "scopes": " ".join(row.scopes),
            "state": row.state(now),
            "last_used_at": filters.isoformat(row.last_used_at) or None,
            "expires_at": filters.isoformat(row.expires_at) or None,
        }
        for row in tokens.list_for_user(_user_of(email).id, now)
    ]
    print_json(rows) if as_json else print_table(rows)


@tokens_group.command("revoke")
@click.argument("email")
@click.argument("token_id", type=click.IntRange(1, 2**62))
@sentences
def tokens_revoke(email: str, token_id: int) -> None:
    """Revoke a token, by the number that `flask tokens list` shows."""
    user = _user_of(email)
    if not tokens.revoke(user.id, token_id, utc_now()):
        raise click.ClickException(f"{email} has no live token number {token_id}: see `flask tokens list {email}`.")
    user_actions.record_own_change(user, {"token revoked": token_id}, utc_now(), COMMAND_LINE)
    db.session.commit()
    click.echo(f"Revoked token {token_id}.")


def _user_of(email: str) -> UserRow:
    row = users.find_by_email(email)
    if row is None or row.is_server:
        raise click.ClickException(f"There is no account {email}: see `flask users list`.")
    return row

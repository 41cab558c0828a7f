"""`flask tokens`: personal access tokens of accounts."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from app import clock
from app.cli.errors import require_installation
from app.cli.output import json_option, print_rows
from app.cli.user_commands import load_user
from app.extensions import db
from app.store.accounts import tokens, user_actions
from app.store.accounts.tokens import MAX_LIFETIME_DAYS, SCOPES
from app.store.audit import COMMAND_LINE

tokens_group = AppGroup("tokens", help="Personal tokens, by which programs read a user's list.")


@tokens_group.command("add")
@click.argument("email")
@click.option("--name", required=True, help="The program it is for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="May be given twice; else read.")
@click.option("--days", type=click.IntRange(1, MAX_LIFETIME_DAYS), help="How long it lives; else for ever.")
@require_installation
def tokens_add(email: str, name: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Make a token and print it: it is shown this once."""
    user = load_user(email, user_actions.find_by_email)
    name, scopes = name.strip(), scopes or ("read",)
    if error := tokens.validation_error(name, scopes, days):
        raise click.ClickException(error)
    created = tokens.create(user.id, name, scopes, clock.utc_now(), days)
    if created is None:
        raise click.ClickException(f"{email} has {tokens.MAX_TOKENS} tokens: revoke one first.")
    row, token = created
    change: dict[str, object] = {"token made": row.id, "it may": ", ".join(row.scopes)}
    user_actions.record_own_change(user, change, clock.utc_now(), COMMAND_LINE)
    db.session.commit()
    until = f"until {row.expires_at:%Y-%m-%d}" if row.expires_at else "for ever"
    click.echo(f"Token number {row.id} of {user.email} may {' and '.join(row.scopes)}, {until}.", err=True)
    click.echo(token)


@tokens_group.command("list")
@click.argument("email")
@json_option()
@require_installation
def tokens_list(email: str, as_json: bool) -> None:
    """List a user's tokens: never more of them than the last four characters."""
    now = clock.utc_now()
    rows = [
        {
            "id": row.id,
            "name": row.name,
            "token": row.hint,
            "scopes": " ".join(row.scopes),
            "state": row.state(now),
            "last_used_at": clock.isoformat(row.last_used_at) or None,
            "expires_at": clock.isoformat(row.expires_at) or None,
        }
        for row in tokens.list_for_user(load_user(email, user_actions.find_by_email).id, now)
    ]
    print_rows(rows, as_json)


@tokens_group.command("revoke")
@click.argument("email")
@click.argument("token_id", type=click.IntRange(1, 2**62))
@require_installation
def tokens_revoke(email: str, token_id: int) -> None:
    """Revoke a token, by the number that `flask tokens list` shows."""
    user = load_user(email, user_actions.find_by_email)
    if not tokens.revoke(user.id, token_id, clock.utc_now()):
        raise click.ClickException(f"{email} has no live token number {token_id}: see `flask tokens list {email}`.")
    user_actions.record_own_change(user, {"token revoked": token_id}, clock.utc_now(), COMMAND_LINE)
    db.session.commit()
    click.echo(f"Revoked token {token_id}.")

"""`flask users disable|enable|promote|demote|sign-out|reset-second-factor`: what admins do in the browser."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from app.cli.errors import sentences
from app.extensions import db
from app.store.accounts import user_actions
from app.store.accounts.user_actions import ACTIONS, UserActionError
from app.store.audit import COMMAND_LINE
from app.sync.run import utc_now


@click.command("disable")
@click.argument("email")
@with_appcontext
@sentences
def disable(email: str) -> None:
    """Keep an account from signing in and from syncing; its tokens and its feed end, nothing else is deleted."""
    click.echo(f"{_act('disable', email)} cannot sign in any more, and is not synced.")
    click.echo("Its tokens and the address of its feed are revoked, also for when it is enabled again.")


@click.command("enable")
@click.argument("email")
@with_appcontext
@sentences
def enable(email: str) -> None:
    """Let a disabled account sign in and sync again."""
    click.echo(f"{_act('enable', email)} may sign in again.")


@click.command("promote")
@click.argument("email")
@with_appcontext
@sentences
def promote(email: str) -> None:
    """Make an account an admin."""
    click.echo(f"{_act('promote', email)} is an admin now.")


@click.command("demote")
@click.argument("email")
@with_appcontext
@sentences
def demote(email: str) -> None:
    """Make an admin a normal account; the last admin stays one."""
    click.echo(f"{_act('demote', email)} is no admin any more.")


@click.command("sign-out")
@click.argument("email")
@with_appcontext
@sentences
def sign_out(email: str) -> None:
    """End all sessions of an account; its tokens and its feed go on."""
    click.echo(f"All sessions of {_act('sign-out', email)} are ended.")
    click.echo("Its tokens and the address of its feed go on: `flask users disable` ends them too.")


@click.command("reset-second-factor")
@click.argument("email")
@with_appcontext
@sentences
def reset_second_factor(email: str) -> None:
    """Turn two-step sign-in off for an account whose phone and recovery codes are lost; its sessions end."""
    click.echo(f"{_act('reset-second-factor', email)} signs in with the password alone, until it is set up again.")


COMMANDS = (disable, enable, promote, demote, sign_out, reset_second_factor)


def _act(act: str, email: str) -> str:
    user = user_actions.find_by_email(email)
    if user is None:
        raise click.ClickException(f"There is no account {email}: see `flask users list`.")
    try:
        ACTIONS[act](user, COMMAND_LINE, utc_now())
    except UserActionError as error:
        raise click.ClickException(str(error)) from None
    db.session.commit()
    return user.email

"""`flask users`: add, change and delete accounts."""

from __future__ import annotations

from collections.abc import Callable

import click
from flask import current_app, url_for
from flask.cli import AppGroup

from app import clock, config
from app.auth import passwords
from app.auth.emails import is_email_address
from app.auth.invitations import sign_invitation
from app.cli.errors import require_installation
from app.cli.output import json_option, print_rows, read_secret
from app.extensions import db
from app.store.accounts import user_actions, users
from app.store.accounts.user_actions import ACTIONS
from app.store.audit import COMMAND_LINE
from app.store.schema.tables import UserRow

users_group = AppGroup("users", help="Accounts.")


def load_user(email: str, find: Callable[[str], UserRow | None] = users.find_by_email) -> UserRow:
    """The account. Raises ClickException if there is none."""
    user = find(email)
    if user is None:
        raise click.ClickException(f"There is no account {email}: see `flask users list`.")
    return user


@users_group.command("add")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Make it an admin. The first account always is.")
@require_installation
def users_add(email: str, admin: bool) -> None:
    """Add an account; the password comes from standard input, or is asked for."""
    if not is_email_address(email):
        raise click.ClickException(f"{email} is not an e-mail address.")
    user = users.create(email, passwords.hash_password(_read_password(email)), clock.utc_now(), is_admin=admin)
    if user is None:
        raise click.ClickException(f"There is an account {email} already.")
    db.session.commit()
    click.echo(f"Added {user.email}{' as an admin' if user.is_admin else ''}.")


@users_group.command("list")
@json_option()
@require_installation
def users_list(as_json: bool) -> None:
    """List the accounts."""
    rows = [
        {
            "email": user.email,
            "admin": user.is_admin,
            "created_at": clock.isoformat(user.created_at),
            "last_sign_in_at": clock.isoformat(user.last_sign_in_at) or None,
        }
        for user in users.list_all()
    ]
    print_rows(rows, as_json)


@users_group.command("set-password")
@click.argument("email")
@require_installation
def users_set_password(email: str) -> None:
    """Set another password and sign out all sessions of the account."""
    user = load_user(email)
    users.set_password(user, passwords.hash_password(_read_password(user.email)))
    db.session.commit()
    click.echo(f"The password of {user.email} is changed; all its sessions are signed out.")


@users_group.command("delete")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
@require_installation
def users_delete(email: str, yes: bool) -> None:
    """Delete an account with its keys and its history."""
    user = load_user(email)
    if not yes:
        click.confirm(f"Delete {user.email} with all keys and history?", abort=True)
    user_actions.remove(user, COMMAND_LINE, clock.utc_now())
    db.session.commit()
    click.echo(f"Deleted {email}.")


@users_group.command("invite")
@click.argument("email")
@require_installation
def users_invite(email: str) -> None:
    """Print the path of a sign-up page for this address, good for a week (with SIGNUP=invite)."""
    config.require_web_secrets(config.current())  # the link must be signed with the web's SECRET_KEY
    token = sign_invitation(users.normalize_email(email), str(current_app.config["SECRET_KEY"]))
    with current_app.test_request_context():
        click.echo(url_for("accounts.signup", invite=token))


def _add_action(name: str, help_text: str, *messages: str) -> None:
    """Add the command for one of `user_actions.ACTIONS`. messages: printed afterwards, with `{email}` filled in."""

    @users_group.command(name, help=help_text)
    @click.argument("email")
    @require_installation
    def run_action(email: str) -> None:
        user = load_user(email, user_actions.find_by_email)
        ACTIONS[name](user, COMMAND_LINE, clock.utc_now())
        db.session.commit()
        for message in messages:
            click.echo(message.format(email=user.email))


_add_action(
    "disable",
    "Keep an account from signing in and from syncing; its tokens and its feed end, nothing else is deleted.",
    "{email} cannot sign in any more, and is not synced.",
    "Its tokens and the address of its feed are revoked, also for when it is enabled again.",
)
_add_action("enable", "Let a disabled account sign in and sync again.", "{email} may sign in again.")
_add_action("promote", "Make an account an admin.", "{email} is an admin now.")
_add_action("demote", "Make an admin a normal account; the last admin stays one.", "{email} is no admin any more.")
_add_action(
    "sign-out",
    "End all sessions of an account; its tokens and its feed go on.",
    "All sessions of {email} are ended.",
    "Its tokens and the address of its feed go on: `flask users disable` ends them too.",
)
_add_action(
    "reset-second-factor",
    "Turn two-step sign-in off for an account whose phone and recovery codes are lost; its sessions end.",
    "{email} signs in with the password alone, until it is set up again.",
)


def _read_password(email: str) -> str:
    password = read_secret("Password", confirm=True)
    if violation := passwords.policy_violation(password, email):
        raise click.ClickException(violation)
    return password

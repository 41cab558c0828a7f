"""Sign-in with the operator's OpenID provider, and linking accounts to it.

Users are identified by issuer and subject alone. An existing account is linked by e-mail address only if the provider
has verified the address and the operator allows it (OIDC_LINK_BY_EMAIL); otherwise its owner links it while signed in.
"""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_login import current_user, login_required

from app import clock, config
from app.auth import openid
from app.auth.openid import IdTokenClaims, OidcError, PendingLogin
from app.auth.settings import OpenIdProvider
from app.extensions import client_network, db, limiter
from app.jobs import enqueue
from app.store import audit
from app.store.accounts import feeds, identities, tokens, users
from app.store.audit import AUTOMATIC
from app.store.schema.tables import UserRow
from app.web.account import login
from app.web.app.arguments import require

blueprint = Blueprint("oidc", __name__)
log = logging.getLogger(__name__)

PER_NETWORK = "60 per 15 minutes"
_PENDING, _LINK = "oidc", "oidc_link"
_LIFETIME_S = 600
_ACCOUNT_DISABLED = "This account is disabled. Ask an admin to enable it again."
_EXPIRED = "That sign-in took too long, or was used already. Begin again."
_DOMAIN_NOT_ALLOWED = "Accounts of that kind may not sign in here. Use one of your organisation."
_EMAIL_UNVERIFIED = "The sign-in server does not vouch for your e-mail address, so nobody knows which account is yours."
_HAS_ACCOUNT = (
    "There is an account with your e-mail address. Sign in with its password, then link it in the settings under "
    "“Sign-in elsewhere”."
)
_NO_ACCOUNT = "You have no account here, and signing in does not make one. Ask an admin."
_ALREADY_LINKED = (
    "That sign-in belongs to another account here, or yours is linked to another one there: unlink that first."
)
_WRONG_PASSWORD = "The password is not right; nothing was linked."  # noqa: S105  (a sentence)
_LINKED_BY_EMAIL = (
    "Your account is linked. As anybody could have made it with your address, its password, personal tokens and feed "
    "address ended: choose a password in the settings if you want one."
)


class _LoginRejected(Exception):
    """Sign-in is rejected; the message is a sentence for the user."""


@blueprint.get("/oidc/start")
@limiter.limit(PER_NETWORK, key_func=client_network)
def start() -> Any:
    """Redirect to the provider; state, nonce and PKCE verifier stay in the signed session cookie."""
    provider, link = _provider(), _pending_link()
    if current_user.is_authenticated and link is None:
        return redirect(url_for("keys.profile"), 303)
    attempt = PendingLogin.new()
    try:
        url = openid.build_authorization_url(provider, _redirect_uri(), attempt)
    except OidcError as error:
        return _oidc_error(error)
    session.pop(_LINK, None)
    session[_PENDING] = attempt.to_dict() | {
        "at": int(clock.utc_now().timestamp()),
        "next": login.safe_next_url(request.args.get("next")),
        "link": link,
    }
    return redirect(url, 303)


@blueprint.get("/oidc/callback")
@limiter.limit(PER_NETWORK, key_func=client_network)
def callback() -> Any:
    provider = _provider()
    pending = session.pop(_PENDING, None)  # single use
    if not isinstance(pending, dict) or not 0 <= clock.utc_now().timestamp() - pending["at"] <= _LIFETIME_S:
        return _error_page(_EXPIRED), 422
    pending_login = PendingLogin(pending["state"], pending["nonce"], pending["verifier"])
    try:
        claimed = openid.verify_callback(provider, _redirect_uri(), pending_login, request.args.to_dict())
        _require_allowed_domain(provider, claimed)
        if pending["link"] is not None:
            return _finish_link(claimed, pending["link"])
        known = _find_linked_user(claimed)
        adopted = None if known else _link_by_email(provider, claimed)
        user = known or adopted or _create_user(provider, claimed)
    except OidcError as error:
        db.session.rollback()
        return _oidc_error(error)
    except _LoginRejected as refusal:
        db.session.rollback()
        login.log_auth_event("sign-in refused", None, why="elsewhere")
        return _error_page(str(refusal)), 422
    db.session.commit()
    response = login.begin_login(user, pending["next"])
    if adopted:
        enqueue.notify_owner(user.id, "linked")
        flash(_LINKED_BY_EMAIL, "warn")
    return response


@blueprint.post("/settings/oidc/link")
@login_required
@limiter.limit("10 per hour")
def link() -> Any:
    """Authorise linking. Continues by a link, because the CSP's form-action allows no form to lead to another host."""
    provider = _provider()
    if not login.confirms_identity(request.form.get("password", "")):
        flash(login.password_error(_WRONG_PASSWORD), "bad")
        return _redirect_to_settings()
    session[_LINK] = {"who": current_user.get_id(), "at": int(clock.utc_now().timestamp())}
    return render_template("accounts/oidc.html", go_on=provider.title)


@blueprint.post("/settings/oidc/unlink")
@login_required
@limiter.limit("10 per hour")
def unlink() -> Any:
    if not current_user.has_password:
        flash("Choose a password first: without one you could not sign in any more.", "bad")
    elif not login.confirms_identity(request.form.get("password", "")):
        flash("The password is not right; nothing was changed.", "bad")
    else:
        identities.unlink(current_user.id)
        login.record_own_change({"signing in elsewhere": "unlinked"})
        db.session.commit()
        enqueue.notify_owner(current_user.id, "unlinked")
        flash("Your account is not linked any more: sign in with your password.", "good")
    return _redirect_to_settings()


# ------------------------------------------------------------------ whose account it is


def _find_linked_user(claimed: IdTokenClaims) -> UserRow | None:
    row = identities.find(claimed.issuer, claimed.subject)
    if row is None:
        return None
    identity, user = row
    _require_active(user)
    identity.used_at, identity.email = clock.utc_now(), claimed.email
    return user


def _link_by_email(provider: OpenIdProvider, claimed: IdTokenClaims) -> UserRow | None:
    """Link the account that has this verified address; None if there is none. Raises _LoginRejected if its owner has to
    link it.

    The account's address was never verified, so somebody else may have created it in advance (account pre-hijacking).
    Password, tokens and feed are therefore revoked.
    """
    if not claimed.email or not claimed.is_verified:
        raise _LoginRejected(_EMAIL_UNVERIFIED)
    user = users.find_by_email(claimed.email)
    if user is None:
        return None
    if not provider.link_by_email:
        raise _LoginRejected(_HAS_ACCOUNT)
    _require_active(user)
    _save_identity(user, claimed)
    users.set_password(user, users.NO_PASSWORD)
    tokens.revoke_all(user.id, clock.utc_now())
    feeds.revoke(user.id)
    after = {"signing in": provider.title, "password, tokens and feed address": "ended"}
    audit.record(AUTOMATIC, "user", user.email, None, after, "", clock.utc_now())
    return user


def _create_user(provider: OpenIdProvider, claimed: IdTokenClaims) -> UserRow:
    if not provider.signup:
        raise _LoginRejected(_NO_ACCOUNT)
    user = users.create(claimed.email, users.NO_PASSWORD, clock.utc_now())
    if user is None:  # lost a race with another sign-up
        raise _LoginRejected(_HAS_ACCOUNT)
    _save_identity(user, claimed)
    return user


def _finish_link(claimed: IdTokenClaims, user_id: str) -> Any:
    """Link only for the signed-in user who requested it."""
    if not current_user.is_authenticated or current_user.get_id() != user_id:
        raise _LoginRejected(_EXPIRED)
    _save_identity(current_user, claimed)
    login.record_own_change({"signing in elsewhere": "linked"})
    db.session.commit()
    enqueue.notify_owner(current_user.id, "linked")
    flash("Your account is linked: you can sign in there from now on.", "good")
    return _redirect_to_settings()


def _save_identity(user: UserRow, claimed: IdTokenClaims) -> None:
    if not identities.link(user.id, claimed.issuer, claimed.subject, claimed.email, clock.utc_now()):
        raise _LoginRejected(_ALREADY_LINKED)


def _require_active(user: UserRow) -> None:
    if not user.is_active:
        raise _LoginRejected(_ACCOUNT_DISABLED)


def _require_allowed_domain(provider: OpenIdProvider, claimed: IdTokenClaims) -> None:
    """Checked on every sign-in, so that a user who leaves the organisation loses access."""
    if provider.allowed_domains:
        domain = claimed.email.rpartition("@")[2]
        if not claimed.is_verified or domain not in provider.allowed_domains:
            raise _LoginRejected(_DOMAIN_NOT_ALLOWED)


# ------------------------------------------------------------------ inside


def _provider() -> OpenIdProvider:
    return require(config.current().oidc)


def _redirect_uri() -> str:
    """Built from the configured PUBLIC_URL, never from the request's Host header."""
    return config.current().public_url + url_for("oidc.callback")


def _pending_link() -> str | None:
    """The signed-in user's identity if they confirmed linking with their password within the last ten minutes."""
    link = session.get(_LINK)
    if not isinstance(link, dict) or not current_user.is_authenticated or link["who"] != current_user.get_id():
        return None
    return str(link["who"]) if 0 <= clock.utc_now().timestamp() - link["at"] <= _LIFETIME_S else None


def _oidc_error(error: OidcError) -> Any:
    log.warning("sign-in by OpenID Connect failed: %s", error.reason)
    return _error_page(str(error)), 502 if str(error) == openid.UNAVAILABLE else 422


def _error_page(sentence: str) -> str:
    return render_template("accounts/oidc.html", error=sentence)


def _redirect_to_settings() -> Any:
    return redirect(url_for("settings.index", _anchor="elsewhere"), 303)

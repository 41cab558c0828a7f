"""Sign in at the operator's OpenID provider, and link an account to it.

Who it is, is said by issuer and subject alone. An address leads into an account that has none of them yet only where
the provider vouches for it and the operator wants that (OIDC_LINK_BY_EMAIL); else its owner links it, signed in.
"""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from flask_login import current_user, login_required

from app import config, jobs
from app.auth import openid
from app.auth.openid import Attempt, Claimed, OidcError
from app.auth.settings import OpenId
from app.extensions import db, limiter, network
from app.store import audit
from app.store.accounts import feeds, identities, tokens, user_actions, users
from app.store.audit import AUTOMATIC
from app.store.schema.tables import UserRow
from app.web.account import login
from app.web.app import filters

blueprint = Blueprint("oidc", __name__)
log = logging.getLogger(__name__)

PER_NETWORK = "60 per 15 minutes"
_ATTEMPT, _LINK = "oidc", "oidc_link"
_GOOD_FOR_S = 600
_DISABLED = "This account is disabled. Ask an admin to enable it again."
_EXPIRED = "That sign-in took too long, or was used already. Begin again."
_DOMAIN = "Accounts of that kind may not sign in here. Use one of your organisation."
_UNVERIFIED = "The sign-in server does not vouch for your e-mail address, so nobody knows which account is yours."
_HAS_ACCOUNT = (
    "There is an account with your e-mail address. Sign in with its password, then link it in the settings under "
    "“Sign-in elsewhere”."
)
_NO_ACCOUNT = "You have no account here, and signing in does not make one. Ask an admin."
_TAKEN = "That sign-in belongs to another account here, or yours is linked to another one there: unlink that first."
_NOT_OWNER = "The password is not right; nothing was linked."
_ADOPTED = (
    "Your account is linked. As anybody could have made it with your address, its password, personal tokens and feed "
    "address ended: choose a password in the settings if you want one."
)


class _Refusal(Exception):
    """Nobody is signed in; the text is a sentence."""


@blueprint.get("/oidc/start")
@limiter.limit(PER_NETWORK, key_func=network)
def start() -> Any:
    """Send the browser to the provider; what it has to bring back stays in its signed cookie."""
    provider, link = _provider(), _wants_link()
    if current_user.is_authenticated and link is None:
        return redirect(url_for("keys.profile"), 303)
    attempt = Attempt.new()
    try:
        url = openid.begin(provider, _redirect_uri(), attempt)
    except OidcError as error:
        return _told(error)
    session.pop(_LINK, None)
    session[_ATTEMPT] = attempt.told() | {
        "at": int(filters.now().timestamp()),
        "next": login.own_path(request.args.get("next")),
        "link": link,
    }
    return redirect(url, 303)


@blueprint.get("/oidc/callback")
@limiter.limit(PER_NETWORK, key_func=network)
def callback() -> Any:
    provider = _provider()
    kept = session.pop(_ATTEMPT, None)  # it is good once
    if not isinstance(kept, dict) or not 0 <= filters.now().timestamp() - kept["at"] <= _GOOD_FOR_S:
        return _page(_EXPIRED), 422
    attempt = Attempt(kept["state"], kept["nonce"], kept["verifier"])
    try:
        claimed = openid.finish(provider, _redirect_uri(), attempt, request.args.to_dict())
        _refuse_other_domains(provider, claimed)
        if kept["link"] is not None:
            return _link(claimed, kept["link"])
        known = _known(claimed)
        adopted = None if known else _adopted(provider, claimed)
        user = known or adopted or _made(provider, claimed)
    except OidcError as error:
        db.session.rollback()
        return _told(error)
    except _Refusal as refusal:
        db.session.rollback()
        login.note("sign-in refused", None, why="elsewhere")
        return _page(str(refusal)), 422
    db.session.commit()
    answer = login.enter(user, kept["next"])
    if adopted:
        jobs.tell_owner(user.id, "linked")
        flash(_ADOPTED, "warn")
    return answer


@blueprint.post("/settings/oidc/link")
@login_required
@limiter.limit("10 per hour")
def link() -> Any:
    """The owner means to link the account. A link on a page leads there: our policy lets no form lead elsewhere."""
    provider = _provider()
    if not login.is_owner(request.form.get("password", "")):
        flash(_NOT_OWNER if current_user.has_password else login.SIGN_IN_AGAIN, "bad")
        return _to_settings()
    session[_LINK] = {"who": current_user.get_id(), "at": int(filters.now().timestamp())}
    return render_template("accounts/oidc.html", go_on=provider.title)


@blueprint.post("/settings/oidc/unlink")
@login_required
@limiter.limit("10 per hour")
def unlink() -> Any:
    if not current_user.has_password:
        flash("Choose a password first: without one you could not sign in any more.", "bad")
    elif not login.is_owner(request.form.get("password", "")):
        flash("The password is not right; nothing was changed.", "bad")
    else:
        identities.unlink(current_user.id)
        user_actions.note_own(current_user._get_current_object(), {"signing in elsewhere": "unlinked"}, filters.now())
        db.session.commit()
        jobs.tell_owner(current_user.id, "unlinked")
        flash("Your account is not linked any more: sign in with your password.", "good")
    return _to_settings()


# ------------------------------------------------------------------ whose account it is


def _known(claimed: Claimed) -> UserRow | None:
    found = identities.find(claimed.issuer, claimed.subject)
    if found is None:
        return None
    identity, user = found
    _refuse_disabled(user)
    identity.used_at, identity.email = filters.now(), claimed.email
    return user


def _adopted(provider: OpenId, claimed: Claimed) -> UserRow | None:
    """The account that has this address. None if there is none; a refusal if its owner has to link it.

    Nobody ever showed that the account's address is theirs: whoever made it may have waited for its owner to come this
    way. So what was made before, and opens the account without the provider, ends.
    """
    if not claimed.email or not claimed.is_verified:
        raise _Refusal(_UNVERIFIED)
    user = users.by_email(claimed.email)
    if user is None:
        return None
    if not provider.link_by_email:
        raise _Refusal(_HAS_ACCOUNT)
    _refuse_disabled(user)
    _keep(user, claimed)
    users.set_password(user, users.NO_PASSWORD)
    tokens.revoke_all(user.id, filters.now())
    feeds.revoke(user.id)
    after = {"signing in": provider.title, "password, tokens and feed address": "ended"}
    audit.note(AUTOMATIC, "user", user.email, None, after, "", filters.now())
    return user


def _made(provider: OpenId, claimed: Claimed) -> UserRow:
    if not provider.signup:
        raise _Refusal(_NO_ACCOUNT)
    user = users.create(claimed.email, users.NO_PASSWORD, filters.now())
    if user is None:  # somebody took the address at this moment
        raise _Refusal(_HAS_ACCOUNT)
    _keep(user, claimed)
    return user


def _link(claimed: Claimed, who: str) -> Any:
    """Only the very person who meant to link, and is signed in still."""
    if not current_user.is_authenticated or current_user.get_id() != who:
        raise _Refusal(_EXPIRED)
    _keep(current_user, claimed)
    user_actions.note_own(current_user._get_current_object(), {"signing in elsewhere": "linked"}, filters.now())
    db.session.commit()
    jobs.tell_owner(current_user.id, "linked")
    flash("Your account is linked: you can sign in there from now on.", "good")
    return _to_settings()


def _keep(user: UserRow, claimed: Claimed) -> None:
    if not identities.link(user.id, claimed.issuer, claimed.subject, claimed.email, filters.now()):
        raise _Refusal(_TAKEN)


def _refuse_disabled(user: UserRow) -> None:
    if not user.is_active:
        raise _Refusal(_DISABLED)


def _refuse_other_domains(provider: OpenId, claimed: Claimed) -> None:
    """At each sign-in, so that who leaves the organisation stays out."""
    if provider.allowed_domains:
        domain = claimed.email.rpartition("@")[2]
        if not claimed.is_verified or domain not in provider.allowed_domains:
            raise _Refusal(_DOMAIN)


# ------------------------------------------------------------------ inside


def _provider() -> OpenId:
    provider = config.current().oidc
    if provider is None:
        abort(404)
    return provider


def _redirect_uri() -> str:
    """Of the configured address, never of the one a request names."""
    return config.current().public_url + url_for("oidc.callback")


def _wants_link() -> str | None:
    """Who said a short while ago, with their password, that the account is to be linked."""
    kept = session.get(_LINK)
    if not isinstance(kept, dict) or not current_user.is_authenticated or kept["who"] != current_user.get_id():
        return None
    return str(kept["who"]) if 0 <= filters.now().timestamp() - kept["at"] <= _GOOD_FOR_S else None


def _told(error: OidcError) -> Any:
    log.warning("sign-in by OpenID Connect failed: %s", error.why)
    return _page(str(error)), 502 if str(error) == openid.AWAY else 422


def _page(sentence: str) -> str:
    return render_template("accounts/oidc.html", error=sentence)


def _to_settings() -> Any:
    return redirect(url_for("settings.index", _anchor="elsewhere"), 303)

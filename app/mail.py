"""Builds e-mail messages and hands them to the mail server. The only user of smtplib."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import cache

from app.auth.settings import MailServer, SecurityEvent, is_loopback

_TIMEOUT_S = 10.0
SECURITY_EVENT_TEXTS: Mapping[SecurityEvent, str] = {
    "password": "Its password was changed. All other sessions are ended.",
    "password reset": "Its password was changed by a link that was sent to this address. All sessions are ended.",
    "second factor on": "Two-step sign-in was turned on: a code of an authenticator app is asked for from now on.",
    "second factor off": "Two-step sign-in was turned off: the password alone is asked for from now on.",
    "recovery codes": "New recovery codes were made. The ones before do not work any more.",
    "linked": "It was linked to an account at the sign-in server, which opens it from now on.",
    "unlinked": "It is not linked to an account at the sign-in server any more: its password alone opens it.",
}
_LONG_HEADER_POLICY = policy.default.clone(max_line_length=500, cte_type="7bit")
"""Keeps List-Unsubscribe in one piece: mail programs do not find an address in an encoded, folded header."""


class MailError(Exception):
    """A message could not be sent. Its text is a sentence and does not contain the recipient's address."""


def password_reset_email(sender: str, to: str, link: str) -> EmailMessage:
    return _build_email(
        sender,
        to,
        "Another password for Modelsync",
        "Somebody, probably you, asked for another password for your account at Modelsync.\n\n"
        f"Choose it here within an hour; the link works once:\n\n{link}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n",
    )


def signup_email(sender: str, to: str, link: str) -> EmailMessage:
    """link: creates the account."""
    return _build_email(
        sender,
        to,
        "Your account at Modelsync",
        "Somebody, probably you, wants an account at Modelsync with this address.\n\n"
        f"Choose its password here within a week:\n\n{link}\n\n"
        "If it was not you, do nothing: there will be no account.\n",
    )


def account_exists_email(sender: str, to: str, public_url: str) -> EmailMessage:
    """For a sign-up with an address that has an account already."""
    return _build_email(
        sender,
        to,
        "You have an account at Modelsync",
        "Somebody, probably you, wanted to sign up at Modelsync with this address. It has an account already.\n\n"
        f"Sign in:\n\n{public_url}/login\n\nIf you forgot the password, choose another:\n\n{public_url}/reset\n\n"
        "If it was not you, do nothing: nothing was changed, and nobody was told that there is an account.\n",
    )


def security_notice_email(sender: str, to: str, public_url: str, event: SecurityEvent) -> EmailMessage:
    return _build_email(
        sender,
        to,
        "Your account at Modelsync was changed",
        f"Something was changed at your account at Modelsync. {SECURITY_EVENT_TEXTS[event]}\n\n"
        "If it was you, there is nothing to do. If it was not, choose another password at once, which ends all\n"
        f"sessions, and look at what the settings show:\n\n{public_url}/reset\n{public_url}/settings\n",
    )


def digest_email(sender: str, to: str, subject: str, text: str, unsubscribe_url: str) -> EmailMessage:
    """A subscribed message with one-click unsubscribe (RFC 8058).

    unsubscribe_url: the mail program sends a POST to it.
    """
    message = EmailMessage(_LONG_HEADER_POLICY)
    _set_headers(message, sender, to, subject)
    message["List-Unsubscribe"] = f"<{unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(text)
    return message


def _build_email(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    _set_headers(message, sender, to, subject)
    message.set_content(text, cte="8bit")  # quoted-printable might break the link
    return message


def _set_headers(message: EmailMessage, sender: str, to: str, subject: str) -> None:
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2].strip("> "))
    message["Auto-Submitted"] = "auto-generated"


def send(server: MailServer, message: EmailMessage) -> None:
    """Send a message, with a time-out of ten seconds per step. Raises MailError.

    A password is sent in clear to this machine only: any other server that wants one has to offer TLS.
    """
    try:
        with _connect(server) as smtp:
            if server.user:
                smtp.login(server.user, server.password)
            smtp.send_message(message)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        # The error's own text may contain an address.
        raise MailError(f"The mail server did not take a letter ({type(error).__name__}).") from None


def _connect(server: MailServer) -> smtplib.SMTP:
    if server.is_tls:
        return smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=_tls_context())
    smtp = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
    try:
        smtp.ehlo_or_helo_if_needed()
        if smtp.has_extn("starttls"):
            smtp.starttls(context=_tls_context())
            smtp.ehlo()
        elif server.user and not is_loopback(server.host):
            raise MailError("The mail server offers no TLS, so it is not sent the password of SMTP_URL.")
    except BaseException:
        smtp.close()
        raise
    return smtp


@cache
def _tls_context() -> ssl.SSLContext:
    """Trusts this machine's certificate authorities. Cached: loading them takes 20 ms."""
    return ssl.create_default_context()

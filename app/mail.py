"""Hand a letter to the mail server. The only user of smtplib."""

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
"""A longer header would be encoded in pieces, and no mail program looks for an address in them."""


class MailError(Exception):
    """A letter could not be handed in. Its text is a sentence without the address it was for."""


def password_reset_email(sender: str, to: str, link: str) -> EmailMessage:
    """The letter with the link that leads to another password."""
    return _build_email(
        sender,
        to,
        "Another password for Modelsync",
        "Somebody, probably you, asked for another password for your account at Modelsync.\n\n"
        f"Choose it here within an hour; the link works once:\n\n{link}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n",
    )


def signup_email(sender: str, to: str, link: str) -> EmailMessage:
    """The letter with the link that makes an account with this address."""
    return _build_email(
        sender,
        to,
        "Your account at Modelsync",
        "Somebody, probably you, wants an account at Modelsync with this address.\n\n"
        f"Choose its password here within a week:\n\n{link}\n\n"
        "If it was not you, do nothing: there will be no account.\n",
    )


def account_exists_email(sender: str, to: str, address: str) -> EmailMessage:
    """To who has an account and signs up once more. address: this server's."""
    return _build_email(
        sender,
        to,
        "You have an account at Modelsync",
        "Somebody, probably you, wanted to sign up at Modelsync with this address. It has an account already.\n\n"
        f"Sign in:\n\n{address}/login\n\nIf you forgot the password, choose another:\n\n{address}/reset\n\n"
        "If it was not you, do nothing: nothing was changed, and nobody was told that there is an account.\n",
    )


def security_notice_email(sender: str, to: str, address: str, change: SecurityEvent) -> EmailMessage:
    """To the owner of an account, one of whose ways in was changed, whoever did it. address: this server's."""
    return _build_email(
        sender,
        to,
        "Your account at Modelsync was changed",
        f"Something was changed at your account at Modelsync. {SECURITY_EVENT_TEXTS[change]}\n\n"
        "If it was you, there is nothing to do. If it was not, choose another password at once, which ends all\n"
        f"sessions, and look at what the settings show:\n\n{address}/reset\n{address}/settings\n",
    )


def _build_email(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = sender, to, subject
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2].strip("> "))
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(text, cte="8bit")  # quoted-printable might break the link
    return letter


def digest_email(sender: str, to: str, subject: str, text: str, stop_link: str) -> EmailMessage:
    """A letter that its reader asked for, and ends by one press in the mail program (RFC 8058).

    stop_link: the address that ends them when it is posted to.
    """
    letter = EmailMessage(_LONG_HEADER_POLICY)
    letter["From"], letter["To"], letter["Subject"] = sender, to, subject
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2].strip("> "))
    letter["Auto-Submitted"] = "auto-generated"
    letter["List-Unsubscribe"], letter["List-Unsubscribe-Post"] = f"<{stop_link}>", "List-Unsubscribe=One-Click"
    letter.set_content(text)
    return letter


def send(server: MailServer, letter: EmailMessage) -> None:
    """Hand it in, within some ten seconds for each step. Raises MailError.

    A password is never sent in the clear, but to this machine itself: a server that wants one has to offer TLS.
    """
    try:
        with _connect(server) as smtp:
            if server.user:
                smtp.login(server.user, server.password)
            smtp.send_message(letter)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        # Words of the server or of a failed command may repeat an address.
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
    """The authorities that this machine trusts; to load them takes 20 ms."""
    return ssl.create_default_context()

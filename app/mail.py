"""Hand a letter to the mail server. The only user of smtplib."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from app.access import MailServer, is_loopback

_TIMEOUT_S = 10.0


class MailError(Exception):
    """A letter could not be handed in. Its text is a sentence without the address it was for."""


def reset_letter(sender: str, to: str, link: str) -> EmailMessage:
    """The letter with the link that leads to another password."""
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = sender, to, "Another password for Modelsync"
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2].strip("> "))
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(
        "Somebody, probably you, asked for another password for your account at Modelsync.\n\n"
        f"Choose it here within an hour; the link works once:\n\n{link}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n",
        cte="8bit",  # quoted-printable might break the link
    )
    return letter


def send(server: MailServer, letter: EmailMessage) -> None:
    """Hand it in, within some ten seconds for each step. Raises MailError.

    A password is never sent in the clear, but to this machine itself: a server that wants one has to offer TLS.
    """
    try:
        with _connected(server) as smtp:
            if server.user:
                smtp.login(server.user, server.password)
            smtp.send_message(letter)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        # Words of the server or of a failed command may repeat an address.
        raise MailError(f"The mail server did not take a letter ({type(error).__name__}).") from None


def _connected(server: MailServer) -> smtplib.SMTP:
    trusted = ssl.create_default_context()
    if server.is_tls:
        return smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=trusted)
    smtp = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
    try:
        smtp.ehlo_or_helo_if_needed()
        if smtp.has_extn("starttls"):
            smtp.starttls(context=trusted)
            smtp.ehlo()
        elif server.user and not is_loopback(server.host):
            raise MailError("The mail server offers no TLS, so it is not sent the password of SMTP_URL.")
    except BaseException:
        smtp.close()
        raise
    return smtp

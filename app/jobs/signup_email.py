"""The e-mail to a new sign-up's address: a link that creates the account, or a note that there is one.

The sign-up page says neither. The message waits in the queue sealed for the workers, so that an address without an
account is stored nowhere in clear, and only the addressee gets the link.
"""

from __future__ import annotations

import base64

import msgspec

from app import config, mail
from app.vault import ApiKey, Keyring, PublicKey, SealContext

_SEAL_CONTEXT = SealContext(0, 0, "letter to who signs up")
"""No credential has this id, so a sealed API key cannot be opened as a message, or a message as a key."""


def seal_message(email: str, link: str, public_key: PublicKey) -> str:
    """The job's argument. link: empty if the address has an account."""
    content = msgspec.json.encode([email, link]).decode()
    return f"{public_key.version}:{base64.b64encode(public_key.seal(ApiKey(content), _SEAL_CONTEXT)).decode()}"


def send_sealed(message: str, keyring: Keyring) -> None:
    """Send what `seal_message` sealed. Raises UnsealError and mail.MailError."""
    version, _, sealed = message.partition(":")
    content = keyring.open(base64.b64decode(sealed), int(version), _SEAL_CONTEXT)
    email, link = msgspec.json.decode(content.reveal(), type=tuple[str, str])
    settings = config.current()
    mail.send(
        config.load_mail_server(),
        mail.signup_email(settings.mail_from, email, link)
        if link
        else mail.account_exists_email(settings.mail_from, email, settings.public_url),
    )

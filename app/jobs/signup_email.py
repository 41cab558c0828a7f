"""The letter to an address that somebody signs up with: it has the link that makes an account, or says there is one.

Whoever typed the address is told neither. What is to be written waits in the queue sealed for the workers: an address
that has no account stands in no table, and the link is for who gets the letter alone.
"""

from __future__ import annotations

import base64

import msgspec

from app import config, mail
from app.vault import ApiKey, Keyring, PublicKey, SealContext

_SEAL_CONTEXT = SealContext(0, 0, "letter to who signs up")
"""Of no credential: nothing else that is sealed opens as this."""


def seal_message(email: str, link: str, sealer: PublicKey) -> str:
    """For the queue. link: empty where the address has an account."""
    content = msgspec.json.encode([email, link]).decode()
    return f"{sealer.version}:{base64.b64encode(sealer.seal(ApiKey(content), _SEAL_CONTEXT)).decode()}"


def send_sealed(letter: str, vault: Keyring) -> None:
    """Hand in the letter of what `sealed` gave. Raises CannotOpen and mail.MailError."""
    version, _, content = letter.partition(":")
    opened = vault.open(base64.b64decode(content), int(version), _SEAL_CONTEXT)
    email, link = msgspec.json.decode(opened.reveal(), type=tuple[str, str])
    settings = config.current()
    written = (
        mail.signup_email(settings.mail_from, email, link)
        if link
        else mail.account_exists_email(settings.mail_from, email, settings.public_url)
    )
    mail.send(config.load_mail_server(), written)

"""Pasted keys: what the page shows of them before they are saved, and the saving.

The text stays in the browser: it comes with the request for the preview and once more with the one that saves, and
goes back in neither answer. What was chosen in between counts by the number of the key, so the preview carries a stamp
of the text it was made of; a text that changed since is looked at anew, and no key goes where another was meant to.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app import clock
from app.providers import addresses, key_detection
from app.providers.key_detection import Detection, ParsedPaste, ProviderChoice
from app.store import credentials
from app.store.queries.runs import KeyView
from app.store.schema.tables import CredentialRow
from app.vault import ApiKey, PublicKey

MAX_LABEL_LENGTH = 60


@dataclass(slots=True)
class PastedKey:
    """A recognised key as the preview shows it, with what was chosen for it."""

    number: int
    find: Detection
    hint: str
    have: KeyView | None
    """One that is saved and looks alike: its last characters are the same, more is not known of it here."""
    is_ticked: bool
    place: ProviderChoice | None
    """Where it is to go, None until somebody chose."""
    label: str
    address: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    """Field → what is wrong with it, as a sentence."""

    @property
    def asks_address(self) -> bool:
        return any(self.find.needs_base_url(place) for place in self.find.choices)


def text_digest(secret: str, user_id: int, text: str) -> str:
    """Tells a text from every other, and tells nothing of it."""
    plain = "\n".join(text.splitlines())
    return hmac.new(secret.encode(), f"pasted {user_id} {plain}".encode(), hashlib.sha256).hexdigest()[:32]


def propose_keys(reading: ParsedPaste, keys: Sequence[KeyView]) -> list[PastedKey]:
    """The recognised keys as they are proposed: what is sure is ticked, unless one like it is there already."""
    taken = {(key.provider, key.label) for key in keys}
    made = []
    for number, find in enumerate(reading.detections):
        hint = ApiKey(find.key).hint
        places = {place.slug for place in find.choices}
        have = next((key for key in keys if key.hint == hint and hint != "••••" and key.provider in places), None)
        place = find.choices[0] if find.is_certain else None
        label = ""
        if place and have is None:
            label = _free_label(place.slug, taken)
            taken.add((place.slug, label))
        made.append(PastedKey(number, find, hint, have, have is None, place, label))
    return made


def apply_choices(made: list[PastedKey], form: Mapping[str, str]) -> None:
    """Take over what a person chose in the preview of this very text."""
    for line in made:
        line.is_ticked = f"take-{line.number}" in form
        wanted = form.get(f"place-{line.number}")
        if wanted is not None:
            line.place = next((place for place in line.find.choices if place.value == wanted), None)
        line.label = form.get(f"label-{line.number}", line.label).strip()
        line.address = form.get(f"address-{line.number}", "").strip()


def validate_keys(made: list[PastedKey], keys: Sequence[KeyView]) -> bool:
    """Say beside its field what keeps a ticked key from being saved. Whether all can be."""
    taken = {(key.provider, key.label) for key in keys}
    for line in made:
        line.errors.clear()
        if not line.is_ticked:
            continue
        if line.place is None:
            line.errors["place"] = "Choose whose key this is, or leave it out."
            continue
        if len(line.label) > MAX_LABEL_LENGTH or not (line.label.isprintable() or not line.label):
            line.errors["label"] = f"Choose a label of at most {MAX_LABEL_LENGTH} characters on one line."
        elif (line.place.slug, line.label) in taken:
            named = f"labelled “{line.label}”" if line.label else "without a label"
            line.errors["label"] = (
                f"You have a key of {line.place.provider.title} {named} already: choose another label."
            )
        taken.add((line.place.slug, line.label))
        try:
            chosen_base_url(line)
        except addresses.InvalidBaseURL as bad:
            line.errors["address"] = str(bad)
    return not any(line.errors for line in made)


def chosen_base_url(line: PastedKey) -> str | None:
    """The base URL to keep with a key; None for the provider's own. Raises BadAddress."""
    if line.place is None:
        raise ValueError("nobody chose whose key this is")
    provider = line.place.provider
    url = (line.find.base_url or line.address) if provider.base_url_example else ""
    return addresses.resolve_base_url(provider, line.place.region, url)


def save_keys(user_id: int, made: Sequence[PastedKey], sealer: PublicKey) -> list[CredentialRow] | None:
    """Keep what is ticked and checked; the caller commits. None if another page took one of the labels meanwhile.

    Raises TooManyKeys.
    """
    rows = credentials.providers_by_slug()
    added = []
    for line in made:
        if not (line.is_ticked and line.place):
            continue
        secret, provider = ApiKey(line.find.key), rows[line.place.slug]
        row = credentials.add(user_id, provider, line.label, secret, sealer, clock.utc_now(), chosen_base_url(line))
        if row is None:
            return None
        added.append(row)
    return added


def describe_unrecognised(reading: ParsedPaste) -> list[str]:
    """The lines that hold no key to save, by number, as sentences."""
    by_reason: dict[str, list[int]] = {}
    for one in reading.unrecognised:
        by_reason.setdefault(one.reason, []).append(one.line)
    return [_describe_lines(numbers, why) for why, numbers in by_reason.items()]


def _describe_lines(numbers: list[int], why: str) -> str:
    if len(numbers) == 1:
        return f"Line {numbers[0]} {why}."
    shown = ", ".join(map(str, numbers[:12])) + (" and more" if len(numbers) > 12 else "")
    return f"Lines {shown}: each {why}."


def _free_label(slug: str, taken: set[tuple[str, str]]) -> str:
    """None for a provider's first key; then "key 2", "key 3" …"""
    if (slug, "") not in taken:
        return ""
    return next(f"key {number}" for number in range(2, 10_000) if (slug, f"key {number}") not in taken)


def provider_titles(places: Sequence[ProviderChoice]) -> list[str]:
    """Their providers, each once."""
    return list(dict.fromkeys(place.provider.title for place in places))


def parse_paste(text: str) -> ParsedPaste:
    """What is recognised in a pasted text. Raises recognising.TooMuch."""
    return key_detection.parse_paste(text)

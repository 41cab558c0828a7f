"""Sealed keys that were changed, moved or exchanged in the database: refused, named, and nothing else affected."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from app import clock
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import rotation
from app.store.schema.tables import CredentialRow, ProviderRow, ResultRow
from app.sync import key_rotation
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring, PublicKey, SealContext, UnsealError, generate_private_key
from tests.cli.shell import Run
from tests.cli.shell import run as run  # the fixture
from tests.cli.test_doctor import findings
from tests.conftest import Person, both_databases
from tests.sync.test_run import synced

KEY = "sk-good-key-of-tampering-0b5e"
OLD, NEW = generate_private_key(1), generate_private_key(2)
BOTH = Keyring(f"{OLD},{NEW}")
SEALERS = {1: PublicKey(Keyring(OLD).public), 2: PublicKey(Keyring(NEW).public)}
owners = st.builds(
    SealContext,
    user_id=st.integers(1, 10**12),
    credential_id=st.integers(1, 10**12),
    provider=st.sampled_from(["openai", "groq", "anthropic", "openai-compatible"]),
)
keys = st.text(min_size=1, max_size=200).filter(lambda key: key.isprintable())


# ------------------------------------------------------------------ the vault alone


@settings(deadline=None)
@given(key=keys, owner=owners, version=st.sampled_from([1, 2]), data=st.data())
def test_no_sealed_key_with_a_bit_flipped_opens(
    key: str, owner: SealContext, version: int, data: st.DataObject
) -> None:
    sealed = SEALERS[version].seal(ApiKey(key), owner)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    damaged = bytearray(sealed)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UnsealError):
        BOTH.open(bytes(damaged), version, owner)
    assert BOTH.open(sealed, version, owner).reveal() == key


def test_each_bit_of_one_sealed_key_counts() -> None:
    """Not a sample: all of them."""
    owner = SealContext(7, 42, "openai")
    sealed = SEALERS[1].seal(ApiKey(KEY), owner)
    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnsealError):
            BOTH.open(bytes(damaged), 1, owner)


@settings(deadline=None)
@given(one=owners, other=owners, versions=st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2])))
def test_a_sealed_key_opens_only_for_its_own_user_row_provider_and_version(
    one: SealContext, other: SealContext, versions: tuple[int, int]
) -> None:
    sealed = SEALERS[versions[0]].seal(ApiKey(KEY), one)
    if (one, versions[0]) == (other, versions[1]):
        assert BOTH.open(sealed, versions[1], other).reveal() == KEY
    else:
        with pytest.raises(UnsealError):
            BOTH.open(sealed, versions[1], other)


@settings(deadline=None)
@given(owner=owners, cut=st.integers(0, 1_300), more=st.binary(max_size=40))
def test_a_sealed_key_cut_short_or_made_longer_does_not_open(owner: SealContext, cut: int, more: bytes) -> None:
    sealed = SEALERS[1].seal(ApiKey(KEY), owner)
    other = sealed[:cut] + more
    if other != sealed:
        with pytest.raises(UnsealError):
            BOTH.open(other, 1, owner)


# ------------------------------------------------------------------ in the database


def exchange(one: int, other: int) -> None:
    """Swap two rows' sealed keys, as someone who can write the database might."""
    query = select(CredentialRow.id, CredentialRow.sealed_key).where(CredentialRow.id.in_((one, other)))
    sealed = {row.id: row.sealed_key for row in db.session.execute(query)}
    _write(one, sealed_key=sealed[other])
    _write(other, sealed_key=sealed[one])


def _write(credential_id: int, **values: object) -> None:
    db.session.execute(update(CredentialRow).where(CredentialRow.id == credential_id).values(**values))


def _flip(alice: Person, bob: Person) -> set[int]:
    row = alice.add_key("openai", KEY, "damaged")
    damaged = bytearray(row.sealed_key or b"")
    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)  # any will do
    _write(row.id, sealed_key=bytes(damaged))
    return {row.id}


def _exchange_within_a_user(alice: Person, bob: Person) -> set[int]:
    rows = [alice.add_key("openai", KEY + label, label) for label in ("a", "b")]
    exchange(rows[0].id, rows[1].id)
    return {row.id for row in rows}


def _exchange_between_providers(alice: Person, bob: Person) -> set[int]:
    rows = [alice.add_key(slug, KEY + slug, "c") for slug in ("openai", "groq")]
    exchange(rows[0].id, rows[1].id)
    return {row.id for row in rows}


def _exchange_between_users(alice: Person, bob: Person) -> set[int]:
    rows = [person.add_key("openai", KEY + person.row.email, "d") for person in (alice, bob)]
    exchange(rows[0].id, rows[1].id)
    return {row.id for row in rows}


def _give_to_another_user(alice: Person, bob: Person) -> set[int]:
    row = alice.add_key("openai", KEY, "e")
    _write(row.id, user_id=bob.id)
    return {row.id}


def _lead_to_another_provider(alice: Person, bob: Person) -> set[int]:
    """A key that can be sent to an arbitrary address is a stolen key."""
    row = alice.add_key("openai", KEY, "f")
    groq = select(ProviderRow.id).where(ProviderRow.slug == "groq").scalar_subquery()
    _write(row.id, provider_id=groq)
    return {row.id}


def _name_another_version(alice: Person, bob: Person) -> set[int]:
    row = alice.add_key("openai", KEY, "g")
    _write(row.id, vault_version=9)
    return {row.id}


WAYS = [
    _flip,
    _exchange_within_a_user,
    _exchange_between_providers,
    _exchange_between_users,
    _give_to_another_user,
    _lead_to_another_provider,
    _name_another_version,
]


@both_databases
@pytest.mark.parametrize("tamper", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_what_was_tampered_with_is_refused_and_named_and_the_rest_goes_on(
    tamper: Callable[[Person, Person], set[int]], run: Run, alice: Person, bob: Person, means: SyncContext
) -> None:
    whole = {alice.add_key("openai", KEY + "1", "whole").id, bob.add_key("openai", KEY + "2", "whole").id}
    db.session.commit()
    touched = tamper(alice, bob)
    db.session.commit()
    for person in (alice, bob):
        synced(person, means)
    results = select(ResultRow.credential_id, ResultRow.outcome, ResultRow.error_code)
    came = {number: (outcome, code) for number, outcome, code in db.session.execute(results)}
    assert {number for number, (_, code) in came.items() if code == "key_unopenable"} == touched
    assert {came[number] for number in whole} == {("complete", None)}
    db.session.rollback()
    found = findings(run, code=1)["API keys"]["says"]
    assert f"{len(touched)} of {len(touched | whole)} do not open" in found
    assert all(str(number) in found for number in touched)
    assert set(key_rotation.check_keys(means.vault, clock.utc_now()).unopenable) == touched


@both_databases
def test_no_key_is_sent_to_an_address_that_was_written_beside_it(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    """Who can write the database reads no key, and is not to have one sent to them either."""
    led, whole = alice.add_key("openai", KEY, "led away"), alice.add_key("openai", KEY + "1", "whole")
    _write(led.id, base_url=simulator.base_urls["groq"])
    db.session.commit()
    before = simulator.requests("groq")
    synced(alice, means)
    results = select(ResultRow.credential_id, ResultRow.outcome, ResultRow.error_code)
    came = {number: (outcome, code) for number, outcome, code in db.session.execute(results)}
    assert came == {led.id: ("failed", "no_address"), whole.id: ("complete", None)}
    assert simulator.requests("groq") == before


@both_databases
def test_a_rotation_refuses_what_was_tampered_with_and_does_not_heal_it(
    run: Run, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch, vault: Keyring
) -> None:
    whole = alice.add_key("openai", KEY, "whole").id
    touched = _exchange_between_users(alice, bob)
    db.session.commit()
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", f"{NEW},{os.environ['VAULT_PRIVATE_KEYS']}")
    done = key_rotation.rotate(Keyring(os.environ["VAULT_PRIVATE_KEYS"]), clock.utc_now)
    assert {key.credential_id for key in done.unopenable} == touched and done.removable == []
    versions = {key.credential_id: key.version for batch in rotation.iter_batches() for key in batch}
    assert versions == {whole: 2, **dict.fromkeys(touched, 1)}
    db.session.rollback()
    assert repr(done.unopenable[0]) == f"<key {min(touched)}, sealed by version 1>"

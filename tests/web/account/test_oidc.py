"""Signing in at an OpenID provider: who gets in, who does not, and whose account it leads to."""

from __future__ import annotations

import dataclasses
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask import Flask
from sqlalchemy import func, select

from app import clock, config, create_app
from app.auth.settings import OpenIdProvider
from app.extensions import db, limiter
from app.store import audit
from app.store.accounts import identities, tokens, users
from app.store.accounts.identities import IdentityRow
from app.store.schema.tables import UserRow
from app.web.account import login
from tests.conftest import PASSWORD, Browser, Person, both_databases
from tests.web.account.openid_provider import CLIENT_ID, CLIENT_SECRET, FakeOpenIdProvider
from tests.web.text_browser import Plainly, words

DORA = "dora@example.com"
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP: to load the machine's authorities, as httpx does for each call, would take longer than all else."""
_UNPROVEN = "What the sign-in server answered cannot be trusted, so nobody was signed in."
_AWAY = "The sign-in server cannot be reached or does not answer as it should."
_EXPIRED = "That sign-in took too long, or was used already."


@pytest.fixture
def provider() -> Iterator[FakeOpenIdProvider]:
    with FakeOpenIdProvider() as provider:
        yield provider


@pytest.fixture
def make(app: Flask, provider: FakeOpenIdProvider) -> Iterator[Callable[..., Flask]]:
    """The same installation with sign-in at the provider; fields of OpenId can be set."""
    made: list[Flask] = []

    def another(require: Any = "off", **fields: Any) -> Flask:
        oidc = OpenIdProvider(
            provider.issuer, CLIENT_ID, CLIENT_SECRET, **{"title": "Example ID", "signup": True, **fields}
        )
        settings = dataclasses.replace(
            app.config["SETTINGS"], public_url="http://localhost", oidc=oidc, require_second_factor=require
        )
        house = create_app(settings)
        house.config["TESTING"] = True
        house.test_client_class = Browser
        made.append(house)
        return house

    yield another
    for house in made:
        with house.app_context():
            db.engine.dispose()


def at_the_provider(client: Any, path: str = "/oidc/start") -> str:
    """Go to the provider, be signed in there; the address it sends the browser back to."""
    there = client.get(path)
    assert there.status_code == 303, there.text
    return str(httpx.get(there.location, verify=_NO_TLS).headers["Location"])


def back(client: Any, address: str) -> Any:
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc, parts.path) == ("http", "localhost", "/oidc/callback")
    return client.get(f"{parts.path}?{parts.query}")


def came_back(client: Any, path: str = "/oidc/start") -> Any:
    return back(client, at_the_provider(client, path))


def signed_in(client: Any) -> bool:
    return client.get("/profile").status_code == 200


def rows() -> tuple[int, int]:
    db.session.rollback()
    count = db.session.scalar
    return count(select(func.count(UserRow.id))) or 0, count(select(func.count(IdentityRow.id))) or 0


# ------------------------------------------------------------------ getting in


@both_databases
def test_a_first_sign_in_creates_an_account_and_later_ones_reuse_it(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, carol: Person
) -> None:
    house = make()
    page = Plainly(house.test_client()).open("/login")
    assert "Sign in with Example ID" in page.words
    answer = came_back(page.client, "/oidc/start?next=/history")
    assert (answer.status_code, answer.location) == (303, "/history")
    assert signed_in(page.client)
    dora = users.find_by_email(DORA)
    assert dora is not None and not dora.is_admin and not dora.has_password
    provider.who["email"] = "dora.married@example.com"  # the subject says who it is, not the address
    again = house.test_client()
    assert came_back(again).status_code == 303
    assert "dora@example.com" in again.get("/settings").text
    assert rows() == (2, 1)
    known = identities.find_by_user(dora.id)
    assert known is not None and known.email == "dora.married@example.com"


def test_the_address_can_come_from_the_user_info(make: Callable[..., Flask], provider: FakeOpenIdProvider) -> None:
    provider.info = provider.who | {"email_verified": "true"}
    client = make().test_client()
    assert came_back(client).status_code == 303 and signed_in(client)
    provider.info = provider.who | {"sub": "somebody else"}
    other = make().test_client()
    answer = came_back(other)
    assert answer.status_code == 422 and _UNPROVEN in words(answer.text) and not signed_in(other)


def test_a_provider_that_wants_the_secret_in_the_form_gets_it_there(
    make: Callable[..., Flask], provider: FakeOpenIdProvider
) -> None:
    provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    client = make().test_client()
    assert came_back(client).status_code == 303 and signed_in(client)


def test_a_new_key_of_the_provider_is_fetched_when_it_is_first_used(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make()
    assert came_back(house.test_client()).status_code == 303
    assert came_back(house.test_client()).status_code == 303
    assert provider.asked.count("/jwks") == 1 and provider.asked.count("/.well-known/openid-configuration") == 1
    provider.new_key()
    assert came_back(house.test_client()).status_code == 422  # asked a moment ago: nobody makes us ask at will
    later = time.monotonic() + 61
    monkeypatch.setattr("app.auth.openid.time.monotonic", lambda: later)
    assert came_back(house.test_client()).status_code == 303
    assert provider.asked.count("/jwks") == 2


def test_the_way_there_holds_state_nonce_and_challenge_but_no_secret(
    make: Callable[..., Flask], provider: FakeOpenIdProvider
) -> None:
    client = make().test_client()
    first, second = client.get("/oidc/start").location, client.get("/oidc/start").location
    asked = [{name: values[0] for name, values in parse_qs(urlsplit(one).query).items()} for one in (first, second)]
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[0][name]) >= 43 and asked[0][name] != asked[1][name]
    assert asked[0]["redirect_uri"] == "http://localhost/oidc/callback"
    assert "secret" not in first and "verifier" not in first
    forged = client.get("/oidc/start", headers={"Host": "127.0.0.1"}).location
    assert "127.0.0.1%2Foidc" not in forged and "localhost%2Foidc%2Fcallback" in forged


# ------------------------------------------------------------------ what cannot be trusted


def _set(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda claims: claims.update(changes)


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda claims: claims.pop(name)


@pytest.mark.parametrize(
    "change",
    [
        _set(nonce="of another sign-in"),
        _drop("nonce"),
        _set(aud="another client"),
        _set(aud=["another client", "and another"]),
        _set(aud=[CLIENT_ID, "another client"], azp="another client"),
        _drop("aud"),
        _set(iss="https://another.example"),
        _drop("iss"),
        _set(exp=int(time.time()) - 3_600),
        _set(exp="tomorrow"),
        _drop("exp"),
        _set(nbf=int(time.time()) + 3_600),
        _drop("sub"),
        _set(sub=""),
        _set(sub=7),
        _set(sub="x" * 256),
        _set(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    ],
)
def test_an_id_token_that_is_not_for_this_sign_in_lets_nobody_in(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, change: Callable[[dict[str, Any]], None]
) -> None:
    provider.change = change
    client = make().test_client()
    before = rows()
    answer = came_back(client)
    assert answer.status_code == 422 and _UNPROVEN in words(answer.text)
    assert not signed_in(client) and rows() == before


@pytest.mark.parametrize("way", ["unsigned", "signed_by_the_client_secret", "signed_by_another"])
def test_an_id_token_without_the_providers_own_signature_lets_nobody_in(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, way: str
) -> None:
    provider.write = getattr(provider, way)
    client = make().test_client()
    answer = came_back(client)
    assert answer.status_code == 422 and _UNPROVEN in words(answer.text) and not signed_in(client)


@pytest.mark.parametrize("written", ["", "x", "a.b.c", "e30.e30.", "é.é.é"])
def test_what_is_no_token_is_refused_calmly(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, written: str
) -> None:
    provider.write = lambda _claims: written
    assert came_back(make().test_client()).status_code == 422


def test_a_way_back_is_good_once_and_only_in_the_browser_that_went_there(
    make: Callable[..., Flask], provider: FakeOpenIdProvider
) -> None:
    house = make()
    client, address = house.test_client(), ""
    address = at_the_provider(client)
    thief = house.test_client()
    assert _EXPIRED in words(back(thief, address).text) and not signed_in(thief)
    thief.get("/oidc/start")
    answer = back(
        thief, address
    )  # its own attempt, the state of another: somebody else's account would be forced on it
    assert answer.status_code == 422 and _UNPROVEN in words(answer.text) and not signed_in(thief)
    assert "/token" not in provider.asked
    assert back(client, address).status_code == 303
    client.post("/logout", data={"csrf_token": _token(client)})
    replayed = back(client, address)
    assert replayed.status_code == 422 and _EXPIRED in words(replayed.text) and not signed_in(client)
    assert provider.asked.count("/token") == 1


def _token(client: Any) -> str:
    return str(client.get("/profile").text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0])


def test_a_way_back_that_took_too_long_is_refused(make: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    client = make().test_client()
    address = at_the_provider(client)
    later = clock.utc_now() + timedelta(minutes=11)
    monkeypatch.setattr(clock, "utc_now", lambda: later)
    assert _EXPIRED in words(back(client, address).text)


def test_a_code_of_another_browser_does_not_fit_the_verifier(
    make: Callable[..., Flask], provider: FakeOpenIdProvider
) -> None:
    house = make()
    victim, thief = house.test_client(), house.test_client()
    stolen = parse_qs(urlsplit(at_the_provider(victim)).query)["code"][0]
    own = parse_qs(urlsplit(at_the_provider(thief)).query)["state"][0]
    answer = thief.get("/oidc/callback", query_string={"code": stolen, "state": own})
    assert answer.status_code == 422 and not signed_in(thief)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"error": "access_denied", "error_description": "<b>no</b>"}, 422),
        ({"code": ""}, 422),
        ({"code": "made-up"}, 422),
        ({"state": "forged"}, 422),
        ({"state": ""}, 422),
        ({"iss": "https://another.example"}, 422),
    ],
)
def test_an_odd_way_back_is_a_sentence(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, answer: dict[str, str], status: int
) -> None:
    provider.answer = answer
    client = make().test_client()
    page = came_back(client)
    assert page.status_code == status and 'role="alert"' in page.text and "<b>no" not in page.text
    assert not signed_in(client)


def test_an_issuer_that_says_it_names_itself_must(make: Callable[..., Flask], provider: FakeOpenIdProvider) -> None:
    provider.metadata["authorization_response_iss_parameter_supported"] = True
    assert came_back(make().test_client()).status_code == 422
    provider.answer = {"iss": provider.issuer}
    assert came_back(make().test_client()).status_code == 303


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/jwks"])
def test_a_provider_in_trouble_is_a_sentence(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider.broken = {path}
    client = make().test_client()
    answer = client.get("/oidc/start") if "known" in path else came_back(client)
    assert answer.status_code == 502 and _AWAY in words(answer.text)
    assert CLIENT_SECRET not in caplog.text and "an-access-token" not in caplog.text


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://another.example"},
        {"token_endpoint": "http://another.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
    ],
)
def test_a_provider_that_says_odd_things_of_itself_is_not_used(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    assert make().test_client().get("/oidc/start").status_code == 502


def test_an_answer_that_does_not_end_is_given_up(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.metadata["padding"] = "x" * 600_000
    assert make().test_client().get("/oidc/start").status_code == 502
    provider.metadata.clear()
    monkeypatch.setattr("app.auth.openid._TOTAL_TIMEOUT_S", 0.0)
    assert make().test_client().get("/oidc/start").status_code == 502


# ------------------------------------------------------------------ whose account it is


def test_an_unverified_address_neither_creates_nor_opens_an_account(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, alice: Person
) -> None:
    house = make(link_by_email=True)
    before = rows()
    for who in (
        {"sub": "1", "email": DORA, "email_verified": False},
        {"sub": "1", "email": DORA},
        {"sub": "1", "email": alice.row.email, "email_verified": False},
        {"sub": "1", "email": alice.row.email, "email_verified": 1.5},
        {"sub": "1"},
    ):
        provider.who = who
        client = house.test_client()
        answer = came_back(client)
        assert answer.status_code == 422 and "does not vouch for your e-mail address" in words(answer.text)
        assert not signed_in(client)
    assert rows() == before


def test_an_account_with_a_password_is_not_entered_by_its_address(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, alice: Person
) -> None:
    provider.who["email"] = alice.row.email.upper()
    client = make().test_client()
    answer = came_back(client)
    assert answer.status_code == 422 and "There is an account with your e-mail address." in words(answer.text)
    assert not signed_in(client) and rows()[1] == 0


@both_databases
def test_linking_by_verified_address_is_opt_in_and_ends_existing_access(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, alice: Person
) -> None:
    """Somebody may have signed up with her address and waited for her to come."""
    alice.sign_in()
    token = tokens.create(alice.id, "planted", ("read",), clock.utc_now())
    db.session.commit()
    assert token is not None
    provider.who["email"] = alice.row.email
    house = make(link_by_email=True)
    client = house.test_client()
    answer = came_back(client)
    assert answer.status_code == 303 and signed_in(client)
    assert not signed_in(alice.client)
    assert alice.post("/login", email=alice.row.email, password=PASSWORD).status_code == 422
    assert client.get("/api/v1/keys", headers={"Authorization": f"Bearer {token[1]}"}).status_code == 401
    assert (audit.list_entries()[0][0].actor, audit.list_entries()[0][0].subject) == ("automatic", alice.row.email)
    assert came_back(house.test_client()).status_code == 303


def test_somebody_without_an_account_stays_out_where_signing_in_makes_none(
    make: Callable[..., Flask], carol: Person
) -> None:
    client = make(signup=False).test_client()
    answer = came_back(client)
    assert answer.status_code == 422 and "You have no account here" in words(answer.text)
    assert not signed_in(client) and users.find_by_email(DORA) is None


@pytest.mark.parametrize(
    "email", ["a@b.example, c@d.example", "a@b.example\r\nBcc: c@d.example", "a b@c.example", "@", "a@b@c"]
)
def test_what_is_no_single_address_makes_no_account(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, email: str, carol: Person
) -> None:
    """Letters would go to all of them."""
    provider.who |= {"email": email, "email_verified": True}
    client = make().test_client()
    before = rows()
    assert came_back(client).status_code == 422
    assert rows() == before and not signed_in(client)


def test_only_addresses_of_the_allowed_domains_get_in_also_later(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, carol: Person
) -> None:
    house = make(allowed_domains=("example.com",))
    assert came_back(house.test_client()).status_code == 303
    for email, verified in (("dora@evil.example", True), ("dora@sub.example.com", True), (DORA, False)):
        provider.who |= {"email": email, "email_verified": verified}
        client = house.test_client()
        answer = came_back(client)
        assert answer.status_code == 422 and "may not sign in here" in words(answer.text), email
        assert not signed_in(client)


def test_a_disabled_account_stays_out(make: Callable[..., Flask], carol: Person) -> None:
    house = make()
    assert came_back(house.test_client()).status_code == 303
    dora = users.find_by_email(DORA)
    assert dora is not None
    dora.disabled_at = clock.utc_now()
    db.session.commit()
    client = house.test_client()
    answer = came_back(client)
    assert answer.status_code == 422 and "This account is disabled." in words(answer.text) and not signed_in(client)


def test_a_person_links_their_account_with_their_password_and_unlinks_it(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, alice: Person
) -> None:
    provider.who["email"] = "private@elsewhere.example"
    house = make(signup=False)
    page = Plainly(house.test_client()).open("/login").submit("/login", email=alice.row.email, password=PASSWORD)
    assert page.client.get("/oidc/start").location == "/profile"  # signed in, and nothing was said of linking
    page.open("/settings").submit("/settings/oidc/link", password="wrong wrong")
    assert "The password is not right; nothing was linked." in page.words
    page.submit("/settings/oidc/link", password=PASSWORD)
    assert "Go on to Example ID" in page.words
    answer = came_back(page.client)
    assert (answer.status_code, answer.location) == (303, "/settings#elsewhere")
    assert audit.list_entries()[0][0].after == {"signing in elsewhere": "linked"}
    assert "private@elsewhere.example" in page.open("/settings").words
    elsewhere = house.test_client()
    assert came_back(elsewhere).status_code == 303
    assert alice.row.email in elsewhere.get("/settings").text
    page.submit("/settings/oidc/unlink", password="wrong wrong")
    assert rows()[1] == 1
    page.submit("/settings/oidc/unlink", password=PASSWORD)
    assert "Your account is not linked any more" in page.words and rows()[1] == 0
    assert audit.list_entries()[0][0].after == {"signing in elsewhere": "unlinked"}


def test_one_sign_in_elsewhere_leads_to_one_account(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, alice: Person, bob: Person
) -> None:
    house = make()
    for person, status in ((alice, 303), (bob, 422)):
        page = Plainly(house.test_client()).open("/login").submit("/login", email=person.row.email, password=PASSWORD)
        page.open("/settings").submit("/settings/oidc/link", password=PASSWORD)
        assert came_back(page.client).status_code == status
    assert [row.user_id for row in db.session.scalars(select(IdentityRow))] == [alice.id]


def test_a_link_that_was_begun_ends_with_the_session(
    make: Callable[..., Flask], provider: FakeOpenIdProvider, alice: Person
) -> None:
    page = Plainly(make().test_client()).open("/login").submit("/login", email=alice.row.email, password=PASSWORD)
    page.open("/settings").submit("/settings/oidc/link", password=PASSWORD)
    address = at_the_provider(page.client)
    users.end_sessions(alice.row)
    db.session.commit()
    assert back(page.client, address).status_code == 422
    assert rows()[1] == 0


def test_who_has_no_password_chooses_one_soon_after_signing_in_and_not_later(
    make: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, carol: Person
) -> None:
    house = make()
    page = Plainly(house.test_client())
    came_back(page.client)
    page.open("/settings")
    assert "You have none yet." in page.words and "Current password" not in page.words
    page.submit("/settings/oidc/unlink") if "/settings/oidc/unlink" in page.html else None
    assert rows()[1] == 1
    with monkeypatch.context() as later:
        moment = clock.utc_now() + login._RECENT_LOGIN + timedelta(seconds=1)
        later.setattr(clock, "utc_now", lambda: moment)
        page.submit("/profile/password", password="a fine new password")
        assert "sign in again and do it within ten minutes" in page.words
    page.submit("/profile/password", password="a fine new password")
    assert "Your password is changed." in page.words
    dora = users.find_by_email(DORA)
    db.session.refresh(dora)
    assert dora is not None and dora.has_password


def test_an_account_without_a_password_is_not_entered_by_one(make: Callable[..., Flask], carol: Person) -> None:
    house = make()
    came_back(house.test_client())
    for password in ("", "!", "x" * 12):
        client = house.test_client()
        page = client.get("/login").text
        token = page.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
        data = {"csrf_token": token, "email": DORA, "password": password}
        assert client.post("/login", data=data).status_code == 422


def test_going_there_is_bounded_per_network(make: Callable[..., Flask], provider: FakeOpenIdProvider) -> None:
    assert limiter.enabled
    client = make().test_client()
    codes = [client.get("/oidc/callback").status_code for _ in range(61)]
    assert codes == [422] * 60 + [429]


def test_without_a_provider_there_is_no_such_door(app: Flask, alice: Person) -> None:
    assert config.current().oidc is None
    assert "OpenID" not in app.test_client().get("/login").text
    assert app.test_client().get("/oidc/start").status_code == 404
    alice.sign_in()
    assert alice.post("/settings/oidc/link", password=PASSWORD).status_code == 404
    assert "elsewhere" not in alice.client.get("/settings").text

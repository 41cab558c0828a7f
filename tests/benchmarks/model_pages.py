"""The page of models at 20,000 models beside the same page at 200: the server's time, whole and by what is asked."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from app import config, create_app
from app.auth import passwords
from app.catalog.listing import ListedModel, Listing, build_listing
from app.cli.install import set_up
from app.extensions import db
from app.store import catalog, credentials, listed_models, listings
from app.store.accounts import favorites, users
from app.store.schema.tables import UserRow
from app.vault import ApiKey, Keyring, PublicKey, generate_private_key

ROUNDS = 15
FEW, MANY = 200, 20_000
PROVIDERS = 10
PASSWORD = "a password of a benchmark"
PATHS = {
    "/models": "/models",
    "… a search": "/models?q=lab+7",
    "… dearest first": "/models?sort=-price",
    "… starred": "/models?marks=starred",
}


def rows() -> list[tuple[str, str]]:
    """Medians of fifteen pages each, in ms of processor time, with the ratio of many to few: the database works in this
    process, and what else the machine does would be measured as well."""
    few, many = measured(FEW), measured(MANY)
    return [
        (
            f"{name} with {FEW:,} and {MANY:,} models",
            f"{1e3 * few[name]:.1f} and {1e3 * many[name]:.1f} ms: {many[name] / few[name]:.2f} ×",
        )
        for name in few
    ]


def measured(count: int) -> dict[str, float]:
    """Seconds of each page for someone whose ten keys list so many models, three of them hidden and two starred."""
    with _installation() as (app, vault):
        client = signed_in(app, _person(vault, count))
        return {name: _median(client, path) for name, path in PATHS.items()}


@contextmanager
def _installation() -> Iterator[tuple[Flask, Keyring]]:
    vault = Keyring(generate_private_key())
    with tempfile.TemporaryDirectory() as folder:
        settings = config.Settings(
            instance=Path(folder),
            database_url=f"sqlite:///{folder}/benchmark.sqlite",
            redis_url="redis://127.0.0.1:1/0",
            secret_key="of a benchmark, for nothing else",
            vault_public_key=vault.public,
        )
        app = create_app(settings)
        set_up(app)
        with app.app_context():
            yield app, vault
            db.session.remove()
            db.engine.dispose()


def _person(vault: Keyring, count: int) -> UserRow:
    now = datetime.now(UTC)
    user = users.create("measure@example.com", passwords.hash_password(PASSWORD), now)
    if user is None:
        raise RuntimeError("the benchmark needs an empty database")
    providers = list(credentials.providers_by_slug().values())[:PROVIDERS]
    _, index = catalog.load_index()
    for provider in providers:
        secret = ApiKey("sk-key-of-a-benchmark")
        row = credentials.add(user.id, provider, "", secret, PublicKey(vault.public), now)
        if row is None:
            raise RuntimeError("the key is there already")
        listing = _listing(provider.slug, count // len(providers))
        row.listing_id, row.listed_at = listings.save(provider.id, listing, now).id, now
        listed_models.materialise(row.listing_id, provider.slug, provider.id, listing, index)
    for number, mark in enumerate(("hidden", "hidden", "hidden", "starred", "starred")):
        favorites.set_mark(user.id, providers[0].slug, f"lab/{providers[0].slug}-{number}", mark, None, now)  # type: ignore[arg-type]
    db.session.commit()
    return user


def _listing(slug: str, count: int) -> Listing:
    models = [
        ListedModel(id=f"lab/{slug}-{number}", context_length=1_000 * number, input_per_million=Decimal(number))
        for number in range(count)
    ]
    return build_listing(slug, models)


def signed_in(app: Flask, user: UserRow) -> FlaskClient:
    """Someone's browser, signed in by the page as a person does."""
    email = user.email
    db.session.remove()
    client = app.test_client()
    token = client.get("/login").text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    answer = client.post("/login", data={"csrf_token": token, "email": email, "password": PASSWORD})
    if answer.status_code != 303:
        raise RuntimeError(f"signing in answered {answer.status_code}")
    return client


def _median(client: FlaskClient, path: str) -> float:
    took = []
    for _ in range(ROUNDS):
        start = time.process_time()
        with client.application.app_context():  # of its own, as a server has it: nothing is known from the last one
            answer = client.get(path, headers={"HX-Request": "true"})
        took.append(time.process_time() - start)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")
    return statistics.median(took)

"""A browser that is signed in without the page: for tests and benchmarks that are not about signing in."""

from __future__ import annotations

from datetime import UTC, datetime

from flask.testing import FlaskClient

from app.extensions import db
from app.store.accounts import sessions
from app.store.schema.tables import UserRow


def sign_in(client: FlaskClient, user: UserRow) -> None:
    """To be called in an app context; commits."""
    token = sessions.create(user.id, "a test", "127.0.0.1", datetime.now(UTC))
    db.session.commit()
    with client.session_transaction() as session:
        session["_user_id"], session["_fresh"], session["session_token"] = user.get_id(), True, token

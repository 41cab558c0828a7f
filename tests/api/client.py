"""A client with a personal token, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.extensions import db
from app.store.accounts import tokens
from app.store.accounts.tokens import TokenRow
from tests.conftest import Person


@dataclass
class ApiClient:
    """Authenticates by token alone, without cookies."""

    person: Person
    row: TokenRow
    text: str

    def ask(self, path: str, method: str = "GET", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.text}", **more.pop("headers", {})}
        return self.person.app.test_client().open(path, method=method, headers=headers, **more)

    def read(self, path: str) -> Any:
        answer = self.ask(path)
        assert answer.status_code == 200, answer.text
        return answer.json

    def walk(self, path: str, size: int) -> Iterator[list[Any]]:
        """The pages of a list, by the cursor in the body; checks that the Link header leads to the same."""
        separator = "&" if "?" in path else "?"
        answer = self.ask(f"{path}{separator}limit={size}")
        while True:
            assert answer.status_code == 200, answer.text
            page = answer.json
            assert len(page["data"]) <= size
            yield page["data"]
            if page["next"] is None:
                assert "Link" not in answer.headers
                return
            target, _, relation = answer.headers["Link"].partition(">; ")
            assert relation == 'rel="next"'
            by_cursor = self.ask(f"{path}{separator}limit={size}&after={page['next']}")
            answer = self.ask(target.removeprefix("<"))
            assert answer.json == by_cursor.json


def create_client(person: Person, *scopes: str, days: int | None = None, now: datetime | None = None) -> ApiClient:
    created = tokens.create(person.id, "a program", scopes or ("read",), now or datetime.now(UTC), days)
    assert created is not None
    db.session.commit()
    return ApiClient(person, *created)

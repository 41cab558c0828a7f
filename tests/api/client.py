"""A program with a personal token, for tests."""

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
    """Acts by a token alone, without any cookie."""

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
        """The pages of a list, by the cursor in the body; the Link header leads to the same."""
        joint = "&" if "?" in path else "?"
        answer = self.ask(f"{path}{joint}limit={size}")
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
            by_cursor = self.ask(f"{path}{joint}limit={size}&after={page['next']}")
            answer = self.ask(target.removeprefix("<"))
            assert answer.json == by_cursor.json


def create_client(person: Person, *scopes: str, days: int | None = None, now: datetime | None = None) -> ApiClient:
    made = tokens.create(person.id, "a program", scopes or ("read",), now or datetime.now(UTC), days)
    assert made is not None
    db.session.commit()
    return ApiClient(person, *made)

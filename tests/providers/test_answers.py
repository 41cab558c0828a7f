"""Every answer file of every provider is read to exactly the models beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.providers import PROVIDERS
from app.providers.contract import Page

FOLDER = Path(__file__).parent / "answers"
EXPECTED = ".expected.json"


def files_of(slug: str) -> list[Path]:
    return [path for path in sorted((FOLDER / slug).glob("*.json")) if not path.name.endswith(EXPECTED)]


def told(page: Page) -> dict[str, Any]:
    """A page in the words of the expectation files."""
    return {
        "chat": sum(model.kind == "chat" for model in page.models),
        "next": page.next,
        "skipped": [[skipped.entry, skipped.reason] for skipped in page.skipped],
        "models": [json.loads(msgspec.json.encode(model)) for model in page.models],
    }


@pytest.mark.parametrize("slug", list(PROVIDERS))
def test_every_provider_has_an_answer(slug: str) -> None:
    assert files_of(slug), f"put one answer into tests/providers/answers/{slug}/"


@pytest.mark.parametrize(
    "path",
    [path for slug in PROVIDERS for path in files_of(slug)],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_an_answer_is_read_to_exactly_its_models(path: Path) -> None:
    read, beside = told(PROVIDERS[path.parent.name].read(path.read_bytes())), path.with_name(path.stem + EXPECTED)
    assert beside.is_file(), (
        f"check this and put it into {beside.name}:\n{json.dumps(read, ensure_ascii=False, indent=1)}"
    )
    assert read == json.loads(beside.read_text(encoding="utf-8"))


def test_no_expectation_is_left_without_its_answer() -> None:
    for path in FOLDER.glob(f"*/*{EXPECTED}"):
        assert path.with_name(path.name.replace(EXPECTED, ".json")).is_file()


def test_every_folder_of_answers_belongs_to_a_provider() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} <= set(PROVIDERS)


@pytest.mark.parametrize("slug", list(PROVIDERS))
def test_every_reason_for_a_kind_is_told(slug: str) -> None:
    for path in files_of(slug):
        for model in PROVIDERS[slug].read(path.read_bytes()).models:
            assert model.kind_reason

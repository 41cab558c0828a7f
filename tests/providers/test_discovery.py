"""Providers are found: those of this folder, and those that installed packages name as entry points."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.providers import ENTRY_POINT_GROUP, PROVIDERS, ProviderLoadError, contract, load_providers
from app.providers.contract import Provider

MODULE = """
from app.providers.contract import Provider
from app.providers.field_map import IDS

PROVIDER = Provider(
    slug="{slug}",
    title="Acme",
    site="https://acme.example",
    keys_url="https://acme.example/keys",
    key_hint="acme-…",
    base_url="https://api.acme.example/v1",
    read=IDS,
)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, slug: str = "acme", target: str = "PROVIDER") -> None:
    """A package as pip would leave it: a module, and metadata that names its entry point."""
    (folder / "modelsync_acme.py").write_text(MODULE.format(slug=slug), encoding="utf-8")
    info = folder / "modelsync_acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: modelsync-acme\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\nacme = modelsync_acme:{target}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "modelsync_acme", raising=False)


def test_every_file_of_the_folder_with_a_provider_is_found() -> None:
    folder = Path(contract.__file__).parent
    files = {path for path in folder.glob("*.py") if "\nPROVIDER = " in path.read_text(encoding="utf-8")}
    assert {slug.replace("-", "_") for slug in PROVIDERS} == {path.stem for path in files}


def test_providers_are_sorted_by_rank_then_slug() -> None:
    order = [(provider.rank, slug) for slug, provider in PROVIDERS.items()]
    assert order == sorted(order)


def test_an_installed_package_adds_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    loaded = load_providers()
    assert loaded["acme"].title == "Acme"
    assert {slug: provider for slug, provider in loaded.items() if slug != "acme"} == PROVIDERS
    page = loaded["acme"].read(b'{"data": [{"id": "acme-1"}]}')
    assert [model.id for model in page.models] == ["acme-1"]


@pytest.mark.parametrize(
    ("slug", "target", "message"),
    [
        ("openai", "PROVIDER", "there is a provider 'openai' already"),
        ("acme", "MISSING", "MISSING"),
        ("acme", "IDS", "is a FieldMap, not a Provider"),
    ],
    ids=["a slug that is taken", "a name that is missing", "something else"],
)
def test_a_package_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slug: str, target: str, message: str
) -> None:
    install(tmp_path, monkeypatch, slug, target)
    with pytest.raises(ProviderLoadError, match=message) as error:
        load_providers()
    assert f"entry point acme = modelsync_acme:{target}" in str(error.value)


def test_a_field_that_a_provider_states_is_checked_by_its_type() -> None:
    with pytest.raises(TypeError, match="color"):
        Provider(slug="x", color="#000000")  # type: ignore[arg-type]
    assert replace(PROVIDERS["groq"], slug="two-words").key_variable == "TWO_WORDS_API_KEY"

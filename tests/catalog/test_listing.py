"""A listing's canonical form: the same content has the same address, today and in a later version."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from app.catalog.listing import (
    FORMAT,
    ListedModel,
    Listing,
    build_listing,
    canonical_form,
    fingerprint,
    parse_canonical_form,
)

FULL = ListedModel(
    id="lab/full",
    name="Full",
    kind="chat",
    kind_reason="it says so",
    context_length=128_000,
    max_output_tokens=8_192,
    input_modalities=("image", "text"),
    output_modalities=("text",),
    streaming=True,
    tools=True,
    vision=True,
    reasoning=False,
    structured_output=True,
    input_per_million=Decimal("0.15"),
    output_per_million=Decimal("0.6"),
    cache_read_per_million=Decimal(0),
    cache_write_per_million=Decimal(10),
    created_at=datetime(2026, 2, 4, tzinfo=UTC),
    deprecated_at=datetime(2026, 6, 1, tzinfo=UTC),
    retires_at=datetime(2026, 12, 31, tzinfo=UTC),
    canonical_slug="lab/full-20260204",
    hugging_face_id="Lab/Full",
    private=True,
)
PLAIN = ListedModel(id="plain", kind="embedding", kind_reason="“embedding” in its id")
MODELS = [FULL, PLAIN, *(ListedModel(id=f"model-{number}") for number in range(20))]


def address(*models: ListedModel, provider: str = "openai") -> str:
    return fingerprint(canonical_form(build_listing(provider, list(models)))).hex()


def test_the_address_of_a_listing_stays_the_same_in_later_versions() -> None:
    # Stored listings are found by these: a field that is added must have a default, so that it is left out.
    assert address(PLAIN) == "444dccbacba5b8f99def155724ef24911b902f559bc31a59d898e3eaba2c372c"
    assert (
        address(PLAIN, FULL, provider="openrouter")
        == "b07314939ab098f0470a6413fb1a96aa81007734891c4096198360fd170b6a9d"
    )
    assert address() == "7e3173f29ab077ff36d1b964e49b28905190ac35eb6eab10ddb459d81af6efc0"


def test_the_canonical_form_is_a_version_byte_and_json_without_empty_fields() -> None:
    models = '[{"id":"plain","kind":"embedding","kind_reason":"“embedding” in its id"}]'
    assert canonical_form(build_listing("openai", [PLAIN])) == (
        FORMAT + f'{{"provider":"openai","models":{models}}}'.encode()
    )


def test_a_field_that_a_later_version_adds_does_not_change_the_form() -> None:
    class Later(ListedModel, frozen=True, omit_defaults=True, kw_only=True):
        a_new_field: str | None = None

    later = Later(**{name: getattr(FULL, name) for name in FULL.__struct_fields__})
    assert canonical_form(Listing("openai", (later,))) == canonical_form(Listing("openai", (FULL,)))


def test_order_does_not_matter() -> None:
    shuffled = MODELS.copy()
    random.Random(7).shuffle(shuffled)
    assert shuffled != MODELS
    assert address(*shuffled) == address(*MODELS)


def test_descriptions_do_not_matter_and_are_dropped() -> None:
    described = msgspec.structs.replace(FULL, description="New words every week.")
    assert address(described) == address(FULL)
    assert build_listing("openai", [described]).models == (FULL,)


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "Other"},
        {"context_length": 128_001},
        {"tools": False},
        {"tools": None},
        {"input_per_million": Decimal("0.151")},
        {"retires_at": None},
        {"private": False},
    ],
)
def test_every_other_fact_matters(facts: dict[str, object]) -> None:
    assert address(msgspec.structs.replace(FULL, **facts)) != address(FULL)


def test_the_provider_matters() -> None:
    assert address(PLAIN, provider="groq") != address(PLAIN, provider="openai")


def test_a_listing_reads_back_as_it_was() -> None:
    listing = build_listing("openai", MODELS)
    assert parse_canonical_form(canonical_form(listing)) == listing
    assert canonical_form(parse_canonical_form(canonical_form(listing))) == canonical_form(listing)


def test_a_price_keeps_every_digit() -> None:
    model = ListedModel(id="exact", input_per_million=Decimal("0.000000123"))
    (read,) = parse_canonical_form(canonical_form(build_listing("openai", [model]))).models
    assert read.input_per_million == Decimal("0.000000123")


def test_fields_of_a_later_version_are_passed_over() -> None:
    form = FORMAT + b'{"provider":"openai","models":[{"id":"plain","a_new_field":1}],"more":2}'
    assert parse_canonical_form(form) == Listing("openai", (ListedModel(id="plain"),))


@pytest.mark.parametrize("form", [b"", b"\x02" + canonical_form(Listing("openai", ()))[1:], b'{"provider":"openai"}'])
def test_another_format_is_refused(form: bytes) -> None:
    with pytest.raises(ValueError, match="is not known to this version"):
        parse_canonical_form(form)


@pytest.mark.parametrize("damage", [b"", b"{}", b"null", b'{"provider":"openai","models":[{}]}'])
def test_damaged_bytes_are_refused(damage: bytes) -> None:
    with pytest.raises(ValueError):
        parse_canonical_form(FORMAT + damage)


def test_an_id_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="openai lists 'plain' twice"):
        build_listing("openai", [PLAIN, FULL, PLAIN])


def test_an_address_has_32_bytes() -> None:
    assert len(fingerprint(b"")) == 32


def test_only_chat_models_are_chat_models() -> None:
    assert build_listing("openai", [FULL, PLAIN]).chat() == [FULL]


@pytest.mark.parametrize(
    ("inputs", "outputs", "modality"),
    [
        (("text", "image"), ("text",), "text+image->text"),
        ((), (), ""),
        ((), ("speech",), "->speech"),
    ],
)
def test_modality_is_told_in_one_word(inputs: tuple[str, ...], outputs: tuple[str, ...], modality: str) -> None:
    assert ListedModel(id="x", input_modalities=inputs, output_modalities=outputs).modality == modality


def test_capabilities_are_those_the_provider_affirms() -> None:
    assert FULL.capabilities == ["streaming", "tools", "vision", "structured_output"]
    assert PLAIN.capabilities == []

"""One provider for each shape of answers: faults depend on the shape, not on the provider."""

from __future__ import annotations

import pytest

from app.providers import PROVIDERS

SHAPES = ("openai", "anthropic", "google", "groq", "openrouter", "cohere", "together")
"""The first five have an API of their own; Cohere's list has another name than `data`; Together's is a bare array."""
every_shape = pytest.mark.parametrize("slug", SHAPES)
shapes_first = pytest.mark.parametrize(
    "slug", [slug if slug in SHAPES else pytest.param(slug, marks=pytest.mark.full) for slug in PROVIDERS]
)
"""Each provider, where its own reading decides; all but one of each shape only in `.ci/full`."""

"""What is another fact in one state of the canonical catalog than in another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.catalog.matching import CanonicalModel
from app.catalog.merge import SOURCED_FIELDS

_COMPARED_FIELDS = (
    "name",
    "kind",
    "lab",
    *(field for field in SOURCED_FIELDS if field not in ("name", "kind")),
    "aliases",
    "served",
)

Difference = tuple[str, str, list[tuple[str, Any, Any]]]
"""("added" | "changed" | "removed", canonical id, [(field, before, after), …])"""


def diff_catalogs(before: Mapping[str, CanonicalModel], after: Mapping[str, CanonicalModel]) -> list[Difference]:
    """What is another fact than before, in the order of the ids. That another source says the same is none."""
    found: list[Difference] = []
    for model_id in sorted(before.keys() | after.keys()):
        old, new = before.get(model_id), after.get(model_id)
        if old is None:
            found.append(("added", model_id, []))
        elif new is None:
            found.append(("removed", model_id, []))
        elif old != new:
            fields = [
                (field, getattr(old, field), getattr(new, field))
                for field in _COMPARED_FIELDS
                if getattr(old, field) != getattr(new, field)
            ]
            if fields:
                found.append(("changed", model_id, fields))
    return found

"""The differences between two states of the canonical catalog."""

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
    """Models added, changed and removed, by id. Another source for the same value is no difference."""
    changes: list[Difference] = []
    for model_id in sorted(before.keys() | after.keys()):
        old, new = before.get(model_id), after.get(model_id)
        if old is None:
            changes.append(("added", model_id, []))
        elif new is None:
            changes.append(("removed", model_id, []))
        elif old != new:
            fields = [
                (field, getattr(old, field), getattr(new, field))
                for field in _COMPARED_FIELDS
                if getattr(old, field) != getattr(new, field)
            ]
            if fields:
                changes.append(("changed", model_id, fields))
    return changes

"""Whether the database schema matches this version of the code."""

from __future__ import annotations

import functools

from alembic.script import ScriptDirectory

from app.paths import RESOURCES

_MIGRATIONS = RESOURCES / "migrations"


@functools.cache
def code_revisions() -> list[str]:
    """The migrations of this version of the code, newest first."""
    scripts = ScriptDirectory(str(_MIGRATIONS))
    return [script.revision for script in scripts.walk_revisions()]


def is_behind(revision: str | None) -> bool:
    """Whether `flask setup` has yet to run. False for an unknown revision: during an update it is a newer version's."""
    return revision is None or revision in code_revisions()[1:]

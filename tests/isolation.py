"""Keep the user's settings and files out of the tests: an allow-list of variables, and an instance folder of its own.

Applied when `tests` is imported, which is before the app is, and inherited by the processes that the tests start.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

_ALLOWED = {
    *("CHROMIUM", "CI", "COLUMNS", "FORCE_COLOR", "HOME", "LANG", "LANGUAGE", "LINES", "LOGNAME", "NO_COLOR", "PATH"),
    *("PY_COLORS", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"),
}
_ALLOWED_PREFIXES = ("COVERAGE", "LC_", "MODELSYNC_TEST_", "PLAYWRIGHT_", "PYTEST", "PYTHON")
INSTANCE = Path(tempfile.gettempdir()) / f"modelsync-tests-{os.getpid()}" / "instance"
"""What stands for the clone's `instance/`. It never exists: a test that needs a folder names one of its own."""


def disallowed(names: Iterable[str]) -> list[str]:
    """The variables that no test may see."""
    return [name for name in names if name not in _ALLOWED and not name.startswith(_ALLOWED_PREFIXES)]


def apply() -> None:
    for name in disallowed(os.environ):
        del os.environ[name]
    os.environ.update(MODELSYNC_INSTANCE=str(INSTANCE), FLASK_SKIP_DOTENV="1")
    # The tests start many processes, and pytest rewrites all test modules: without caches each does so anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False

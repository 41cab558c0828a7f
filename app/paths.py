"""Where the code's own files are, and where data goes unless a setting says otherwise.

In a clone, `wsgi.py`, `templates/`, `static/` and `migrations/` are beside `app/`, and data is in `instance/`. The
build of a package puts them into `app/`; data then goes to the user's data folder, never beside installed code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

APP = Path(__file__).resolve().parent
ROOT = APP.parent
IS_PACKAGE = (APP / "wsgi.py").is_file()
RESOURCES = APP if IS_PACKAGE else ROOT
WSGI_MODULE = "app.wsgi" if IS_PACKAGE else "wsgi"


def base_folder(environ: Mapping[str, str]) -> Path:
    """Where relative paths in settings start, and where `.env` is: the clone, or the user's data folder."""
    if not IS_PACKAGE:
        return ROOT
    data_home = Path(environ.get("XDG_DATA_HOME") or "")
    return (data_home if data_home.is_absolute() else Path("~/.local/share").expanduser()) / "modelsync"


def instance_folder(environ: Mapping[str, str]) -> Path:
    """The instance folder, absolute. A relative path never starts at the current folder."""
    default = "." if IS_PACKAGE else "instance"
    return (base_folder(environ) / (environ.get("MODELSYNC_INSTANCE") or default)).resolve()

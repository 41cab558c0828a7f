"""gunicorn's settings: `gunicorn --config app/serving.py wsgi:app`. Its command line overrides them.

gunicorn's master reads this file without the app, and forks its workers before anything of the app is loaded, because
gevent has to patch the standard library first. That is why it loads `logs.py` by its path.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from gunicorn.glogging import Logger

_FOLDER = Path(__file__).resolve().parent


def _load_logs() -> Any:
    spec = importlib.util.spec_from_file_location("modelsync_logs", _FOLDER / "logs.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{_FOLDER / 'logs.py'} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if "FLASK_SKIP_DOTENV" not in os.environ:
    load_dotenv(_FOLDER.parent / ".env")
_logs = _load_logs()


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn publishes no types
    """gunicorn's logger in the log format of the app, also in the master and before the app is loaded."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        is_production = os.environ.get("APP_ENV") == "production"
        log_format = os.environ.get("LOG_FORMAT") or ("json" if is_production else "human")
        _logs.configure(log_format if log_format in _logs.LOG_FORMATS else "human", "INFO")


logger_class = GunicornLogger
loglevel = "warning"
worker_class = "gevent"  # a page that watches a sync holds an event stream, which must not occupy a thread
timeout = 60
graceful_timeout = 3
# Proxy headers are evaluated in the app, by TRUSTED_PROXIES. gunicorn would trust those of all requests from this
# machine, and so, through a proxy on it, of everybody: SCRIPT_NAME for the app's path, X-Forwarded-Ssl for the scheme.
forwarded_allow_ips = ""
control_socket_disable = True  # another way in, and a file in the home folder
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # for heartbeat files only

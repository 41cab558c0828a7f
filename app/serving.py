"""gunicorn's settings: `gunicorn --config app/serving.py wsgi:app`; what is given on its command line goes before them.

gunicorn's master reads this file without the app, and so forks its workers before anything of the app is loaded:
gevent has to patch the standard library first. That is why it fetches `logs.py` beside it by its path.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from gunicorn.glogging import Logger

_HERE = Path(__file__).resolve().parent


def _load_logs() -> Any:
    spec = importlib.util.spec_from_file_location("modelsync_logs", _HERE / "logs.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{_HERE / 'logs.py'} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if "FLASK_SKIP_DOTENV" not in os.environ:
    load_dotenv(_HERE.parent / ".env")
_logs = _load_logs()


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn publishes no types
    """gunicorn's master speaks in the form of all others, before and after the app is there."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        production = os.environ.get("APP_ENV") == "production"
        form = os.environ.get("LOG_FORMAT") or ("json" if production else "human")
        _logs.set_up(form if form in _logs.FORMS else "human", "INFO")


logger_class = GunicornLogger
loglevel = "warning"
worker_class = "gevent"  # a watched sync holds an event stream, which must not cost a thread
timeout = 60
graceful_timeout = 3
# Whose headers count, `TRUSTED_PROXIES` says, in the app. gunicorn would believe whoever comes from this machine, and
# so, through a proxy on it, everybody: by `SCRIPT_NAME` where the app is, by `X-Forwarded-Ssl` how it was reached.
forwarded_allow_ips = ""
control_socket_disable = True  # it would be a further door, and a file in the home folder
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # the heartbeats' alone

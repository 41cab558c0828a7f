"""What gunicorn and the `flask` command load."""

import os
import sys

from dotenv import load_dotenv

from app import config, create_app, logs, paths

if "FLASK_SKIP_DOTENV" not in os.environ:
    # The command line has read it already; variables that are set win over it.
    load_dotenv(paths.base_folder(os.environ) / ".env")

try:
    settings = config.load()
    if "FLASK_RUN_FROM_CLI" not in os.environ:
        config.require_web_secrets(settings)
    app = create_app(settings)
    if "FLASK_RUN_FROM_CLI" not in os.environ:
        logs.configure_process()
except config.ConfigError as error:
    sys.exit(str(error))

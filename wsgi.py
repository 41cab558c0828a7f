"""What gunicorn and the `flask` command load."""

import os
import sys

from dotenv import load_dotenv

from app import config, create_app, logs

if "FLASK_SKIP_DOTENV" not in os.environ:
    load_dotenv(config.ROOT / ".env")  # the `flask` command has read it already; what is set goes before it

try:
    settings = config.load()
    if "FLASK_RUN_FROM_CLI" not in os.environ:
        config.require_web_secrets(settings)
    app = create_app(settings)
    if "FLASK_RUN_FROM_CLI" not in os.environ:
        logs.configure_process()
except config.ConfigError as error:
    sys.exit(str(error))

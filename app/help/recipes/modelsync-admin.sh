#!/usr/bin/env bash
# Runs a Modelsync command with the settings and the user of the workers: sudo ./modelsync-admin.sh doctor
set -euo pipefail
exec systemd-run --pipe --wait --collect -p User=modelsync-work -p WorkingDirectory=/srv/modelsync -p UMask=0077 \
  -p EnvironmentFile=/etc/modelsync/common.env -p EnvironmentFile=/etc/modelsync/work.env \
  -E MODELSYNC_ROLE=worker -E FLASK_SKIP_DOTENV=1 /srv/modelsync/.venv/bin/flask "$@"

"""Deployment files: shown at /help/deploy, printed by `flask recipes NAME`, linted by tests/test_recipes.py."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

_TITLES = {
    "common.env": "/etc/modelsync/common.env, settings of all processes",
    "web.env": "/etc/modelsync/web.env, secrets of the web server",
    "work.env": "/etc/modelsync/work.env, secrets of the workers",
    "modelsync-web.service": "systemd unit of the web server",
    "modelsync-work.service": "systemd unit of the workers",
    "modelsync-schedule.service": "systemd unit of the scheduler",
    "modelsync-admin.sh": "runs a command as the workers do",
    "Dockerfile": "image of all processes",
    ".dockerignore": "what stays out of the image",
    "compose.yaml": "PostgreSQL, Redis, web server, workers and scheduler",
    "nginx.conf": "reverse proxy",
    "Caddyfile": "reverse proxy with automatic TLS",
    "crontab": "syncs by cron",
    "model-sync.service": "systemd unit that syncs the catalog once",
    "model-sync.timer": "systemd timer that starts it daily",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One deployment file."""

    name: str
    title: str
    text: str


def load_recipes() -> dict[str, Recipe]:
    """Returns every recipe by its file name."""
    folder = files(__name__)
    return {
        name: Recipe(name, title, folder.joinpath(name).read_text(encoding="utf-8")) for name, title in _TITLES.items()
    }

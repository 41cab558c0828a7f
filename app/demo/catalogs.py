"""Simulated public catalogs for the demo and the tests, so that nothing leaves the machine.

`data/*.json` are written by hand in the formats of the real catalogs (see `app/catalog/sources/`). The facts of real
models are those of the shipped seed; "Claude Demo 1" is made up, so that a demo's catalog has changes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from app.demo.faults import encode_json
from app.demo.listings import DATA

PATH = "/_catalogs/"
NAMES = ("modelsdev", "litellm", "openrouter", "aihubmix")


def load_document(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_bytes())


@dataclass
class CatalogServer:
    """Serves the catalogs with ETags. Tests may replace bodies and statuses."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    """Catalog → status of a simulated failure."""
    conditional: list[str] = field(default_factory=list)
    """Catalogs requested with If-None-Match, in order."""
    on_request: Callable[[str], None] | None = None

    def reset(self) -> None:
        self.bodies = {name: encode_json(load_document(name)) for name in NAMES}
        self.statuses.clear()
        self.conditional.clear()
        self.on_request = None

    def answer(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        """Answer a GET: 304 for a matching ETag; gzip if accepted."""
        if self.on_request:
            self.on_request(name)
        status = self.statuses.get(name, 200 if name in self.bodies else 404)
        body = self.bodies.get(name, b"")
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if requested := handler.headers.get("If-None-Match"):
            self.conditional.append(name)
            if requested == etag and status == 200:
                status, body = 304, b""
        if body and "gzip" in (handler.headers.get("Accept-Encoding") or ""):
            body = gzip.compress(body, 6)
        handler.send_response(status)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Type", "application/json")
        if status != 304:
            handler.send_header("Content-Length", str(len(body)))
            handler.send_header("Content-Encoding", "gzip" if body else "identity")
        handler.end_headers()
        handler.wfile.write(body)


def catalog_urls(port: int) -> dict[str, str]:
    """Catalog → URL at a simulator on this port."""
    return {name: f"http://127.0.0.1:{port}{PATH}{name}" for name in NAMES}

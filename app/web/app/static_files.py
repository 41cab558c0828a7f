"""Static files under content-hashed names, so that browsers cache them forever, and compressed once.

`url_for("static", filename="style.css")` gives `/static/style.<hash>.css`, whose content never changes. The plain name
works too, with a short cache lifetime. Files are read and hashed once per process; in debug mode again after an edit.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import brotli
from flask import Flask, Response, abort, current_app, request
from flask.sessions import SecureCookieSessionInterface
from werkzeug.security import safe_join

IMMUTABLE = "public, max-age=31536000, immutable"
SHORT_LIVED = "public, max-age=3600"
_DIGEST_LENGTH = 12
_HASHED = re.compile(rf"(?P<stem>.+)\.(?P<digest>[0-9a-f]{{{_DIGEST_LENGTH}}})(?P<suffix>\.[^./]+)")
_REFERENCE = re.compile(r"""url\((?P<quote>["']?)(?P<path>[^"'():#?]+)(?P<rest>[#?][^"')]*)?(?P=quote)\)""")
_COMPRESSIBLE = frozenset({"text/css", "text/javascript", "image/svg+xml", "application/json", "text/plain"})
"""Types worth compressing; images are compressed already."""

FileStamps = tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _StaticFile:
    name: str
    """Path below the static folder, with the hash."""
    digest: str
    mimetype: str
    stamp: FileStamps
    """mtime and size of the file and of the files it references."""
    parts: tuple[Path, ...]
    bodies: dict[str, bytes] = field(default_factory=dict)
    """Content coding → body; filled on demand."""

    def body(self, coding: str) -> bytes:
        if coding not in self.bodies:
            plain = self.bodies["identity"]
            self.bodies[coding] = brotli.compress(plain) if coding == "br" else gzip.compress(plain, mtime=0)
        return self.bodies[coding]


class _SessionInterface(SecureCookieSessionInterface):
    """Sets no cookie and no `Vary: Cookie` on static files; otherwise browsers would refetch them after sign-in."""

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        if request.endpoint != "static":
            super().save_session(app, session, response)


def init_app(app: Flask) -> None:
    app.session_interface = _SessionInterface()
    app.extensions["static_files"] = {}
    app.view_functions["static"] = _serve
    app.url_defaults(_hash_filename)


def _hash_filename(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static" and (file := _load_file(values.get("filename", ""))):
        values["filename"] = file.name


def _serve(filename: str) -> Response:
    """A file by its plain or hashed name."""
    file, digest = _load_file(filename), None
    if file is None and (parsed := _HASHED.fullmatch(filename)):
        file, digest = _load_file(parsed["stem"] + parsed["suffix"]), parsed["digest"]
    if file is None:
        abort(404)
    is_compressible = file.mimetype in _COMPRESSIBLE
    coding = request.accept_encodings.best_match(("br", "gzip"), "identity") if is_compressible else "identity"
    response = Response(file.body(coding), mimetype=file.mimetype)
    # A hash of another version (during a rolling update) gets the current file, without long caching.
    response.headers["Cache-Control"] = IMMUTABLE if digest == file.digest else SHORT_LIVED
    if is_compressible:
        response.vary.add("Accept-Encoding")
    if coding != "identity":
        response.headers["Content-Encoding"] = coding
    response.set_etag(f"{file.digest}-{coding}")
    response.make_conditional(request)
    return response


def _load_file(filename: str) -> _StaticFile | None:
    """The file of this plain name; None if there is none."""
    # Cached by path on disk: a file has one path, but any number of URL spellings.
    path = safe_join(current_app.static_folder or "", filename)
    cache: dict[str | None, _StaticFile] = current_app.extensions["static_files"]
    file = cache.get(path)
    if file is not None and not (current_app.debug and _stat_files(file.parts) != file.stamp):
        return file
    if path is None or not Path(path).is_file():
        return None
    cache[path] = _read_file(PurePosixPath(filename), Path(path))
    return cache[path]


def _read_file(name: PurePosixPath, path: Path) -> _StaticFile:
    mimetype = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    parts, content = [path], path.read_bytes()
    if mimetype == "text/css":
        content = _hash_references(content.decode(), name, parts).encode()
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]
    hashed = name.with_name(f"{name.stem}.{digest}{name.suffix}") if name.suffix else name
    return _StaticFile(str(hashed), digest, mimetype, _stat_files(parts), tuple(parts), {"identity": content})


def _hash_references(css: str, name: PurePosixPath, parts: list[Path]) -> str:
    """Replace `url(…)` references by hashed names, so that referenced files are cached forever too."""

    def replace(match: re.Match[str]) -> str:
        referred = _load_file(str(name.parent / match["path"])) if not match["path"].endswith(".css") else None
        if referred is None:
            return match[0]
        parts.extend(referred.parts)
        name_shown = PurePosixPath(match["path"]).with_name(PurePosixPath(referred.name).name)
        return f"url({match['quote']}{name_shown}{match['rest'] or ''}{match['quote']})"

    return _REFERENCE.sub(replace, css)


def _stat_files(parts: list[Path] | tuple[Path, ...]) -> FileStamps:
    stats = [part.stat() for part in parts if part.exists()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)

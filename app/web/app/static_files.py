"""Style sheets, scripts and icons: named by what is in them, so that browsers keep them for ever, and compressed once.

`url_for("static", filename="style.css")` gives `/static/style.<hash>.css`. What such an address answers never changes,
and whoever changes the file changes the address in every page. The plain address works as well, for a short time each.
Files are read and hashed once for each process; under the debugger again when one was edited.
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
"""Types that get smaller; a picture is compressed already."""

FileStamps = tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _StaticFile:
    name: str
    """Below the static folder, with the hash in it."""
    digest: str
    mimetype: str
    stamp: FileStamps
    """Time and size of the file and of those it refers to, whose names stand in it."""
    parts: tuple[Path, ...]
    bodies: dict[str, bytes] = field(default_factory=dict)
    """Content coding → body; made when first asked for, and kept."""

    def body(self, coding: str) -> bytes:
        if coding not in self.bodies:
            plain = self.bodies["identity"]
            self.bodies[coding] = brotli.compress(plain) if coding == "br" else gzip.compress(plain, mtime=0)
        return self.bodies[coding]


class _SessionInterface(SecureCookieSessionInterface):
    """A file is the same for everybody: it sets no cookie, and does not depend on one, as `Vary` would say of whatever
    looked at the session. Else a browser would ask for it anew once somebody signed in."""

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        if request.endpoint != "static":
            super().save_session(app, session, response)


def init_app(app: Flask) -> None:
    app.session_interface = _SessionInterface()
    app.extensions["static_files"] = {}
    app.view_functions["static"] = _serve
    app.url_defaults(_hash_filename)


def _hash_filename(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static" and (found := _load_file(values.get("filename", ""))):
        values["filename"] = found.name


def _serve(filename: str) -> Response:
    """A file under its plain name or the one with its hash; what is in it is never a person's."""
    found, digest = _load_file(filename), None
    if found is None and (parsed := _HASHED.fullmatch(filename)):
        found, digest = _load_file(parsed["stem"] + parsed["suffix"]), parsed["digest"]
    if found is None:
        abort(404)
    packed = found.mimetype in _COMPRESSIBLE
    coding = request.accept_encodings.best_match(("br", "gzip"), "identity") if packed else "identity"
    response = Response(found.body(coding), mimetype=found.mimetype)
    # An address of another version, as while an update is rolled out, gets what is there, but not for ever.
    response.headers["Cache-Control"] = IMMUTABLE if digest == found.digest else SHORT_LIVED
    if packed:
        response.vary.add("Accept-Encoding")
    if coding != "identity":
        response.headers["Content-Encoding"] = coding
    response.set_etag(f"{found.digest}-{coding}")
    response.make_conditional(request)
    return response


def _load_file(filename: str) -> _StaticFile | None:
    """The file of this plain name; None if there is none."""
    # By the path on the disk, of which there are few: an address can name one file in any number of ways.
    path = safe_join(current_app.static_folder or "", filename)
    known: dict[str | None, _StaticFile] = current_app.extensions["static_files"]
    found = known.get(path)
    if found is not None and not (current_app.debug and _stat_files(found.parts) != found.stamp):
        return found
    if path is None or not Path(path).is_file():
        return None
    known[path] = _read_file(PurePosixPath(filename), Path(path))
    return known[path]


def _read_file(name: PurePosixPath, path: Path) -> _StaticFile:
    mimetype = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    parts, content = [path], path.read_bytes()
    if mimetype == "text/css":
        content = _hash_references(content.decode(), name, parts).encode()
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]
    hashed = name.with_name(f"{name.stem}.{digest}{name.suffix}") if name.suffix else name
    return _StaticFile(str(hashed), digest, mimetype, _stat_files(parts), tuple(parts), {"identity": content})


def _hash_references(css: str, name: PurePosixPath, parts: list[Path]) -> str:
    """A style sheet whose own files are asked for under their hashed names too, else each would be asked for anew."""

    def hashed(match: re.Match[str]) -> str:
        referred = _load_file(str(name.parent / match["path"])) if not match["path"].endswith(".css") else None
        if referred is None:
            return match[0]
        parts.extend(referred.parts)
        shown = PurePosixPath(match["path"]).with_name(PurePosixPath(referred.name).name)
        return f"url({match['quote']}{shown}{match['rest'] or ''}{match['quote']})"

    return _REFERENCE.sub(hashed, css)


def _stat_files(parts: list[Path] | tuple[Path, ...]) -> FileStamps:
    found = [part.stat() for part in parts if part.exists()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in found)
